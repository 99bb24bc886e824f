// The chart's admission policies on a real API server: who may target which namespace with an
// Incident or a Monitor, and what agents may create.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KubeClient, NewKubeObject } from '../../src/kube/client.ts';
import { isForbidden } from '../../src/kube/errors.ts';
import {
  DEPLOYMENTS,
  INCIDENTS,
  MONITORS,
  PODS,
  type Resource,
  ROLE_BINDINGS,
  SERVICE_ACCOUNTS,
  STATEFUL_SETS,
} from '../../src/kube/resources.ts';
import { AGENTS, type ApiServer, CLUSTER_ROLES, SYSTEM, startApiServer } from '../support/api-server.ts';
import { ADMISSION_KINDS, applyChart, clientAs, renderChart } from '../support/chart.ts';
import { eventually } from '../support/eventually.ts';
import { NAMESPACES } from '../support/namespaces.ts';

const CLUSTER_ROLE_BINDINGS: Resource = {
  group: 'rbac.authorization.k8s.io',
  version: 'v1',
  plural: 'clusterrolebindings',
  kind: 'ClusterRoleBinding',
  namespaced: false,
};
const apps = (plural: string, kind: string): Resource => ({ ...DEPLOYMENTS, plural, kind });
const batch = (plural: string, kind: string): Resource => ({ ...DEPLOYMENTS, group: 'batch', plural, kind });

let server: ApiServer;

beforeAll(async () => {
  server = await startApiServer();
  await applyChart(server, ADMISSION_KINDS);
}, 300_000);
afterAll(() => server?.stop());

/** A client that acts as a new service account of this namespace. */
async function accountIn(namespace: string, name: string): Promise<KubeClient> {
  await server.client.create(SERVICE_ACCOUNTS, { metadata: { namespace, name } });
  return clientAs(server, namespace, name);
}

async function bind(role: string, account: { namespace: string; name: string }, namespace?: string): Promise<void> {
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role };
  const metadata = { name: `${account.name}-${role}`, ...(namespace === undefined ? {} : { namespace }) };
  const subjects = [{ kind: 'ServiceAccount', ...account }];
  const resource = namespace === undefined ? CLUSTER_ROLE_BINDINGS : ROLE_BINDINGS;
  await server.client.create(resource, { metadata, roleRef, subjects });
}

/** The API server's reason for the refusal, or `allowed`. */
const refusal = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => 'allowed',
    (error: unknown) => (isForbidden(error) && error instanceof Error ? error.message : Promise.reject(error)),
  );

describe('the author of an Incident or a Monitor', () => {
  const eight = Array.from({ length: 8 }, (_, index) => `wide-${index}`);
  const check = { kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'patient', cel: 'true' } };
  let author: KubeClient;

  const incident = (targetNamespaces?: readonly string[], spec: object = {}): NewKubeObject => ({
    metadata: { namespace: 'wide-0', generateName: 'i-' },
    spec: { summary: 's', targetNamespaces, verify: { checks: [{ name: 'c', ...check }] }, ...spec },
  });
  const monitor = (targetNamespaces?: readonly string[]): NewKubeObject => ({
    metadata: { namespace: 'wide-0', generateName: 'm-' },
    spec: { check, incident: { summary: 's', targetNamespaces } },
  });
  const report = (client: KubeClient, targets?: readonly string[], spec?: object) =>
    refusal(client.create(INCIDENTS, incident(targets, spec), { strict: true }));
  const watch = (client: KubeClient, targets?: readonly string[]) =>
    refusal(client.create(MONITORS, monitor(targets), { strict: true }));

  beforeAll(async () => {
    for (const name of [...eight, 'foreign']) await server.client.create(NAMESPACES, { metadata: { name } });
    author = await accountIn('wide-0', 'author');
    const account = { namespace: 'wide-0', name: 'author' };
    await bind('oplab-use-default', account);
    for (const namespace of eight) await bind('oplab-incident-author', account, namespace);
    await eventually(async () => (await report(author, ['wide-0'])) === 'allowed', { what: 'the author may report' });
    await eventually(async () => /may not target/.test(await report(author, ['foreign'])), {
      what: 'a policy in force',
    });
    await eventually(async () => /may not target/.test(await watch(author, ['foreign'])), {
      what: 'the other one in force',
    });
  }, 120_000);

  it('may name as many target namespaces as the schema allows', async () => {
    expect(await report(author, eight)).toBe('allowed');
    expect(await watch(author, eight)).toBe('allowed');
  });

  it('learns which target is not allowed, at any position in the list', async () => {
    for (let at = 0; at < eight.length; at += 1) {
      const targets = eight.with(at, 'foreign');
      expect(await report(author, targets), `Incident, target ${at}`).toContain('you may not target foreign;');
      expect(await watch(author, targets), `Monitor, target ${at}`).toContain('you may not target foreign;');
    }
  });

  it.each([SYSTEM, AGENTS, 'oplab-docker'])(
    'may not target %s, where oplab itself runs, even as an administrator',
    async (own) => {
      // The administrator may do everything else.
      const said = `no agent may work in ${own}, which belongs to oplab`;
      expect(await report(server.client, ['wide-0', own])).toContain(`spec.targetNamespaces: ${said}`);
      expect(await watch(server.client, [own])).toContain(`spec.incident.targetNamespaces: ${said}`);
    },
  );

  it('may not target it by default either', async () => {
    const inSystem = { ...incident(), metadata: { namespace: SYSTEM, name: 'inside' } };
    expect(await refusal(server.client.create(INCIDENTS, inSystem))).toContain(`no agent may work in ${SYSTEM}`);
  });

  it('may not say that an alarm opened it; the controller may', async () => {
    const startTime = '2026-01-01T00:00:00Z';
    const source = { kind: 'Monitor', name: 'stores', fingerprint: 'f', startTime };
    const said = 'spec.source: only oplab may set this field';
    expect(await report(author, ['wide-0'], { source })).toContain(said);
    expect(await report(server.client, ['wide-0'], { source })).toContain(said);
    const controller = await clientAs(server, SYSTEM, 'oplab-controller');
    const opened = await controller.create(INCIDENTS, incident(['wide-0'], { source }));
    // Everyone may write the spec while its source is unchanged, and no source can be added later.
    const ref = { namespace: 'wide-0', name: opened.metadata.name };
    await author.patch(INCIDENTS, ref, { spec: { source, suspend: true } });
    const plain = await author.create(INCIDENTS, incident(['wide-0']));
    const added = author.patch(INCIDENTS, { ...ref, name: plain.metadata.name }, { spec: { source } });
    await expect(added).rejects.toThrow(/source cannot be changed/);
  });
});

