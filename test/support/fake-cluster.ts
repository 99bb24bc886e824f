// A TiKV cluster in memory, for tests. Options break it, and the same writes as in a real cluster
// repair it.

import { parseAllDocuments, stringify } from 'yaml';
import {
  buildLogs,
  buildPod,
  buildTemplate,
  buildWorkload,
  type FakeClusterOptions,
  Refusal,
  type Template,
  type Trouble,
  tomlWith,
  type Workload,
} from './fake-cluster-objects.ts';

const OWN_SCHEDULERS = ['balance-region', 'balance-leader', 'balance-hot-region', 'evict-slow-store'];
const LIMITS = { 'region-schedule-limit': 2048, 'replica-schedule-limit': 64, 'leader-schedule-limit': 4 };
/** When the stores started, in seconds since the epoch. Volume claims are dated relative to it. */
const STARTED = 1_763_800_000;

/** The cluster's state, and the output of the programs that query it. */
export class FakeCluster {
  readonly options: FakeClusterOptions;
  readonly tikv: string;
  readonly pd: string;
  replicas: number;
  pdReplicas: number;
  toml: string;
  template: Template;
  schedulers: string[];
  limits: Record<string, number>;
  /** Ordinals of pods that have loaded a broken configuration. */
  #met: Set<number>;
  #offline: number | undefined;
  #policy: string | undefined;
  #files: string[];
  #lost: 'yes' | 'buried' | 'joined' | 'no';
  #tombstone = false;
  #electing = 0;
  /** Every accepted write: the arguments of kubectl, or the method and path of PD's API. */
  readonly writes: string[] = [];

  constructor(options: FakeClusterOptions) {
    this.options = options;
    const full = options.release.includes('tikv') ? options.release : `${options.release}-tikv`;
    this.tikv = `${full}-tikv`;
    this.pd = `${full}-pd`;
    this.replicas = options.scaledTo ?? options.replicas;
    this.pdReplicas = options.pdScaledTo ?? 3;
    this.toml = tomlWith(options.badOption);
    this.template = buildTemplate(this.pd, options.template);
    this.#met = new Set([...(options.badOption?.pods ?? []), ...(options.template?.pods ?? [])]);
    this.schedulers = [...OWN_SCHEDULERS.map((name) => `${name}-scheduler`), ...(options.schedulers ?? [])];
    this.limits =
      options.offline === undefined
        ? { ...LIMITS }
        : { ...LIMITS, 'region-schedule-limit': 0, 'replica-schedule-limit': 0 };
    this.#offline = options.offline?.pod;
    this.#policy = options.policy?.name;
    this.#files = options.bigFile === undefined ? [] : [options.bigFile.path];
    this.#lost = options.lostVolume === undefined ? 'no' : 'yes';
  }

