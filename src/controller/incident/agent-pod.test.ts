// The agent pod and the objects around it, which isolate it.

import { describe, expect, it } from 'vitest';
import { anIncident } from '../../../test/support/an-incident.ts';
import { agentClassSpec } from '../../api/agent-class.ts';
import { canaryToken } from '../../api/canary.ts';
import { dockerAccess } from '../../api/docker-access.ts';
import type { Incident } from '../../api/incident.ts';
import { verifyAccountName } from '../verify-account.ts';
import { agentPod } from './agent-pod.ts';
import { attemptName, incidentLabels } from './names.ts';
import { networkPolicy } from './network-policy.ts';
import { roleBindings, verifyBindings } from './role-bindings.ts';

const check = { name: 'c', kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'x', cel: 'true' } };
const incident = (name = 'tikv-store-down'): Incident =>
  anIncident({
    metadata: { name, namespace: 'ops', uid: '0a1b2c3d-4444-5555-6666-777788889999' },
    spec: { summary: 's', targetNamespaces: ['tikv', 'pd'], verify: { checks: [check] } },
  });
const spec = agentClassSpec.parse({
  images: { agent: 'registry/agent:1', sandbox: 'registry/sandbox:1', pullSecrets: [{ name: 'registry' }] },
  runtimeClassName: 'gvisor',
  priorityClassName: 'oplab-agent',
  repairRoles: [{ name: 'operate' }],
  readRoles: [{ name: 'read' }],
  resources: { sandbox: { limits: { cpu: 2, memory: '2Gi' } } },
});

interface Container {
  readonly name: string;
  readonly restartPolicy?: string;
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string; readonly value?: string }[];
  readonly securityContext: object;
  readonly resources: { readonly requests: object; readonly limits: object };
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
}
interface PodSpec {
  readonly initContainers: readonly [Container];
  readonly containers: readonly [Container];
  readonly volumes: readonly {
    readonly name: string;
    readonly projected?: object;
    readonly emptyDir?: { sizeLimit?: string };
  }[];
}
const pod = agentPod({
  incident: incident(),
  attempt: 2,
  spec,
  installation: { agentsNamespace: 'oplab-agents', systemNamespace: 'oplab-system' },
  secondsLeft: 100.9,
});
const podSpec: PodSpec = JSON.parse(JSON.stringify(pod.spec));
const [sandbox] = podSpec.initContainers;
const [agent] = podSpec.containers;
const env = (container: Container) => Object.fromEntries(container.env.map(({ name, value }) => [name, value]));

describe('the agent pod', () => {
  it('ends with the agent, whose sandbox is a native sidecar', () => {
    expect(pod.spec).toMatchObject({
      restartPolicy: 'OnFailure',
      activeDeadlineSeconds: 100,
      terminationGracePeriodSeconds: 5,
    });
    expect(sandbox).toMatchObject({ name: 'sandbox', restartPolicy: 'Always', args: ['sandbox'] });
    expect(agent).toMatchObject({
      name: 'agent',
      command: expect.arrayContaining(['/opt/oplab/dist/keep-running.sh']),
      args: ['agent'],
    });
    expect(pod.metadata?.annotations).toMatchObject({ 'cluster-autoscaler.kubernetes.io/safe-to-evict': 'false' });
  });

  it('pulls its images with the pull secrets and policy of the class', () => {
    expect(pod.spec).toMatchObject({ imagePullSecrets: [{ name: 'registry' }] });
  });

  it('contains no service account token that the API server accepts', () => {
    expect(pod.spec).toMatchObject({ automountServiceAccountToken: false, enableServiceLinks: false });
    const audiences = podSpec.volumes.flatMap(
      (volume) => JSON.stringify(volume.projected ?? '').match(/"audience":"([^"]+)"/)?.[1] ?? [],
    );
    expect(audiences).toEqual(['oplab-agent', 'oplab-sandbox']);
  });

  it('shows each container only its own token', () => {
    const mounts = (container: Container) => container.volumeMounts.map((mount) => mount.name);
    expect(mounts(agent)).toContain('agent-token');
    expect(mounts(agent)).not.toContain('sandbox-token');
    expect(mounts(sandbox)).toContain('sandbox-token');
    expect(mounts(sandbox)).not.toContain('agent-token');
  });

  it('meets Pod Security "restricted" and has a read-only root', () => {
    expect(pod.spec).toMatchObject({
      securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: 'RuntimeDefault' } },
      runtimeClassName: 'gvisor',
      priorityClassName: 'oplab-agent',
    });
    for (const container of [agent, sandbox]) {
      expect(container.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
      expect(container.resources.limits).toHaveProperty('ephemeral-storage');
    }
    for (const volume of podSpec.volumes)
      if (volume.emptyDir !== undefined) expect(volume.emptyDir.sizeLimit).toBeDefined();
  });

  it('has no default request above a limit of the class', () => {
    expect(sandbox.resources).toEqual({
      requests: { 'ephemeral-storage': '64Mi' },
      limits: { cpu: 2, memory: '2Gi', 'ephemeral-storage': '1Gi' },
    });
  });

  it('configures each process with the address of its door', () => {
    expect(env(agent)).toMatchObject({
      OPLAB_GATEWAY_URL: 'https://oplab-gateway.oplab-system.svc:8443',
      NODE_EXTRA_CA_CERTS: '/etc/oplab/ca/ca.crt',
    });
    expect(env(sandbox)).toMatchObject({
      OPLAB_KUBE_URL: 'https://oplab-gateway.oplab-system.svc:6443',
      OPLAB_TARGET_NAMESPACE: 'tikv',
    });
  });
});

