// For tests: a TiKV cluster that exists only as a JSON file, with a kubectl, helm and curl that act on it. jq, awk and bash are real.

import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
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
  /** Calls to PD during which a store that has come back is not yet Up. */
  readonly lag?: number;
  /** Scaling is accepted, and has no effect. */
  readonly stuck?: boolean;
  /** kubectl may not change anything. */
  readonly readOnly?: boolean;
}

interface FakeState {
  options: Omit<FakePatientOptions, 'garble'>;
  replicas: number;
  toml: string;
  /** Ordinals of pods that are in a crash loop. */
  crashing: number[];
  lag: number;
  writes: string[];
}

export interface FakePatient {
  /** Comes first in PATH. */
  readonly bin: string;
  state(): Promise<FakeState>;
}

const toml = (bad: FakePatientOptions['badOption']) =>
  [
    '# TiKV',
    'log-level = "info"',
    '',
    '[server]',
    'grpc-concurrency = 2',
    ...(bad?.section === 'server' ? [`${bad.name} = "8MB"`] : []),
    '',
    '[raftstore]',
    'capacity = "10GB"',
    ...(bad?.section === 'raftstore' ? [`${bad.name} = 3`] : []),
    ...(bad === undefined || bad.section === 'server' || bad.section === 'raftstore'
      ? []
      : ['', `[${bad.section}]`, `${bad.name} = true`]),
    '',
  ].join('\n');

