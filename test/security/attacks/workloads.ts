// Attacks on the node and on other accounts: pods that no agent may make, and workloads that would
// make them.

import { core, type Place, type RequestAttack, requestAttack } from './request.ts';

const apps = (plural: string) => (place: Place) => `/apis/apps/v1/namespaces/${place.namespace}/${plural}`;
const container = { name: 'c', image: 'oplab.dev/oplab-sandbox:dev', command: ['true'] };

/** Pods as no agent may make them, and the same specs inside workloads. */
const podSpecs: readonly [string, object][] = [
  ['privileged', { containers: [{ ...container, securityContext: { privileged: true } }] }],
  [
    'a privileged init container',
    { initContainers: [{ ...container, name: 'i', securityContext: { privileged: true } }] },
  ],
  ['hostPath /', { volumes: [{ name: 'v', hostPath: { path: '/' } }] }],
  ['hostPath of the container runtime', { volumes: [{ name: 'v', hostPath: { path: '/run/containerd' } }] }],
  ['hostNetwork', { hostNetwork: true }],
  ['hostPID', { hostPID: true }],
  ['hostIPC', { hostIPC: true }],
  [
    'capability SYS_ADMIN',
    { containers: [{ ...container, securityContext: { capabilities: { add: ['SYS_ADMIN'] } } }] },
  ],
  [
    'capability NET_ADMIN',
    { containers: [{ ...container, securityContext: { capabilities: { add: ['NET_ADMIN'] } } }] },
  ],
  ['all capabilities', { containers: [{ ...container, securityContext: { capabilities: { add: ['ALL'] } } }] }],
  [
    'a probe of the metadata service by the kubelet',
    { containers: [{ ...container, livenessProbe: { httpGet: { host: '169.254.169.254', port: 80, path: '/' } } }] },
  ],
  ['seccomp Unconfined', { securityContext: { seccompProfile: { type: 'Unconfined' } } }],
  [
    'seccomp Unconfined of a container',
    { containers: [{ ...container, securityContext: { seccompProfile: { type: 'Unconfined' } } }] },
  ],
  ['AppArmor Unconfined', { securityContext: { appArmorProfile: { type: 'Unconfined' } } }],
  ['an SELinux role', { securityContext: { seLinuxOptions: { type: 'spc_t' } } }],
  ['a foreign service account', { serviceAccountName: 'powerful' }],
  [
    'a token for another audience',
    {
      volumes: [{ name: 'v', projected: { sources: [{ serviceAccountToken: { path: 't', audience: 'vault' } }] } }],
    },
  ],
];
const podSpec = (spec: object) => ({ containers: [container], ...spec });
const labels = { app: 'attack' };
const template = (spec: object) => ({ metadata: { labels }, spec: podSpec(spec) });

const pods = podSpecs.map(([what, spec]) =>
  requestAttack('pods', {
    name: `a pod with ${what}`,
    path: core('pods'),
    body: (_place, name) => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec: podSpec(spec) }),
    rights: 'attempt',
  }),
);

const workloads = podSpecs
  .filter(([what]) => ['privileged', 'hostPath /', 'hostPID', 'a foreign service account'].includes(what))
  .flatMap(([what, spec]) => [
    requestAttack('workloads', {
      name: `a Deployment with ${what}`,
      path: apps('deployments'),
      body: (_place, name) => ({
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name },
        spec: { replicas: 0, selector: { matchLabels: labels }, template: template(spec) },
      }),
      rights: 'attempt',
    }),
    requestAttack('workloads', {
      name: `a StatefulSet with ${what}`,
      path: apps('statefulsets'),
      body: (_place, name) => ({
        apiVersion: 'apps/v1',
        kind: 'StatefulSet',
        metadata: { name },
        spec: { serviceName: 'x', replicas: 0, selector: { matchLabels: labels }, template: template(spec) },
      }),
      rights: 'attempt',
    }),
    requestAttack('workloads', {
      name: `a Job with ${what}`,
      path: ({ namespace }) => `/apis/batch/v1/namespaces/${namespace}/jobs`,
      body: (_place, name) => ({
        apiVersion: 'batch/v1',
        kind: 'Job',
        metadata: { name },
        spec: { suspend: true, template: { spec: { restartPolicy: 'Never', ...podSpec(spec) } } },
      }),
      rights: 'attempt',
    }),
  ]);

export const workloadAttacks: readonly RequestAttack[] = [...pods, ...workloads];
