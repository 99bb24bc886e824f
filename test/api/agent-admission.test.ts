// What an agent may not do whatever role its class binds, on a real API server. The agents here are
// cluster-admins, and so is the account that shows that each write succeeds without the policy.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KubeClient, NewKubeObject } from '../../src/kube/client.ts';
import { isForbidden } from '../../src/kube/errors.ts';
import {
  AGENT_CLASSES,
  CONFIG_MAPS,
  DEPLOYMENTS,
  INCIDENTS,
  PODS,
  type Resource,
  ROLE_BINDINGS,
  SERVICE_ACCOUNTS,
  STATEFUL_SETS,
} from '../../src/kube/resources.ts';
import { AGENTS, type ApiServer, agentClass, CLUSTER_ROLES, startApiServer } from '../support/api-server.ts';
import { ADMISSION_KINDS, applyChart, clientAs } from '../support/chart.ts';
import { eventually } from '../support/eventually.ts';
import { NAMESPACES } from '../support/namespaces.ts';

const kind = (group: string, plural: string, name: string, namespaced = false): Resource => ({
  group,
  version: 'v1',
  plural,
  kind: name,
  namespaced,
});
const CLUSTER_ROLE_BINDINGS = kind('rbac.authorization.k8s.io', 'clusterrolebindings', 'ClusterRoleBinding');
const SECRETS = kind('', 'secrets', 'Secret', true);
const namespace = 'patient';

let server: ApiServer;
let agent: KubeClient;
/** The same rights in another namespace: what the policies do not concern. */
let other: KubeClient;

/** Why the API server refuses, or `allowed`. */
const refusal = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => 'allowed',
    (error: unknown) => (isForbidden(error) && error instanceof Error ? error.message : Promise.reject(error)),
  );

async function administrator(inNamespace: string, name: string): Promise<KubeClient> {
  await server.client.create(SERVICE_ACCOUNTS, { metadata: { namespace: inNamespace, name } });
  await server.client.create(CLUSTER_ROLE_BINDINGS, {
    metadata: { name: `${inNamespace}-${name}` },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
    subjects: [{ kind: 'ServiceAccount', namespace: inNamespace, name }],
  });
  return clientAs(server, inNamespace, name);
}

const metadata = { namespace, generateName: 'x-' };
const containers = [{ name: 'c', image: 'oplab.test/any:1' }];
const labels = { app: 'x' };
const statefulSet = (spec: object): NewKubeObject => ({
  metadata,
  spec: {
    serviceName: 'x',
    selector: { matchLabels: labels },
    template: { metadata: { labels }, spec: { containers, ...spec } },
  },
});
const runbook = { metadata: { namespace, name: 'oplab-runbook' }, data: { access: 'Run this first: …' } };

beforeAll(async () => {
  server = await startApiServer();
  await applyChart(server, ADMISSION_KINDS);
  for (const name of [namespace, 'elsewhere']) await server.client.create(NAMESPACES, { metadata: { name } });
  for (const name of ['tikv', 'powerful']) {
    await server.client.create(SERVICE_ACCOUNTS, { metadata: { namespace, name } });
  }
  agent = await administrator(AGENTS, 'attempt-1');
  other = await administrator('elsewhere', 'somebody');
  await eventually(async () => (await refusal(agent.create(CONFIG_MAPS, { metadata }))) === 'allowed', {
    what: 'rights of the agent',
  });
  await eventually(
    async () =>
      /may not write/.test(await refusal(agent.create(NAMESPACES, { metadata: { name: 'n' } }, { dryRun: true }))),
    { what: 'the policy over whole kinds in force' },
  );
  await eventually(
    async () => /oplab-runbook/.test(await refusal(agent.create(CONFIG_MAPS, runbook, { dryRun: true }))),
    { what: 'the policy over the runbook in force' },
  );
  await eventually(
    async () =>
      /run pods as/.test(
        await refusal(
          agent.create(PODS, { metadata, spec: { serviceAccountName: 'powerful', containers } }, { dryRun: true }),
        ),
      ),
    { what: 'the policy over identities in force' },
  );
}, 300_000);
afterAll(() => server?.stop());