  #pdSet = (replicas = this.pdReplicas) => {
    const template = buildTemplate(this.pd);
    return this.#workload({ kind: 'StatefulSet', name: this.pd, replicas, ready: replicas, template, port: 2379 });
  };
  #tikvSet = (replicas = this.replicas, template = this.template) => {
    const ready = this.#ordinals().filter((n) => this.#ready(n)).length;
    return this.#workload({ kind: 'StatefulSet', name: this.tikv, replicas, ready, template, port: 20160 });
  };
  #loadSet = () => {
    const template = buildTemplate(this.pd);
    const name = `${this.options.release}-load`;
    return this.#workload({ kind: 'Deployment', name, replicas: 1, ready: 1, template, port: 8080 });
  };
  #workload = (workload: Workload) => buildWorkload(this.options, workload);
  #pod = (name: string, owner: string, trouble?: Trouble) => buildPod(name, owner, this.template, trouble);

  #manifest(): string {
    const { replicas } = this.options;
    return [this.#pdSet(3), this.#tikvSet(replicas, buildTemplate(this.pd)), this.#loadSet()]
      .map((object) => `---\n# Source: chart\n${stringify(object)}`)
      .join('');
  }

  #ordinals = () => [...Array(this.replicas).keys()].filter((n) => this.options.quota?.pod !== n);
  #address = (n: number) => `${this.tikv}-${n}.${this.tikv}-peer.${this.options.namespace}.svc:20160`;
  #badOptionSet = () =>
    this.options.badOption !== undefined && new RegExp(`^${this.options.badOption.name} =`, 'm').test(this.toml);

  /** Why a pod is not healthy. */
  #trouble(n: number): Trouble | undefined {
    if (this.#lost === 'yes' && this.options.lostVolume?.pod === n)
      return { waiting: 'CrashLoopBackOff', ended: 'Error' };
    if (!this.#met.has(n)) return undefined;
    if (this.options.badOption !== undefined) return { waiting: 'CrashLoopBackOff', ended: 'Error' };
    if (this.options.template?.image !== undefined) return { waiting: 'ImagePullBackOff' };
    if (this.options.template?.memory !== undefined) return { waiting: 'CrashLoopBackOff', ended: 'OOMKilled' };
    return this.options.template?.pdEndpoints === undefined ? undefined : {};
  }

  #ready = (n: number) => this.#ordinals().includes(n) && this.#trouble(n) === undefined;

  #stores(): object[] {
    const { storeIds, lostVolume, bigFile } = this.options;
    return storeIds.map((id, n) => {
      const joined = this.#lost === 'joined' && lostVolume?.pod === n;
      const cutOff = this.#policy !== undefined && this.options.policy?.pod === n;
      const state = this.#offline === n ? 'Offline' : joined || (this.#ready(n) && !cutOff) ? 'Up' : 'Disconnected';
      const full = bigFile?.pod === n && this.#files.length > 0;
      return {
        store: { id: joined ? id + 5000 : id, address: this.#address(n), state_name: state, start_timestamp: STARTED },
        status: { capacity: '2GiB', available: full ? '200.5MiB' : '1.9GiB', leader_count: 3, region_count: 9 },
      };
    });
  }

  #pdApi(method: string, url: URL, body: string): unknown {
    const { namespace, storeIds, lostVolume } = this.options;
    if (url.hostname !== `${this.pd}.${namespace}.svc` && url.hostname !== '10.0.0.9')
      throw new Refusal(`curl: (6) Could not resolve host: ${url.hostname}`);
    // Members that have returned elect a leader before they answer.
    if (this.pdReplicas < 2 || this.#electing-- > 0)
      throw new Refusal('curl: (22) The requested URL returned error: 503');
    const at = url.pathname.replace('/pd/api/v1', '');
    if (method !== 'GET') {
      this.writes.push(`${method} ${at}${url.search}${body}`);
      const scheduler = /^\/schedulers\/(.+)$/.exec(at)?.[1];
      const id = Number(/^\/store\/(\d+)/.exec(at)?.[1]);
      if (scheduler !== undefined) this.schedulers = this.schedulers.filter((name) => name !== scheduler);
      else if (at === '/config') Object.assign(this.limits, JSON.parse(body));
      else if (at === '/stores/remove-tombstone') this.#tombstone = false;
      else if (at.endsWith('/state') && storeIds[this.#offline ?? -1] === id) this.#offline = undefined;
      else if (method === 'DELETE' && storeIds[lostVolume?.pod ?? -1] === id && url.search === '?force=true')
        this.#lost = 'buried';
      else throw new Refusal('curl: (22) The requested URL returned error: 400');
      return 'null';
    }
    if (at === '/health') return [0, 1, 2].map((n) => ({ name: `${this.pd}-${n}`, health: true }));
    if (at.startsWith('/regions/check/'))
      return { count: at.includes('offline') && this.#offline !== undefined ? 9 : 0 };
    if (at === '/schedulers') return this.schedulers;
    if (at.startsWith('/scheduler-config/')) return { 'store-id-ranges': { '4': [{}] } };
    if (at === '/config/schedule') return this.limits;
    if (at === '/config/default') return { schedule: LIMITS };
    if (url.search === '?state=2')
      return { stores: this.#tombstone ? [{ store: { id: storeIds[lostVolume?.pod ?? 0], address: 'x' } }] : [] };
    if (at === '/stores') return { count: storeIds.length, stores: this.#stores() };
    return this.#stores()[storeIds.indexOf(Number(/^\/store\/(\d+)$/.exec(at)?.[1]))];
  }

  #write(text: string): void {
    if (this.options.readOnly) throw new Refusal('Error from server (Forbidden): the account may not do that');
    this.writes.push(text);
  }

  /** Restarts pods. They are healthy if the broken configuration that they had loaded is gone. */
  #restart(): void {
    const wanted = buildTemplate(this.pd);
    const settled =
      this.options.badOption === undefined
        ? JSON.stringify(this.template) === JSON.stringify(wanted)
        : !this.#badOptionSet();
    if (settled) this.#met.clear();
    if (this.#lost === 'buried') {
      this.#lost = 'joined';
      this.#tombstone = true;
    }
  }

  #exec(pod: string, command: readonly string[]): string {
    const n = Number(pod.split('-').at(-1));
    const mine = this.options.bigFile?.pod === n ? this.#files : [];
    switch (command[0]) {
      case 'df':
        return `Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/loop0 250000 ${mine.length * 220000} 20000 ${mine.length === 0 ? 5 : 92}% ${command.at(-1)}`;
      case 'find':
        return mine.map((file) => `file 209715200 ${file}`).join('\n');
      case 'rm':
        this.#write(`exec ${pod} ${command.join(' ')}`);
        this.#files = this.#files.filter((file) => file !== command.at(-1));
        return '';
      default:
        if (command.join(' ').includes('cpu.stat')) return 'nr_periods 100\nnr_throttled 93\nthrottled_time 5';
        return this.options.bigFile?.open === true
          ? mine.map((file) => `l-wx 1 0 0 64 Nov 3 -> ${file}`).join('\n')
          : '';
    }
  }

  #get(kind: string, name: string, args: readonly string[]): unknown {
    const o = this.options;
    const output = args[args.indexOf('-o') + 1] ?? '';
    const ordinal = Number(name.split('-').at(-1));
    switch (kind.toLowerCase()) {
      case 'statefulsets,deployments':
        return { items: [this.#pdSet(), this.#tikvSet(), this.#loadSet()] };
      case 'statefulsets':
        return { items: [this.#pdSet(), this.#tikvSet()] };
      case 'pods':
        return {
          items: [
            ...[...Array(this.pdReplicas).keys()].map((n) => this.#pod(`${this.pd}-${n}`, this.pd)),
            ...this.#ordinals().map((n) => this.#pod(`${this.tikv}-${n}`, this.tikv, this.#trouble(n))),
          ],
        };
      case 'events': {
        if (!args.includes('--field-selector')) return `2m Normal Started pod/${this.tikv}-0 Started container`;
        const said = `create Pod ${this.tikv}-${o.quota?.pod} in StatefulSet ${this.tikv} failed error: pods "x" is forbidden: exceeded quota: ${o.quota?.name}, requested: pods=1, used: pods=8, limited: pods=8`;
        return {
          items:
            o.quota === undefined
              ? []
              : [{ reason: 'FailedCreate', message: said, lastTimestamp: '2026-01-01T00:00:00Z' }],
        };
      }
      case 'services':
        return {
          items: [
            { metadata: { name: `${this.tikv}-peer` }, spec: { clusterIP: 'None', ports: [{ port: 20160 }] } },
            { metadata: { name: this.pd }, spec: { clusterIP: '10.0.0.9', ports: [{ port: 2379 }] } },
          ],
        };
      case 'pod':
        if (!this.#ordinals().includes(ordinal))
          throw new Refusal(`Error from server (NotFound): pods "${name}" not found`);
        return output === 'json' ? this.#pod(name, this.tikv, this.#trouble(ordinal)) : `${name} 1/1 Running`;
      case 'persistentvolumeclaims':
        return o.storeIds.map((_, n) => `persistentvolumeclaim/data-${this.tikv}-${n}`).join('\n');
      case 'persistentvolumeclaim': {
        const made = STARTED + (o.lostVolume?.early === true ? -60 : 3600);
        return { metadata: { name, creationTimestamp: new Date(made * 1000).toISOString().replace('.000', '') } };
      }
      case 'statefulset': {
        const set = name === this.tikv ? this.#tikvSet() : this.#pdSet();
        return output.startsWith('jsonpath') ? String(name === this.tikv ? this.replicas : this.pdReplicas) : set;
      }
      case 'deployment':
        return '1';
      case 'configmap':
        return {
          kind: 'ConfigMap',
          metadata: { name, namespace: o.namespace, resourceVersion: '7' },
          data:
            name === `${this.tikv}-config`
              ? { 'startup.sh': '#!/bin/sh\nexec tikv-server\n', 'tikv.toml': this.toml }
              : {},
        };
      case 'networkpolicies':
      case 'networkpolicy': {
        const annotations = o.policy?.ofRelease === true ? { 'meta.helm.sh/release-name': o.release } : {};
        const one = (policyName: string, podSelector: object) => ({
          metadata: { name: policyName, annotations },
          spec: { podSelector, policyTypes: ['Ingress', 'Egress'] },
        });
        const other = one('for-others', { matchLabels: { app: 'web' } });
        const mine = one(this.#policy ?? '', { matchLabels: { pod: `${this.tikv}-${o.policy?.pod}` } });
        return kind === 'networkpolicy' ? mine : { items: this.#policy === undefined ? [other] : [other, mine] };
      }
      case 'resourcequota':
        return { metadata: { name }, status: { used: { pods: '8' }, hard: { pods: '8' } } };
      default:
        throw new Refusal(`the fake kubectl does not know: ${args.join(' ')}`);
    }
  }

  #replace(stdin: string): string {
    const given: {
      kind: string;
      metadata: { name: string };
      data?: Record<string, string>;
      spec?: { template: { spec: { containers: Template[] } } };
    } = JSON.parse(stdin);
    this.#write(`replace ${given.kind.toLowerCase()} ${given.metadata.name}`);
    const container = given.spec?.template.spec.containers[0];
    if (container !== undefined) {
      const { image, args, resources } = container;
      this.template = { image, args, resources };
    } else this.toml = given.data?.['tikv.toml'] ?? '';
    return `${given.metadata.name} replaced`;
  }

  #kubectl(args: readonly string[], stdin: string): unknown {
    if (args[0] === 'config') return this.options.namespace;
    if (args[0] === 'create')
      return parseAllDocuments(stdin)
        .map((document) => JSON.stringify(document.toJS()))
        .join('\n');
    if (args[0] === '-n' && args[1] !== this.options.namespace)
      throw new Refusal(`Error from server (Forbidden): ${args[1]}`);
    const [verb = '', kind = '', name = ''] = args.slice(2);
    const text = args.join(' ');
    switch (verb) {
      case 'get':
        return this.#get(kind, name, args);
      case 'logs':
        return buildLogs(this.options, this.#address);
      case 'exec':
        return this.#exec(kind, args.slice(args.indexOf('--') + 1));
      case 'auth':
        throw new Refusal('no');
      case 'scale': {
        this.#write(text);
        const wanted = Number(/--replicas=(\d+)/.exec(text)?.[1]);
        if (this.options.stuck !== true && name === this.tikv) this.replicas = wanted;
        if (this.options.stuck !== true && name === this.pd) {
          this.pdReplicas = wanted;
          this.#electing = 4;
        }
        return `statefulset.apps/${name} scaled`;
      }
      case 'wait': {
        const wanted = Number(/=(\d+) --timeout/.exec(text)?.[1]);
        const ready = name === this.pd ? this.pdReplicas : this.#ordinals().filter((n) => this.#ready(n)).length;
        if (ready !== wanted) throw new Refusal('error: timed out waiting for the condition');
        return 'condition met';
      }
      case 'rollout':
        this.#restart();
        return 'partitioned roll out complete';
      case 'replace':
        return this.#replace(stdin);
      case 'delete':
        this.#write(text);
        if (kind === 'networkpolicy' && name === this.#policy) this.#policy = undefined;
        if (kind === 'pod') this.#restart();
        return `${kind} deleted`;
      default:
        throw new Refusal(`the fake kubectl does not know: ${text}`);
    }
  }

  /** What a program prints. @throws Refusal */
  answer(program: string, args: readonly string[], stdin: string): unknown {
    if (program === 'kubectl') return this.#kubectl(args, stdin);
    if (program === 'helm') {
      if (this.options.withoutHelm || args[4] !== this.options.release) throw new Refusal('Error: release: not found');
      return this.#manifest();
    }
    const after = (flag: string) => (args.includes(flag) ? (args[args.indexOf(flag) + 1] ?? '') : undefined);
    return this.#pdApi(
      after('-X') ?? 'GET',
      new URL(args.find((arg) => arg.startsWith('http')) ?? ''),
      after('-d') ?? '',
    );
  }
}