/** The program behind kubectl, helm and curl. Plain JavaScript in a file of its own, since tests run it as a process. */
const PROGRAM = String.raw`
const fs = require('node:fs');
const file = process.env.FAKE_STATE;
const s = JSON.parse(fs.readFileSync(file, 'utf8'));
const o = s.options;
const [program, ...args] = process.argv.slice(2);
const save = () => fs.writeFileSync(file, JSON.stringify(s));
const print = (value) => process.stdout.write(typeof value === 'string' ? value + '\n' : JSON.stringify(value) + '\n');
const die = (text) => { process.stderr.write(text + '\n'); process.exit(1); };
const tikv = o.release + '-tikv', pd = o.release + '-pd', cm = tikv + '-config';
const ordinals = [...Array(s.replicas).keys()];
const bad = o.badOption && (o.badOption.section === '' ? '' : o.badOption.section + '.') + o.badOption.name;
const tomlIsBad = () => o.badOption !== undefined && s.toml.includes(o.badOption.name + ' =');
const ready = (n) => n < s.replicas && !s.crashing.includes(n);
const annotations = o.withoutHelm ? undefined : { 'meta.helm.sh/release-name': o.release };
const workload = (kind, name, replicas, readyReplicas) => ({ kind, metadata: { name, annotations },
  spec: { replicas, template: { spec: { volumes: [{ name: 'data' }, { name: 'config', configMap: { name: name + '-config' } }] } } },
  status: { readyReplicas: readyReplicas || undefined } });
const tikvSet = () => workload('StatefulSet', tikv, s.replicas, ordinals.filter(ready).length);
const configMap = () => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: cm, namespace: o.namespace, resourceVersion: '7' },
  data: { 'startup.sh': '#!/bin/sh\nexec tikv-server\n', 'tikv.toml': s.toml } });
const pod = (name, kind, owner, ok) => ({ metadata: { name, ownerReferences: [{ kind, name: owner }] },
  status: { phase: 'Running', containerStatuses: [ok
    ? { ready: true, restartCount: 0, state: { running: {} }, lastState: {} }
    : { ready: false, restartCount: 4, state: { waiting: { reason: 'CrashLoopBackOff' } }, lastState: { terminated: { reason: 'Error', exitCode: 1 } } }] } });
const written = (text) => { if (o.readOnly) die('Error from server (Forbidden): forbidden'); s.writes.push(text); save(); };

if (program === 'sleep') process.exit(0);
if (program === 'helm') {
  if (o.withoutHelm || args[4] !== o.release) die('Error: release: not found');
  print(['---', 'apiVersion: apps/v1', 'kind: StatefulSet', 'metadata:', '  name: ' + pd, 'spec:', '  replicas: 3', '---',
    'apiVersion: apps/v1', 'kind: StatefulSet', 'metadata:', '  name: "' + tikv + '"', '  labels:', '    app: tikv', 'spec:', '  serviceName: x',
    '  replicas: ' + o.replicas, '  template:', '    metadata:', '      name: other'].join('\n'));
  process.exit(0);
}
if (program === 'curl') {
  const url = new URL(args.at(-1));
  if (url.hostname !== pd + '.' + o.namespace + '.svc') die('curl: (6) Could not resolve host: ' + url.hostname);
  const at = url.pathname.replace('/pd/api/v1', '');
  if (at === '/health') print([0, 1, 2].map((n) => ({ name: pd + '-' + n, health: true })));
  else if (at.startsWith('/regions/check/')) print({ count: 0, regions: [] });
  else if (at === '/stores') {
    const all = o.storeIds.every((_, n) => ready(n));
    if (all && s.lag > 0) { s.lag--; save(); }
    print({ count: o.replicas, stores: o.storeIds.map((id, n) => ({ store: { id, address: tikv + '-' + n + '.' + tikv + '-peer.' + o.namespace + '.svc:20160',
      state_name: ready(n) && (s.lag === 0 || !o.badOption && n < (o.scaledTo ?? o.replicas)) ? 'Up' : 'Disconnected' } })) });
  } else die('curl: (22) The requested URL returned error: 404');
  process.exit(0);
}
if (args[0] === 'config') { print(o.namespace); process.exit(0); }
if (args[0] === '-n' && args[1] !== o.namespace) die('Error from server (Forbidden): namespace ' + args[1]);
const [verb, kind = '', name = ''] = args.slice(2);
const what = verb + ' ' + kind.toLowerCase();
const output = args[args.indexOf('-o') + 1] ?? '';
if (what === 'get statefulsets,deployments') print({ items: [workload('StatefulSet', pd, 3, 3), tikvSet(), workload('Deployment', o.release + '-prometheus', 1, 1)] });
else if (what === 'get pods') print({ items: [...[0, 1, 2].map((n) => pod(pd + '-' + n, 'StatefulSet', pd, true)), ...ordinals.map((n) => pod(tikv + '-' + n, 'StatefulSet', tikv, ready(n)))] });
else if (what === 'get events') print('2m Normal Started pod/' + tikv + '-0 Started container');
else if (what === 'get services') print({ items: [{ metadata: { name: tikv + '-peer' }, spec: { clusterIP: 'None', ports: [{ port: 20160 }] } }, { metadata: { name: pd }, spec: { clusterIP: '10.0.0.9', ports: [{ port: 2379 }] } }] });
else if (what === 'get pod') { const n = Number(name.split('-').at(-1)); if (!(n < s.replicas)) die('Error from server (NotFound): pods "' + name + '" not found'); print(name + ' 1/1 Running'); }
else if (what === 'get persistentvolumeclaims') print(o.storeIds.map((_, n) => 'persistentvolumeclaim/data-' + tikv + '-' + n).join('\n'));
else if (what === 'get statefulset') { const it = name === tikv ? tikvSet() : workload('StatefulSet', name, 3, 3); print(output.startsWith('jsonpath') ? String(it.spec.replicas) : it); }
else if (what === 'get configmap') print(name === cm ? configMap() : { data: {} });
else if (verb === 'logs') print('[2026/11/22 13:00:00.000 +00:00] [INFO] [server.rs] ["Welcome to TiKV"]\n[2026/11/22 13:00:00.100 +00:00] [FATAL] [server.rs:61] ["invalid configuration: unknown configuration options: ' + bad + '"]');
else if (what === 'scale statefulset') { written(args.join(' ')); if (!o.stuck) s.replicas = Number(/--replicas=(\d+)/.exec(args.join(' '))[1]); save(); print('statefulset.apps/' + name + ' scaled'); }
else if (what === 'wait statefulset') { const n = Number(args.join(' ').match(/=(\d+) --timeout/)[1]); if (ordinals.filter(ready).length !== n) die('error: timed out waiting for the condition'); print('condition met'); }
else if (verb === 'replace') { const given = JSON.parse(fs.readFileSync(0, 'utf8')); written('replace ' + given.metadata.name); s.toml = given.data['tikv.toml']; save(); print('configmap/' + given.metadata.name + ' replaced'); }
else if (what === 'delete pod') { written(args.join(' ')); if (!tomlIsBad()) s.crashing = []; save(); print('pod deleted'); }
else die('the fake kubectl does not know: ' + args.join(' '));
`;

/** Makes the programs and the state in a directory of the caller's. */
export async function createFakePatient(directory: string, options: FakePatientOptions): Promise<FakePatient> {
  const bin = path.join(directory, 'bin');
  await mkdir(bin, { recursive: true });
  const { garble, ...rest } = options;
  const state: FakeState = {
    options: rest,
    replicas: options.scaledTo ?? options.replicas,
    toml: toml(options.badOption),
    crashing: [...(options.badOption?.pods ?? [])],
    lag: options.lag ?? 2,
    writes: [],
  };
  const stateFile = path.join(directory, 'state.json');
  const program = path.join(directory, 'program.cjs');
  await writeFile(stateFile, JSON.stringify(state));
  await writeFile(program, PROGRAM);
  for (const name of ['kubectl', 'helm', 'curl', 'sleep']) {
    const run = `FAKE_STATE='${stateFile}' '${process.execPath}' '${program}' ${name} "$@"`;
    const script = garble === undefined ? `exec env ${run}` : `echo '${garble(`${name} output`)}'`;
    await writeFile(path.join(bin, name), `#!/bin/bash\n${script}\n`);
    await chmod(path.join(bin, name), 0o755);
  }
  return { bin, state: async () => JSON.parse(await readFile(stateFile, 'utf8')) };
}
