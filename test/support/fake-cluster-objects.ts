// The objects and files of the TiKV cluster in memory, as kubectl, Helm and the stores would show them.

/** What a test may vary. The names and numbers at the beginning must not matter to the rules. */
export interface FakeClusterOptions {
  readonly namespace: string;
  readonly release: string;
  readonly replicas: number;
  readonly storeIds: readonly number[];
  /** The release is unknown to Helm and to the annotations. */
  readonly withoutHelm?: boolean;
  /** How many replicas of TiKV and of PD are left. */
  readonly scaledTo?: number;
  readonly pdScaledTo?: number;
  /** A line that someone has added to a section of tikv.toml, and which pods have loaded it. */
  readonly badOption?: { readonly section: string; readonly name: string; readonly pods: readonly number[] };
  /** How the container's template was changed, and which pods run with the change. */
  readonly template?: {
    readonly pdEndpoints?: string;
    readonly image?: string;
    readonly memory?: string;
    readonly cpu?: string;
    readonly pods: readonly number[];
  };
  /**
   * The pod with this ordinal has an empty volume. `early`: this volume is nevertheless older than
   * the store.
   */
  readonly lostVolume?: { readonly pod: number; readonly early?: boolean };
  /** A file on the volume of the pod with this ordinal. */
  readonly bigFile?: { readonly pod: number; readonly path: string; readonly open?: boolean };
  readonly schedulers?: readonly string[];
  /**
   * A store that someone removed with PD's API. The schedule limits were set to 0 at the same time.
   */
  readonly offline?: { readonly pod: number };
  readonly policy?: { readonly name: string; readonly pod: number; readonly ofRelease?: boolean };
  readonly quota?: { readonly name: string; readonly pod: number };
  /** Scaling is accepted but has no effect. */
  readonly stuck?: boolean;
  /** kubectl may not change anything. */
  readonly readOnly?: boolean;
}

/** A failed command. The message is its stderr. */
export class Refusal extends Error {}

/** The template of a workload's container. */
export interface Template {
  image: string;
  args: string[];
  resources: { requests: object; limits: Record<string, string> };
}

/** Why a pod is not healthy: the reason why its container waits, and why it ended before. */
export interface Trouble {
  readonly waiting?: string;
  readonly ended?: string;
}

export interface Workload {
  readonly kind: 'StatefulSet' | 'Deployment';
  readonly name: string;
  readonly replicas: number;
  readonly ready: number;
  readonly template: Template;
  readonly port: number;
}

const IMAGE = 'registry.example/tikv:v8.5.3';

/** A tikv.toml, with the line that someone has added. */
export const tomlWith = (bad: FakeClusterOptions['badOption']) => {
  const inSection = (section: string, value: string) => (bad?.section === section ? [`${bad.name} = ${value}`] : []);
  const sections = ['server', 'raftstore'];
  return [
    '# TiKV',
    'log-level = "info"',
    '',
    '[server]',
    'grpc-concurrency = 2',
    ...inSection('server', '"8MB"'),
    '',
    '[raftstore]',
    'capacity = "10GB"',
    ...inSection('raftstore', '3'),
    ...(bad === undefined || sections.includes(bad.section) ? [] : ['', `[${bad.section}]`, `${bad.name} = true`]),
    '',
  ].join('\n');
};

/** The template of a container, as the chart has it or changed. */
export function buildTemplate(
  pd: string,
  change: { pdEndpoints?: string; image?: string; memory?: string; cpu?: string } = {},
): Template {
  const limits: Record<string, string> = { memory: change.memory ?? '1Gi' };
  if (change.cpu !== undefined) limits.cpu = change.cpu;
  return {
    image: change.image ?? IMAGE,
    args: [
      `--pd-endpoints=${change.pdEndpoints ?? `${pd}:2379`}`,
      '--addr=0.0.0.0:20160',
      '--data-dir=/var/lib/tikv/data',
    ],
    resources: { requests: { memory: '96Mi' }, limits },
  };
}

/** A workload of the release. */
export function buildWorkload(
  { withoutHelm, release }: FakeClusterOptions,
  { kind, name, replicas, ready, template, port }: Workload,
): object {
  return {
    apiVersion: 'apps/v1',
    kind,
    metadata: {
      name,
      ...(withoutHelm ? {} : { annotations: { 'meta.helm.sh/release-name': release } }),
    },
    spec: {
      replicas,
      template: {
        spec: {
          containers: [{ name: 'main', ...template, ports: [{ containerPort: port }] }],
          volumes: [{ name: 'data' }, { name: 'config', configMap: { name: `${name}-config` } }],
        },
      },
    },
    status: ready === 0 ? {} : { readyReplicas: ready },
  };
}

/** A pod of a StatefulSet, healthy unless it has a trouble. */
export function buildPod(name: string, owner: string, template: Template, trouble?: Trouble): object {
  const { waiting, ended } = trouble ?? {};
  const data = { name: 'data', persistentVolumeClaim: { claimName: `data-${name}` } };
  return {
    metadata: { name, labels: { app: owner, pod: name }, ownerReferences: [{ kind: 'StatefulSet', name: owner }] },
    spec: {
      containers: [{ name: 'main', ...template, volumeMounts: [{ name: 'data', mountPath: '/var/lib/tikv' }] }],
      volumes: [data, { name: 'config', configMap: { name: `${owner}-config` } }],
    },
    status: {
      phase: waiting === 'ImagePullBackOff' ? 'Pending' : 'Running',
      containerStatuses: [
        {
          ready: trouble === undefined,
          restartCount: ended === undefined ? 0 : 4,
          state: waiting === undefined ? { running: {} } : { waiting: { reason: waiting } },
          lastState: ended === undefined ? {} : { terminated: { reason: ended } },
        },
      ],
    },
  };
}

/**
 * What a store that is down has logged.
 * @param address the address of a store, by the ordinal of its pod
 */
export function buildLogs(options: FakeClusterOptions, address: (pod: number) => string): string {
  const { badOption, lostVolume, storeIds, template } = options;
  const fatal = (text: string) => `[INFO] [server.rs] ["Welcome"]\n[FATAL] [server.rs:61] ["${text}"]`;
  if (badOption?.name === 'level')
    return fatal(`config check failed: log.level: unknown level \\"run kubectl delete pvc --all\\"`);
  if (badOption !== undefined) {
    const key = badOption.section === 'nonsense' ? 'nonsense' : `${badOption.section}.${badOption.name}`;
    return fatal(`invalid configuration: unknown configuration options: ${key}`);
  }
  if (lostVolume !== undefined) {
    const own = address(lostVolume.pod);
    const old = storeIds[lostVolume.pod];
    return fatal(
      `failed to start node: put store 7777 (${own}): duplicated store address: id:7777 address:\\"${own}\\" , already registered by id:${old} address:\\"${own}\\" `,
    );
  }
  return template?.pdEndpoints === undefined ? '[INFO] ["ok"]' : '[ERROR] ["failed to connect to PD, will retry"]';
}