const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' };
const clientConfig = { service: { namespace, name: 'x', path: '/' } };

describe('an agent may not write, whatever its role allows,', () => {
  const unscoped = { generateName: 'x-' };
  it.each<[string, Resource, NewKubeObject]>([
    ['a Role', kind('rbac.authorization.k8s.io', 'roles', 'Role', true), { metadata, rules: [] }],
    ['a RoleBinding', ROLE_BINDINGS, { metadata, roleRef, subjects: [] }],
    ['a ClusterRole', CLUSTER_ROLES, { metadata: unscoped, rules: [] }],
    ['a ClusterRoleBinding', CLUSTER_ROLE_BINDINGS, { metadata: unscoped, roleRef, subjects: [] }],
    [
      'a webhook',
      kind('admissionregistration.k8s.io', 'mutatingwebhookconfigurations', 'MutatingWebhookConfiguration'),
      {
        metadata: unscoped,
        webhooks: [
          { name: 'x.oplab.test', clientConfig, sideEffects: 'None', admissionReviewVersions: ['v1'], rules: [] },
        ],
      },
    ],
    [
      'a CustomResourceDefinition',
      kind('apiextensions.k8s.io', 'customresourcedefinitions', 'CustomResourceDefinition'),
      {
        metadata: { name: 'xs.oplab.test' },
        spec: {
          group: 'oplab.test',
          scope: 'Namespaced',
          names: { plural: 'xs', kind: 'X' },
          versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }],
        },
      },
    ],
    [
      'an APIService',
      kind('apiregistration.k8s.io', 'apiservices', 'APIService'),
      {
        metadata: { name: 'v1.x.oplab.test' },
        spec: {
          group: 'x.oplab.test',
          version: 'v1',
          groupPriorityMinimum: 1,
          versionPriority: 1,
          insecureSkipTLSVerify: true,
          service: { namespace, name: 'x' },
        },
      },
    ],
    [
      'an Incident',
      INCIDENTS,
      {
        metadata,
        spec: {
          summary: 's',
          targetNamespaces: [namespace],
          verify: {
            checks: [{ name: 'c', kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'x', cel: 'true' } }],
          },
        },
      },
    ],
    ['an AgentClass', AGENT_CLASSES, agentClass('forged')],
    ['a Namespace', NAMESPACES, { metadata: unscoped }],
    [
      'a ControllerRevision, of which a StatefulSet makes pods',
      kind('apps', 'controllerrevisions', 'ControllerRevision', true),
      {
        metadata,
        revision: 1,
        data: { spec: { template: { $patch: 'replace', spec: { serviceAccountName: 'powerful', containers } } } },
      },
    ],
    ['a Node', kind('', 'nodes', 'Node'), { metadata: { name: 'forged' } }],
    [
      'a PersistentVolume',
      kind('', 'persistentvolumes', 'PersistentVolume'),
      {
        metadata: unscoped,
        spec: { capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'], hostPath: { path: '/' } },
      },
    ],
  ])('%s', async (_what, resource, object) => {
    expect(await refusal(agent.create(resource, object, { dryRun: true }))).toContain(
      `may not write ${resource.plural}${resource.group === '' ? '' : `.${resource.group}`}, whatever its role allows`,
    );
    expect(await refusal(other.create(resource, object, { dryRun: true }))).toBe('allowed');
  });

  it('nor take rights away, nor change the labels of a namespace', async () => {
    const binding = await server.client.create(ROLE_BINDINGS, { metadata, roleRef, subjects: [] });
    const ref = { namespace, name: binding.metadata.name };
    expect(await refusal(agent.delete(ROLE_BINDINGS, ref))).toContain('may not write rolebindings.rbac');
    const enforce = { metadata: { labels: { 'pod-security.kubernetes.io/enforce': 'privileged' } } };
    const relabel = (client: KubeClient) => refusal(client.patch(NAMESPACES, { name: namespace }, enforce));
    expect(await relabel(agent)).toContain('may not write namespaces');
    expect(await relabel(other)).toBe('allowed');
    expect(await refusal(other.delete(ROLE_BINDINGS, ref))).toBe('allowed');
  });
});