describe('a class that opens a Docker host', () => {
  it('gives only the sandbox a folder for the socket and the address of the door', () => {
    const opened = agentPod({
      incident: incident(),
      attempt: 1,
      installation: { agentsNamespace: 'oplab-agents', systemNamespace: 'oplab-system' },
      secondsLeft: 60,
      spec: { ...spec, docker: dockerAccess.parse({ endpoint: 'local', label: 'a=b' }) },
    });
    const [sandbox] = Object(opened.spec).initContainers;
    const [own] = Object(opened.spec).containers;
    expect(sandbox.volumeMounts[0]).toEqual({ name: 'run', mountPath: '/run' });
    expect(JSON.stringify(sandbox.env)).toContain('https://oplab-gateway.oplab-system.svc:2376');
    expect(JSON.stringify(own)).not.toMatch(/"run"|2376/);
    expect(JSON.stringify(pod)).not.toMatch(/"run"|2376/);
  });
});

describe('the objects around the pod', () => {
  const ref = { incident: incident(), attempt: 2 };

  it('include a policy that opens the targets to this attempt only', () => {
    expect(networkPolicy(ref, 'oplab-agents').object.spec).toMatchObject({
      podSelector: {
        matchLabels: { 'oplab.dev/incident-uid': ref.incident.metadata.uid, 'oplab.dev/attempt': '2' },
      },
      policyTypes: ['Egress'],
      egress: [
        {
          to: [
            { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'tikv' } } },
            { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'pd' } } },
          ],
        },
      ],
    });
  });

  it('bind roles in each target: repairRoles in mode Repair, readRoles in mode Diagnose', () => {
    const roles = (mode: 'Repair' | 'Diagnose') =>
      roleBindings(ref, { ...spec, mode }, 'oplab-agents').map(({ object }) => [
        object.metadata?.namespace,
        Object(object.roleRef).name,
      ]);
    expect(roles('Repair')).toEqual([
      ['tikv', 'operate'],
      ['pd', 'operate'],
    ]);
    expect(roles('Diagnose')).toEqual([
      ['tikv', 'read'],
      ['pd', 'read'],
    ]);
    const subjects = verifyBindings(ref.incident, 'default', spec, 'oplab-agents').map(({ object }) => object.subjects);
    expect(subjects[0]).toEqual([{ kind: 'ServiceAccount', name: 'oplab-verify-default', namespace: 'oplab-agents' }]);
  });
});

describe('names', () => {
  it('are readable, unique by UID, and valid for any name of an Incident', () => {
    expect(attemptName(incident(), 2)).toBe('tikv-store-down-0a1b2c3d-2');
    for (const name of ['a'.repeat(253), `${'x'.repeat(29)}-.y`, 'a.b.c']) {
      expect(attemptName(incident(name), 10)).toMatch(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
      for (const value of Object.values(incidentLabels(incident(name))))
        expect(value).toMatch(/^[a-z0-9]([-._a-z0-9]{0,61}[a-z0-9])?$/);
    }
    expect(verifyAccountName('my.class')).toBe('oplab-verify-my-class');
  });
});

describe('the canary token', () => {
  const tripwires = { key: 'a key that is long enough for a test', secretName: 'x', host: 'vault.x.svc' };
  const installation = { agentsNamespace: 'oplab-agents', systemNamespace: 'oplab-system', tripwires };
  const built = agentPod({ incident: incident(), attempt: 2, spec, installation, secondsLeft: 100 });

  it('is in a kubeconfig in the sandbox alone, which leads to the kube door', () => {
    const text = built.metadata?.annotations?.['oplab.dev/canary-kubeconfig'] ?? '';
    expect(text).toContain('server: https://oplab-gateway.oplab-system.svc:6443');
    expect(text).toContain(canaryToken(tripwires.key, { session: incident().metadata.uid, attempt: 2 }));
    const { initContainers, containers, volumes }: PodSpec = JSON.parse(JSON.stringify(built.spec));
    const mounts = (container: Container) => container.volumeMounts.map(({ mountPath }) => mountPath);
    expect(mounts(initContainers[0])).toContain('/home/oplab/.cluster-admin');
    expect(mounts(containers[0])).not.toContain('/home/oplab/.cluster-admin');
    expect(volumes.map(({ name }) => name)).toContain('admin');
  });

  it('is nowhere that says what it is: no variable, file or folder is called a canary', () => {
    const { initContainers }: PodSpec = JSON.parse(JSON.stringify(built.spec));
    const [{ env: variables, volumeMounts }] = initContainers;
    expect(JSON.stringify([variables, volumeMounts])).not.toMatch(/canary|tripwire/i);
  });

  it('is not there without tripwires', () => {
    expect(JSON.stringify(pod)).not.toMatch(/cluster-admin|canary/);
  });
});

describe('holes that a class allows', () => {
  const holes = (more: object) => {
    const installation = { agentsNamespace: 'oplab-agents', systemNamespace: 'oplab-system' };
    const images = { agent: 'a', sandbox: 's' };
    const built = agentPod({
      ...{ incident: incident(), attempt: 1, installation, secondsLeft: 100 },
      spec: agentClassSpec.parse({ images, ...more }),
    });
    const { initContainers }: PodSpec = JSON.parse(JSON.stringify(built.spec));
    return env(initContainers[0]).OPLAB_ALLOWED_HOLES;
  };

  it('are passed to the sandbox by name; none is the default', () => {
    expect(holes({})).toBeUndefined();
    expect(holes({ isolation: { allowHoles: ['internet', 'metadata'] } })).toBe('internet,metadata');
  });

  it('include seccomp with a runtime that has a kernel of its own', () => {
    expect(holes({ runtimeClassName: 'gvisor' })).toBe('seccomp');
  });

  it('must be names of probes', () => {
    expect(() => holes({ isolation: { allowHoles: ['everything'] } })).toThrow('allowHoles');
  });
});
