// For tests: a TiKV cluster that exists only in memory, and a kubectl, helm and curl that act on it. jq, awk and bash are real.

import { execFileSync } from 'node:child_process';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import path from 'node:path';

/** What a test may vary; nothing of it may matter to the rules. */
export interface FakePatientOptions {
  readonly namespace: string;
  readonly release: string;
  readonly replicas: number;
  readonly storeIds: readonly number[];
  /** How many replicas there are left. */
  readonly scaledTo?: number;
  /** The release is unknown to Helm and to the annotations. */
  readonly withoutHelm?: boolean;
  /** A line that somebody has put under a section of tikv.toml, and which pods have met it. */
  readonly badOption?: { readonly section: string; readonly name: string; readonly pods: readonly number[] };
  /** Every command prints this instead of what it should. */
  readonly garble?: (text: string) => string;
  /** Scaling is accepted, and has no effect. */
  readonly stuck?: boolean;
  /** kubectl may not change anything. */
  readonly readOnly?: boolean;
}

export interface FakePatient {
  /** Comes first in PATH. */
  readonly bin: string;
  replicas: number;
  toml: string;
  /** Ordinals of pods that are in a crash loop. */
  crashing: number[];
  /** Every accepted write, as kubectl got it. */
  readonly writes: string[];
  close(): Promise<void>;
}