describe('an agent acts as its own account alone:', () => {
  const request = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} };
  const ask = (client: KubeClient) =>
    refusal(client.createSubresource(SERVICE_ACCOUNTS, { namespace, name: 'default' }, 'token', request));

  it('no token of another, by request', async () => {
    expect(await ask(agent)).toContain('may not write serviceaccounts/token');
    expect(await ask(other)).toBe('allowed');
  });

  it.each([
    ['kubernetes.io/service-account-token', { annotations: { 'kubernetes.io/service-account.name': 'powerful' } }],
    ['bootstrap.kubernetes.io/token', { namespace: 'kube-system' }],
  ])('no Secret of type %s, new or changed into one', async (type, more) => {
    const secret = { metadata: { ...metadata, ...more }, type };
    const make = (client: KubeClient) => refusal(client.create(SECRETS, secret, { dryRun: true }));
    expect(await make(agent)).toContain('may not make a token of an account');
    expect(await make(other)).toBe('allowed');
    expect(await refusal(agent.create(SECRETS, { metadata, stringData: { a: 'b' } }))).toBe('allowed');
  });

  it('no token of another account by a Secret that has one already', async () => {
    const annotations = { 'kubernetes.io/service-account.name': 'tikv' };
    const had = await server.client.create(SECRETS, {
      metadata: { ...metadata, annotations },
      type: 'kubernetes.io/service-account-token',
    });
    const ref = { namespace, name: had.metadata.name };
    expect(await refusal(agent.patch(SECRETS, ref, { metadata: { labels } }))).toBe('allowed');
    const moved = { metadata: { annotations: { 'kubernetes.io/service-account.name': 'powerful' } } };
    expect(await refusal(agent.patch(SECRETS, ref, moved))).toContain('may not make a token of an account');
  });

  it.each<[string, object, string]>([
    ['another account', { serviceAccountName: 'powerful' }, 'as service account powerful unless'],
    ['another account, by its old name', { serviceAccount: 'powerful' }, 'as service account powerful unless'],
    [
      'a token for another audience',
      {
        volumes: [
          { name: 't', projected: { sources: [{ serviceAccountToken: { path: 't', audience: 'oplab-agent' } }] } },
        ],
      },
      'tokens for other audiences',
    ],
    ['no seccomp', { securityContext: { seccompProfile: { type: 'Unconfined' } } }, 'unconfined'],
    [
      'no AppArmor',
      { containers: [{ ...containers[0], securityContext: { appArmorProfile: { type: 'Unconfined' } } }] },
      'unconfined',
    ],
    [
      'an SELinux type',
      { initContainers: [{ name: 'i', image: 'i:1', securityContext: { seLinuxOptions: { type: 'spc_t' } } }] },
      'unconfined',
    ],
  ])('no pod or workload with %s', async (_what, spec, said) => {
    const job = kind('batch', 'jobs', 'Job', true);
    const cron = kind('batch', 'cronjobs', 'CronJob', true);
    const template = { spec: { restartPolicy: 'Never', containers, ...spec } };
    const tries: [Resource, NewKubeObject][] = [
      [PODS, { metadata, spec: { containers, ...spec } }],
      [STATEFUL_SETS, statefulSet(spec)],
      [DEPLOYMENTS, statefulSet(spec)],
      [job, { metadata, spec: { template } }],
      [cron, { metadata, spec: { schedule: '* * * * *', jobTemplate: { spec: { template } } } }],
    ];
    for (const [resource, object] of tries) {
      const plain =
        resource === DEPLOYMENTS ? { ...object, spec: { ...Object(object.spec), serviceName: undefined } } : object;
      expect(await refusal(agent.create(resource, plain, { dryRun: true })), resource.kind).toContain(said);
      expect(await refusal(other.create(resource, plain, { dryRun: true })), resource.kind).toBe('allowed');
    }
  });

  it('no workload without AppArmor by the old annotation', async () => {
    const annotations = { 'container.apparmor.security.beta.kubernetes.io/c': 'unconfined' };
    const template = { metadata: { labels, annotations }, spec: { containers } };
    const made = { metadata, spec: { serviceName: 'x', selector: { matchLabels: labels }, template } };
    expect(await refusal(agent.create(STATEFUL_SETS, made, { dryRun: true }))).toContain('unconfined');
    expect(await refusal(other.create(STATEFUL_SETS, made, { dryRun: true }))).toBe('allowed');
    const jobTemplate = { spec: { template: { ...template, spec: { restartPolicy: 'Never', containers } } } };
    const cron = kind('batch', 'cronjobs', 'CronJob', true);
    const repeated = { metadata, spec: { schedule: '* * * * *', jobTemplate } };
    expect(await refusal(agent.create(cron, repeated, { dryRun: true }))).toContain('unconfined');
  });

  it('no ephemeral container that is unconfined', async () => {
    const made = await server.client.create(PODS, { metadata, spec: { containers } });
    const ref = { namespace, name: made.metadata.name };
    const securityContext = { seccompProfile: { type: 'Unconfined' } };
    const debug = (client: KubeClient, more: object) =>
      refusal(
        client.patch(
          PODS,
          ref,
          { spec: { ephemeralContainers: [{ name: `e-${crypto.randomUUID()}`, image: 'i:1', ...more }] } },
          { subresource: 'ephemeralcontainers' },
        ),
      );
    expect(await debug(agent, { securityContext })).toContain('unconfined');
    expect(await debug(other, { securityContext })).toBe('allowed');
  });

  it('a workload keeps the account, the audience and the profile that it had', async () => {
    const had = {
      serviceAccountName: 'tikv',
      securityContext: { seccompProfile: { type: 'Unconfined' } },
      volumes: [{ name: 't', projected: { sources: [{ serviceAccountToken: { path: 't', audience: 'vault' } }] } }],
    };
    const made = await server.client.create(STATEFUL_SETS, statefulSet(had));
    const ref = { namespace, name: made.metadata.name };
    expect(await refusal(agent.patch(STATEFUL_SETS, ref, { spec: { replicas: 3 } }))).toBe('allowed');
    const moved = { spec: { template: { spec: { serviceAccountName: 'powerful' } } } };
    expect(await refusal(agent.patch(STATEFUL_SETS, ref, moved))).toContain('as service account powerful unless');
  });

  it('no rights outside of the cluster by an annotation of an account', async () => {
    const ref = { namespace, name: 'tikv' };
    const cloud = { metadata: { annotations: { 'eks.amazonaws.com/role-arn': 'arn:aws:iam::1:role/admin' } } };
    expect(await refusal(agent.patch(SERVICE_ACCOUNTS, ref, cloud))).toContain('may not annotate a service account');
    expect(await refusal(agent.patch(SERVICE_ACCOUNTS, ref, { metadata: { labels } }))).toBe('allowed');
    expect(await refusal(other.patch(SERVICE_ACCOUNTS, ref, cloud))).toBe('allowed');
    expect(await refusal(agent.patch(SERVICE_ACCOUNTS, ref, { metadata: { labels: { app: 'y' } } }))).toBe('allowed');
  });
});

it('no agent writes, changes or deletes the runbook; owners do', async () => {
  expect(await refusal(agent.create(CONFIG_MAPS, runbook))).toContain('may not write ConfigMap oplab-runbook');
  await other.create(CONFIG_MAPS, runbook);
  const ref = { namespace, name: 'oplab-runbook' };
  expect(await refusal(agent.patch(CONFIG_MAPS, ref, { data: { access: 'x' } }))).toContain('oplab-runbook');
  expect(await refusal(agent.delete(CONFIG_MAPS, ref))).toContain('oplab-runbook');
  expect(await refusal(agent.create(CONFIG_MAPS, { ...runbook, metadata: { namespace, name: 'mine' } }))).toBe(
    'allowed',
  );
});