describe('an agent in a target namespace', () => {
  const namespace = 'host-access';
  const account = { namespace: AGENTS, name: 'attempt-1' };
  const image = 'oplab.test/any:1';
  const plain = { name: 'c', image };
  const hostPath = { name: 'disk', hostPath: { path: '/' } };
  let agent: KubeClient;

  const pod = (spec: object = {}): NewKubeObject => ({
    metadata: { namespace, generateName: 'p-' },
    spec: { containers: [plain], ...spec },
  });
  const labels = { app: 'x' };
  const template = (spec: object = {}) => ({ metadata: { labels }, spec: { containers: [plain], ...spec } });
  const workload = (spec: object = {}, more: object = {}): NewKubeObject => ({
    metadata: { namespace, generateName: 'w-' },
    spec: { selector: { matchLabels: labels }, template: template(spec), ...more },
  });
  const container = (securityContext: object) => ({ containers: [{ ...plain, securityContext }] });
  const make = (spec: object) => refusal(agent.create(PODS, pod(spec)));

  beforeAll(async () => {
    await server.client.create(NAMESPACES, { metadata: { name: namespace } });
    agent = await accountIn(account.namespace, account.name);
    await bind('oplab-tikv-operate', account, namespace);
    // Rights that other roles may grant.
    const verbs = ['get', 'create', 'patch'];
    const rules = [
      { apiGroups: ['apps'], resources: ['daemonsets', 'replicasets'], verbs },
      { apiGroups: ['batch'], resources: ['cronjobs'], verbs },
      { apiGroups: [''], resources: ['pods/ephemeralcontainers', 'replicationcontrollers'], verbs },
    ];
    await server.client.create(CLUSTER_ROLES, { metadata: { name: 'more' }, rules });
    await bind('more', account, namespace);
    await eventually(async () => (await make({})) === 'allowed', { what: 'the agent may make pods' });
    await eventually(async () => /hostPID/.test(await make({ hostPID: true })), { what: 'a policy in force' });
  }, 120_000);

  it('may create ordinary pods and workloads, even with capabilities that every container has', async () => {
    const add = ['NET_BIND_SERVICE', 'CHOWN'];
    expect(await make(container({ privileged: false, runAsUser: 0, capabilities: { add, drop: ['ALL'] } }))).toBe(
      'allowed',
    );
    const probes = { livenessProbe: { httpGet: { port: 80 } }, lifecycle: { preStop: { exec: { command: ['x'] } } } };
    expect(await make({ containers: [{ ...plain, ...probes, readinessProbe: { grpc: { port: 80 } } }] })).toBe(
      'allowed',
    );
    const volumes = [{ name: 'v', emptyDir: {} }];
    expect(await refusal(agent.create(STATEFUL_SETS, workload({ volumes }, { serviceName: 'x' })))).toBe('allowed');
  });

  it.each<[string, object, string]>([
    ['privileged', container({ privileged: true }), 'spec: container c: securityContext.privileged'],
    ['a capability', container({ capabilities: { add: ['CHOWN', 'SYS_ADMIN'] } }), 'capabilities.add SYS_ADMIN;'],
    ['all capabilities', container({ capabilities: { add: ['ALL'] } }), 'capabilities.add ALL;'],
    [
      'an unmasked /proc',
      { hostUsers: false, ...container({ procMount: 'Unmasked' }) },
      'securityContext.procMount Unmasked',
    ],
    ['the network of the host', { hostNetwork: true }, 'spec: hostNetwork;'],
    ['the processes of the host', { hostPID: true }, 'spec: hostPID;'],
    ['the IPC of the host', { hostIPC: true }, 'spec: hostIPC;'],
    ['a path of the host', { volumes: [hostPath] }, 'spec: volumes disk: hostPath /;'],
    [
      'an init container that is privileged',
      { initContainers: [{ name: 'i', image, securityContext: { privileged: true } }] },
      'container i: securityContext.privileged',
    ],
    ...(['livenessProbe', 'readinessProbe', 'startupProbe'] as const).map((probe): [string, object, string] => [
      `a ${probe} that the kubelet makes elsewhere`,
      { containers: [{ ...plain, [probe]: { httpGet: { host: '169.254.169.254', port: 80 } } }] },
      'spec: container c: probe or hook at host 169.254.169.254;',
    ]),
    ...(['postStart', 'preStop'] as const).map((hook): [string, object, string] => [
      `a ${hook} hook that the kubelet calls elsewhere`,
      {
        initContainers: [
          { name: 'i', image, restartPolicy: 'Always', lifecycle: { [hook]: { httpGet: { host: 'x', port: 1 } } } },
        ],
      },
      'spec: container i: probe or hook at host x;',
    ]),
    [
      'a probe of a port elsewhere',
      { containers: [{ ...plain, livenessProbe: { tcpSocket: { host: '10.0.0.1', port: 22 } } }] },
      'spec: container c: probe or hook at host 10.0.0.1;',
    ],
    [
      'a HostProcess pod',
      { hostNetwork: true, securityContext: { windowsOptions: { hostProcess: true } } },
      'securityContext.windowsOptions.hostProcess',
    ],
  ])('may not make a pod with %s', async (_what, spec, said) => {
    const message = await make(spec);
    expect(message).toContain(said);
    expect(message).toContain('leave it out');
  });

  it.each<[Resource, object]>([
    [DEPLOYMENTS, {}],
    [STATEFUL_SETS, { serviceName: 'x' }],
    [apps('daemonsets', 'DaemonSet'), {}],
    [apps('replicasets', 'ReplicaSet'), {}],
    [batch('jobs', 'Job'), { selector: undefined }],
    [{ ...PODS, plural: 'replicationcontrollers', kind: 'ReplicationController' }, { selector: labels }],
  ])('may not have %o make one', async (resource, more) => {
    const restartPolicy = resource.kind === 'Job' ? 'Never' : 'Always';
    const hostile = workload({ restartPolicy, volumes: [hostPath] }, more);
    const message = await refusal(agent.create(resource, hostile));
    expect(message).toContain('spec.template.spec: volumes disk: hostPath /;');
    expect(await refusal(agent.create(resource, workload({ restartPolicy }, more)))).toBe('allowed');
  });

  it('may not create one through a CronJob', async () => {
    const of = (spec: object): NewKubeObject => ({
      metadata: { namespace, generateName: 'cron-' },
      spec: {
        schedule: '* * * * *',
        jobTemplate: { spec: { template: template({ restartPolicy: 'Never', ...spec }) } },
      },
    });
    const cronJobs = batch('cronjobs', 'CronJob');
    expect(await refusal(agent.create(cronJobs, of({ hostPID: true })))).toContain(
      'spec.jobTemplate.spec.template.spec: hostPID;',
    );
    expect(await refusal(agent.create(cronJobs, of({})))).toBe('allowed');
  });

  it('may not change an ordinary StatefulSet into one', async () => {
    const made = await agent.create(STATEFUL_SETS, workload({}, { serviceName: 'x' }));
    const ref = { namespace, name: made.metadata.name };
    const change = { spec: { template: { spec: { volumes: [hostPath] } } } };
    expect(await refusal(agent.patch(STATEFUL_SETS, ref, change))).toContain('volumes disk: hostPath /;');
  });

  it('may not add a privileged container to a running pod', async () => {
    const { metadata } = await agent.create(PODS, pod());
    const ref = { namespace, name: metadata.name };
    const debug = (securityContext: object) =>
      refusal(
        agent.patch(
          PODS,
          ref,
          { spec: { ephemeralContainers: [{ name: 'debug', image, securityContext }] } },
          { subresource: 'ephemeralcontainers' },
        ),
      );
    expect(await debug({ privileged: true })).toContain('container debug: securityContext.privileged');
    expect(await debug({})).toBe('allowed');
  });

  it('may repair a workload that had node access before, but may not extend that access', async () => {
    const add = ['NET_ADMIN', 'SYS_TIME'];
    const had = { volumes: [hostPath], hostNetwork: true, ...container({ privileged: true, capabilities: { add } }) };
    const made = await server.client.create(STATEFUL_SETS, workload(had, { serviceName: 'x', replicas: 1 }));
    const ref = { namespace, name: made.metadata.name };
    const patch = (spec: object) => refusal(agent.patch(STATEFUL_SETS, ref, { spec }, { type: 'merge' }));
    expect(await patch({ replicas: 3 })).toBe('allowed');
    const scale = agent.patch(STATEFUL_SETS, ref, { spec: { replicas: 2 } }, { subresource: 'scale' });
    expect(await refusal(scale)).toBe('allowed');
    const fewer = { ...plain, image: 'oplab.test/any:2', securityContext: { capabilities: { add: ['SYS_TIME'] } } };
    const more = { ...plain, securityContext: { capabilities: { add: [...add, 'SYS_ADMIN'] } } };
    expect(await patch({ template: { spec: { containers: [more] } } })).toMatch(
      /spec\.template\.spec: container c: securityContext\.capabilities\.add SYS_ADMIN;/,
    );
    expect(await patch({ template: { spec: { containers: [fewer] } } })).toBe('allowed');
    // Once removed, the access cannot be added again.
    expect(
      await patch({ template: { spec: { containers: [{ ...fewer, securityContext: { privileged: true } }] } } }),
    ).toContain('container c: securityContext.privileged;');
    const elsewhere = { name: 'disk', hostPath: { path: '/etc' } };
    expect(await patch({ template: { spec: { volumes: [elsewhere] } } })).toContain('volumes disk: hostPath /etc;');
  });

  it('the policy affects nobody else', async () => {
    const other = { namespace, name: 'operator' };
    const operator = await accountIn(other.namespace, other.name);
    await bind('oplab-tikv-operate', other, namespace);
    const hostile = { hostPID: true, volumes: [hostPath], ...container({ privileged: true }) };
    await eventually(async () => (await refusal(operator.create(PODS, pod(hostile)))) === 'allowed', { what: 'a pod' });
    await server.client.create(PODS, pod(hostile));
  });

  it('the policy also checks a pod with many containers', async () => {
    const containers = Array.from({ length: 60 }, (_, index) => ({
      ...plain,
      name: `c${index}`,
      securityContext: { capabilities: { add: ['CHOWN', 'SETUID', 'SETGID', 'KILL'] } },
      volumeMounts: [{ name: 'v0', mountPath: '/v' }],
    }));
    const volumes = Array.from({ length: 60 }, (_, index) => ({ name: `v${index}`, emptyDir: {} }));
    expect(await make({ containers, volumes })).toBe('allowed');
    const made = await server.client.create(
      STATEFUL_SETS,
      workload(
        {
          volumes: volumes.map(({ name }) => ({ name, hostPath: { path: `/data/${name}` } })),
          containers: containers.map((one) => ({ ...one, securityContext: { privileged: true } })),
        },
        { serviceName: 'x' },
      ),
    );
    const grown = agent.patch(STATEFUL_SETS, { namespace, name: made.metadata.name }, { spec: { replicas: 2 } });
    expect(await refusal(grown)).toBe('allowed');
  });
});

it('agentsHostAccess removes the policy for agents, and no other', async () => {
  const policies = async (...set: string[]) => {
    const objects = await renderChart({}, ...set);
    return objects.flatMap(({ kind, spec }) =>
      kind === 'ValidatingAdmissionPolicyBinding' ? [String(Object(spec).policyName)] : [],
    );
  };
  const always = [
    'oplab-agent-forbidden',
    'oplab-agent-identity',
    'oplab-agent-runbook',
    'oplab-incident-author',
    'oplab-monitor-author',
  ];
  expect((await policies()).sort()).toEqual([...always, 'oplab-agent-host-access'].sort());
  expect((await policies('--set', 'agentsHostAccess=true')).sort()).toEqual(always);
});