const tomlWith = (bad: FakePatientOptions['badOption']) => {
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

/** A failed command: what it says on stderr. */
class Refusal extends Error {}

/** The cluster itself: what a program prints, or a Refusal. */
function answer(
  o: FakePatientOptions,
  s: FakePatient,
  program: string,
  args: readonly string[],
  stdin: string,
): unknown {
  const tikv = `${o.release}-tikv`;
  const pd = `${o.release}-pd`;
  const ordinals = [...Array(s.replicas).keys()];
  const ready = (n: number) => n < s.replicas && !s.crashing.includes(n);
  const workload = (kind: string, name: string, replicas: number, readyReplicas: number) => ({
    kind,
    metadata: { name, ...(o.withoutHelm ? {} : { annotations: { 'meta.helm.sh/release-name': o.release } }) },
    spec: {
      replicas,
      template: { spec: { volumes: [{ name: 'data' }, { name: 'config', configMap: { name: `${name}-config` } }] } },
    },
    status: readyReplicas === 0 ? {} : { readyReplicas },
  });
  const tikvSet = () => workload('StatefulSet', tikv, s.replicas, ordinals.filter(ready).length);
  const pod = (name: string, owner: string, ok: boolean) => ({
    metadata: { name, ownerReferences: [{ kind: 'StatefulSet', name: owner }] },
    status: {
      phase: 'Running',
      containerStatuses: [
        ok
          ? { ready: true, restartCount: 0, state: { running: {} }, lastState: {} }
          : {
              ready: false,
              restartCount: 4,
              state: { waiting: { reason: 'CrashLoopBackOff' } },
              lastState: { terminated: { reason: 'Error', exitCode: 1 } },
            },
      ],
    },
  });
  const write = (text: string) => {
    if (o.readOnly) throw new Refusal('Error from server (Forbidden): the account may not do that');
    s.writes.push(text);
  };

  if (program === 'sleep') return '';
  if (program === 'helm') {
    if (o.withoutHelm || args[4] !== o.release) throw new Refusal('Error: release: not found');
    const head = (name: string) => ['---', 'apiVersion: apps/v1', 'kind: StatefulSet', 'metadata:', `  name: ${name}`];
    return [
      ...[...head(pd), 'spec:', '  replicas: 3'],
      ...[
        ...head(`"${tikv}"`),
        '  labels:',
        '    name: other',
        'spec:',
        '  serviceName: x',
        `  replicas: ${o.replicas}`,
      ],
      ...['  template:', '    metadata:', '      name: other'],
    ].join('\n');
  }
  if (program === 'curl') {
    const url = new URL(args.at(-1) ?? '');
    if (url.hostname !== `${pd}.${o.namespace}.svc`)
      throw new Refusal(`curl: (6) Could not resolve host: ${url.hostname}`);
    const at = url.pathname.replace('/pd/api/v1', '');
    if (at === '/health') return [0, 1, 2].map((n) => ({ name: `${pd}-${n}`, health: true }));
    if (at.startsWith('/regions/check/')) return { count: 0, regions: [] };
    const address = (n: number) => `${tikv}-${n}.${tikv}-peer.${o.namespace}.svc:20160`;
    const stores = o.storeIds.map((id, n) => ({
      store: { id, address: address(n), state_name: ready(n) ? 'Up' : 'Disconnected' },
    }));
    return { count: stores.length, stores };
  }
  if (args[0] === 'config') return o.namespace;
  if (args[0] === '-n' && args[1] !== o.namespace) throw new Refusal(`Error from server (Forbidden): ${args[1]}`);
  const [verb = '', kind = '', name = ''] = args.slice(2);
  const output = args[args.indexOf('-o') + 1] ?? '';
  switch (`${verb} ${kind.toLowerCase()}`.trim()) {
    case 'get statefulsets,deployments':
      return {
        items: [workload('StatefulSet', pd, 3, 3), tikvSet(), workload('Deployment', `${o.release}-load`, 1, 1)],
      };
    case 'get pods':
      return {
        items: [
          ...[0, 1, 2].map((n) => pod(`${pd}-${n}`, pd, true)),
          ...ordinals.map((n) => pod(`${tikv}-${n}`, tikv, ready(n))),
        ],
      };
    case 'get events':
      return `2m Normal Started pod/${tikv}-0 Started container`;
    case 'get services':
      return {
        items: [
          { metadata: { name: `${tikv}-peer` }, spec: { clusterIP: 'None', ports: [{ port: 20160 }] } },
          { metadata: { name: pd }, spec: { clusterIP: '10.0.0.9', ports: [{ port: 2379 }] } },
        ],
      };
    case 'get pod':
      if (Number(name.split('-').at(-1)) < s.replicas) return `${name} 1/1 Running`;
      throw new Refusal(`Error from server (NotFound): pods "${name}" not found`);
    case 'get persistentvolumeclaims':
      return o.storeIds.map((_, n) => `persistentvolumeclaim/data-${tikv}-${n}`).join('\n');
    case 'get statefulset': {
      const set = name === tikv ? tikvSet() : workload('StatefulSet', name, 3, 3);
      return output.startsWith('jsonpath') ? String(set.spec.replicas) : set;
    }
    case 'get configmap':
      return {
        metadata: { name, namespace: o.namespace, resourceVersion: '7' },
        data: name === `${tikv}-config` ? { 'startup.sh': '#!/bin/sh\nexec tikv-server\n', 'tikv.toml': s.toml } : {},
      };
    case 'scale statefulset':
      write(args.join(' '));
      if (!o.stuck) s.replicas = Number(/--replicas=(\d+)/.exec(args.join(' '))?.[1]);
      return `statefulset.apps/${name} scaled`;
    case 'wait statefulset': {
      const wanted = Number(/=(\d+) --timeout/.exec(args.join(' '))?.[1]);
      if (ordinals.filter(ready).length !== wanted) throw new Refusal('error: timed out waiting for the condition');
      return 'condition met';
    }
    case 'replace -f': {
      const given: { metadata: { name: string }; data: Record<string, string> } = JSON.parse(stdin);
      write(`replace configmap ${given.metadata.name}`);
      s.toml = given.data['tikv.toml'] ?? '';
      return `configmap/${given.metadata.name} replaced`;
    }
    case 'delete pod':
      write(args.join(' '));
      if (o.badOption !== undefined && !s.toml.includes(`${o.badOption.name} =`)) s.crashing = [];
      return 'pod deleted';
    default:
      if (verb === 'logs' && o.badOption !== undefined) {
        const key = o.badOption.section === 'nonsense' ? 'nonsense' : `${o.badOption.section}.${o.badOption.name}`;
        return `[INFO] [server.rs] ["Welcome"]\n[FATAL] [server.rs:61] ["invalid configuration: unknown configuration options: ${key}"]`;
      }
      throw new Refusal(`the fake kubectl does not know: ${args.join(' ')}`);
  }
}

const ARGUMENT_END = '\x1f';
const ARGUMENTS_END = '\x1e';

/** Makes the programs in a directory of the caller's; they ask this process. */
export async function createFakePatient(directory: string, options: FakePatientOptions): Promise<FakePatient> {
  const bin = path.join(directory, 'bin');
  const socket = path.join(directory, 'patient.sock');
  await mkdir(bin, { recursive: true });
  const curl = execFileSync('bash', ['-c', 'command -v curl'], { encoding: 'utf8' }).trim();

  const server = createServer(async (request, response) => {
    let text = '';
    request.setEncoding('utf8');
    for await (const chunk of request) text += String(chunk);
    const [head = '', stdin = ''] = text.split(ARGUMENTS_END);
    const [program = '', ...args] = head.split(ARGUMENT_END).slice(0, -1);
    try {
      const value = answer(options, patient, program, args, stdin);
      const plain = typeof value === 'string' ? value : JSON.stringify(value);
      response.end(`0\n${options.garble === undefined ? plain : options.garble(plain)}`);
    } catch (error) {
      const said = error instanceof Error ? error.message : String(error);
      response.end(`1\n${options.garble === undefined ? said : options.garble(said)}`);
    }
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const patient: FakePatient = {
    bin,
    replicas: options.scaledTo ?? options.replicas,
    toml: tomlWith(options.badOption),
    crashing: [...(options.badOption?.pods ?? [])],
    writes: [],
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  for (const name of ['kubectl', 'helm', 'curl', 'sleep']) {
    const script = `#!/bin/bash
answer=$( { printf '%s\\037' ${name} "$@"; printf '\\036'; [[ "$*" != *"-f -" ]] || cat; } | '${curl}' -sS --unix-socket '${socket}' --data-binary @- http://patient/ )
code=\${answer%%$'\\n'*}
text=\${answer#*$'\\n'}
if [ "$code" = 0 ]; then [ -z "$text" ] || printf '%s\\n' "$text"; else printf '%s\\n' "$text" >&2; fi
exit "$code"
`;
    await writeFile(path.join(bin, name), script);
    await chmod(path.join(bin, name), 0o755);
  }
  return patient;
}
