// The Monitors and rules of helm/tikv: they are silent for a healthy cluster, and each of them
// detects its own failure.

import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { ensureTool } from '../../hack/toolchain/tools.ts';
import type { CheckTarget } from '../../src/api/check.ts';
import { type Monitor, monitor as monitorSchema } from '../../src/api/monitor.ts';
import { Cel } from '../../src/checks/cel.ts';
import { checkExpression } from '../../src/checks/observe.ts';
import { listChecks } from '../../src/controller/monitor/acceptance.ts';
import { evaluated, isReadable, type QueryCase, recorded, type Sample, type Series } from '../support/promtool.ts';

const chart = path.resolve(import.meta.dirname, '../../helm/tikv');
const cel = new Cel();
let monitors: Map<string, Monitor>;

async function render(...args: string[]): Promise<Map<string, Monitor>> {
  const helm = await ensureTool('helm');
  const { stdout } = await promisify(execFile)(helm, ['template', 'tikv', chart, '-n', 'tikv', ...args], {
    maxBuffer: 16 * 1024 * 1024,
  });
  const found = parseAllDocuments(stdout)
    .map((document) => monitorSchema.safeParse(document.toJS()))
    .flatMap((parsed) => (parsed.success ? [parsed.data] : []));
  return new Map(found.map((monitor) => [monitor.metadata.name.replace(/^.*?tikv-/, ''), monitor]));
}

beforeAll(async () => {
  monitors = await render('--set', 'monitors.force=true');
}, 60_000);
afterAll(() => cel.close());

describe('the Monitors of the chart', () => {
  it('are rendered only if the cluster serves the kinds of oplab', async () => {
    expect((await render()).size).toBe(0);
    expect((await render('--api-versions', 'oplab.dev/v1alpha1')).size).toBe(monitors.size);
    expect((await render('--api-versions', 'oplab.dev/v1alpha1', '--set', 'monitors.enabled=false')).size).toBe(0);
    expect([...monitors.keys()].sort()).toEqual([
      'alerts',
      'disk',
      'latency',
      'pd-no-leader',
      'peers',
      'pods',
      'schedulers',
      'store-offline',
      'store-unavailable',
      'workloads',
    ]);
  });

  it('have names and CEL that oplab accepts, even with a long release name', async () => {
    const long = await render(
      '--set',
      'monitors.force=true,fullnameOverride=a-release-with-a-name-of-forty-characters',
    );
    expect(long.size).toBe(10);
    for (const { metadata } of long.values()) expect(metadata.name.length).toBeLessThanOrEqual(50);
    const expressions = new Set([...monitors.values()].flatMap((one) => listChecks(one).map(checkExpression)));
    for (const expression of expressions) expect(await cel.syntaxError(expression), expression).toBeUndefined();
  });
});

/** A check that every Incident of a Monitor has. */
function check(name: string, of = 'workloads'): CheckTarget {
  const found = monitors.get(of)?.spec.incident.verify.checks.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no check ${name}`);
  return found;
}

describe('over recorded expositions', () => {
  const pd = (index: number) => ({ job: 'pd', instance: `tikv-pd-${index}:2379` });
  const tikv = (index: number) => ({ job: 'tikv', instance: `tikv-tikv-${index}:20180` });
  /** Followers report a leader, but no counts. */
  const follower = (index: number): Series => ({ name: 'etcd_server_has_leader', labels: pd(index), value: 1 });
  const load = (seconds: number): Series => ({
    name: 'oplab_load_transaction_p99_seconds',
    labels: { job: 'load' },
    value: seconds,
  });

  async function cluster(): Promise<Series[]> {
    const stores = await Promise.all([0, 1, 2].map((index) => recorded('tikv', tikv(index))));
    return [...(await recorded('pd', pd(0))), follower(1), follower(2), ...stores.flat(), load(0.004)];
  }

  /** The series with changed values: the first series with all these labels gets the value. */
  function changed(series: readonly Series[], name: string, labels: Record<string, string>, value: number): Series[] {
    const matches = (one: Series) =>
      one.name === name && Object.entries(labels).every(([key, text]) => one.labels[key] === text);
    expect(series.some(matches), `${name} ${JSON.stringify(labels)} is recorded`).toBe(true);
    return series.map((one) => (matches(one) ? { ...one, value } : one));
  }

  /** Evaluates every Monitor. Those that are not named here must be silent. */
  function expecting(
    name: string,
    series: readonly Series[],
    alarms: Readonly<Record<string, readonly Sample[]>>,
    alerts: readonly string[],
  ): QueryCase {
    const queries = [...monitors].flatMap(([key, { spec }]) => {
      const expr = spec.check.prometheus?.query;
      return expr === undefined ? [] : [{ expr, expected: alarms[key] ?? [] }];
    });
    const expected = alerts.map((alert) => ({ labels: `{alertname="${alert}"}`, value: 1 }));
    const firing = 'count by (alertname) (ALERTS{alertstate="firing"})';
    return { name, series, queries: [...queries, { expr: firing, expected }] };
  }

  it('can be read by Prometheus', async () => {
    expect(await Promise.all(['pd', 'tikv'].map(isReadable))).toEqual([true, true]);
  });

  it('each detects its own failure and nothing else, and so do the rules', async () => {
    const well = await cluster();
    const status = (type: string, value: number) => changed(well, 'pd_cluster_status', { type }, value);
    const region = (type: string, value: number) => changed(well, 'pd_regions_status', { type }, value);
    const slow = well.map((one) =>
      one.name === 'tikv_grpc_msg_duration_seconds_bucket' && ['0.0128', '0.1024'].includes(one.labels.le ?? '')
        ? { ...one, value: 0 }
        : one,
    );
    const pending = check('regions-pending').prometheus?.query ?? '';
    const pendingFor = (name: string, lately: readonly number[], expected: readonly Sample[]): QueryCase => ({
      name,
      series: well.map((one) => (one.labels.type === 'pending-peer-region-count' ? { ...one, lately } : one)),
      queries: [{ expr: pending, expected }],
    });
    expect(well.some(({ labels }) => labels.type === 'pending-peer-region-count')).toBe(true);
    const cases = [
      expecting('well', well, {}, []),
      pendingFor('a peer is pending for a moment: PD balances', [0, 0, 2], []),
      pendingFor('peers are pending and stay so', [1, 2, 1, 3], [{ labels: '{}', value: 1 }]),
      expecting(
        'a store is disconnected',
        status('store_disconnected_count', 1),
        { 'store-unavailable': [{ labels: '{type="store_disconnected_count"}', value: 1 }] },
        ['PD_cluster_lost_connect_tikv_nums'],
      ),
      expecting(
        'a store is down',
        status('store_down_count', 2),
        { 'store-unavailable': [{ labels: '{type="store_down_count"}', value: 2 }] },
        ['PD_cluster_down_tikv_nums'],
      ),
      expecting(
        'one PD is left and knows no leader',
        [{ name: 'etcd_server_has_leader', labels: pd(0), value: 0 }, ...well.filter((one) => one.labels.job !== 'pd')],
        { 'pd-no-leader': [{ labels: '{}', value: 1 }] },
        ['PD_no_leader'],
      ),
      expecting(
        'transactions are slow, as TiKV sees it',
        slow,
        { latency: [{ labels: '{}', value: 0.1024 + (0.8192 - 0.1024) * 0.99 }] },
        [],
      ),
      expecting(
        'transactions are slow, as the load sees it',
        changed(well, 'oplab_load_transaction_p99_seconds', {}, 2.5),
        { latency: [{ labels: '{}', value: 2.5 }] },
        ['Load_transaction_latency'],
      ),
      expecting(
        'a disk is three quarters full',
        changed(well, 'tikv_store_size_bytes', { ...tikv(1), type: 'available' }, 2.68435456e9),
        { disk: [{ labels: '{instance="tikv-tikv-1:20180"}', value: 0.75 }] },
        [],
      ),
      expecting(
        'a disk is nearly full',
        changed(well, 'tikv_store_size_bytes', { ...tikv(1), type: 'available' }, 1.073741824e9),
        { disk: [{ labels: '{instance="tikv-tikv-1:20180"}', value: 0.9 }] },
        ['TiKV_low_space'],
      ),
      expecting(
        'regions miss a peer',
        region('miss-peer-region-count', 3),
        { peers: [{ labels: '{type="miss-peer-region-count"}', value: 3 }] },
        ['PD_miss_peer_region_count'],
      ),
      expecting(
        'regions have a peer that is down',
        region('down-peer-region-count', 4),
        { peers: [{ labels: '{type="down-peer-region-count"}', value: 4 }] },
        ['PD_down_peer_region_nums'],
      ),
      expecting(
        'a store is stuck on its way out',
        status('store_offline_count', 1),
        { 'store-offline': [{ labels: '{type="store_offline_count"}', value: 1 }] },
        [],
      ),
      expecting('stores are low on space, as PD sees it', status('store_low_space_count', 1), {}, [
        'PD_cluster_low_space',
      ]),
      expecting(
        'TiKV reports critical errors',
        changed(well, 'tikv_critical_error_total', tikv(2), 50),
        {
          alerts: [
            {
              labels:
                'ALERTS{alertname="TiKV_critical_error", alertstate="firing", instance="tikv-tikv-2:20180", severity="critical", type="raftstore"}',
              value: 1,
            },
          ],
        },
        ['TiKV_critical_error'],
      ),
      expecting(
        'regions have no leader',
        changed(well, 'tikv_raftstore_leader_missing', tikv(0), 2),
        {
          alerts: [
            {
              labels:
                'ALERTS{alertname="TiKV_leader_missing", alertstate="firing", instance="tikv-tikv-0:20180", severity="warning"}',
              value: 1,
            },
          ],
        },
        ['TiKV_leader_missing'],
      ),
    ];
    expect(await evaluated(path.join(chart, 'files/rules.yml'), cases)).toBe('');
  });
});

describe('checks of the APIs of PD and Kubernetes', () => {
  const evaluate = (target: CheckTarget | undefined, variables: Record<string, unknown>) =>
    cel.evaluate(
      target === undefined ? '' : checkExpression(target),
      Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, { json: JSON.stringify(value) }])),
    );
  const evaluateType = async (target: CheckTarget | undefined, variables: Record<string, unknown>) =>
    (await evaluate(target, variables)).type;

  const set = (name: string, replicas: number, readyReplicas?: number) => ({
    metadata: { name },
    spec: { replicas },
    status: { replicas, ...(readyReplicas === undefined ? {} : { readyReplicas }) },
  });
  const well = [set('tikv-load', 1, 1), set('tikv-pd', 3, 3), set('tikv-tikv', 3, 3)];

  it.each<[string, object[], string]>([
    ['all ready', well, 'passed'],
    ['scaled down and content', [well[0] ?? {}, well[1] ?? {}, set('tikv-tikv', 2, 2)], 'failed'],
    ['one not ready', [well[0] ?? {}, well[1] ?? {}, set('tikv-tikv', 3, 2)], 'failed'],
    ['none ready', [well[0] ?? {}, well[1] ?? {}, set('tikv-tikv', 3)], 'failed'],
    ['one deleted', well.slice(1), 'failed'],
    ['another one beside them', [...well, set('other', 5, 1)], 'passed'],
  ])('workloads: %s', async (_what, objects, expected) => {
    expect(await evaluateType(monitors.get('workloads')?.spec.check, { objects })).toBe(expected);
  });

  const pod = (container: object, conditions: object[] = []) => ({
    metadata: { name: 'tikv-tikv-0' },
    status: { conditions, containerStatuses: [{ name: 'tikv', state: { running: {} }, lastState: {}, ...container }] },
  });
  const oom = { terminated: { reason: 'OOMKilled', exitCode: 137 } };
  it.each<[string, object, string]>([
    ['runs', pod({ ready: true }), 'passed'],
    ['starts', pod({ ready: false, state: { waiting: { reason: 'ContainerCreating' } } }), 'passed'],
    ['is new', { metadata: { name: 'p' }, status: { phase: 'Pending' } }, 'passed'],
    ['crashes', pod({ ready: false, state: { waiting: { reason: 'CrashLoopBackOff' } } }), 'failed'],
    ['has no image', pod({ ready: false, state: { waiting: { reason: 'ImagePullBackOff' } } }), 'failed'],
    ['was just killed for its memory', pod({ ready: false, state: oom }), 'failed'],
    ['was killed for its memory and is not back', pod({ ready: false, lastState: oom }), 'failed'],
    ['was killed for its memory once and is back', pod({ ready: true, lastState: oom }), 'passed'],
    [
      'cannot be scheduled',
      { metadata: { name: 'p' }, status: { conditions: [{ type: 'PodScheduled', status: 'False' }] } },
      'failed',
    ],
  ])('pods: one %s', async (_what, object, expected) => {
    expect(await evaluateType(monitors.get('pods')?.spec.check, { objects: [object] })).toBe(expected);
  });

  const own = ['balance-hot-region-scheduler', 'balance-leader-scheduler', 'balance-region-scheduler'];
  it.each<[string, unknown, string]>([
    ['only PD’s own', [...own, 'evict-slow-store-scheduler'], 'passed'],
    ['one left behind', [...own, 'evict-leader-scheduler'], 'failed'],
    ['one that is needed is missing', own.slice(1, 2), 'failed'],
    ['PD does not know', 'no leader', 'error'],
  ])('schedulers: %s', async (_what, body, expected) => {
    expect(await evaluateType(monitors.get('schedulers')?.spec.check, { status: 200, body })).toBe(expected);
  });

  const store = (state: string) => ({ store: { id: 1, state_name: state } });
  const up = [store('Up'), store('Up'), store('Up')];
  it.each<[string, object[], string]>([
    ['all Up', up, 'passed'],
    ['a Tombstone beside them', [...up, store('Tombstone')], 'passed'],
    ['one Disconnected', [...up.slice(1), store('Disconnected')], 'failed'],
    ['one too few', up.slice(1), 'failed'],
    ['one on its way out', [...up, store('Offline')], 'failed'],
  ])('stores: %s', async (_what, stores, expected) => {
    expect(await evaluateType(check('stores'), { status: 200, body: { count: stores.length, stores } })).toBe(expected);
  });

  it.each<[string, string, object, string]>([
    ['members', 'with a leader', { members: [{}, {}, {}], leader: { name: 'pd-0' } }, 'passed'],
    ['members', 'without one', { members: [{}, {}, {}] }, 'failed'],
    ['members', 'too few', { members: [{}, {}], leader: { name: 'pd-0' } }, 'failed'],
    ['members-healthy', 'all', [{ health: true }, { health: true }, { health: true }], 'passed'],
    ['members-healthy', 'all but one', [{ health: true }, { health: true }, { health: false }], 'failed'],
    ['regions-miss', 'none', { count: 0, regions: [] }, 'passed'],
    ['regions-down', 'one', { count: 1, regions: [{}] }, 'failed'],
    ['ledger', 'nothing lost', { ok: true, ledgerLost: 0 }, 'passed'],
    ['ledger', 'one lost', { ok: false, ledgerLost: 1 }, 'failed'],
    ['ledger', 'not known yet', { ok: false, ledgerLost: 0, ageSeconds: -1 }, 'failed'],
    ['transaction', 'done', { ok: true, milliseconds: 4 }, 'passed'],
  ])('%s: %s', async (name, _what, body, expected) => {
    expect(await evaluateType(check(name), { status: 200, body })).toBe(expected);
  });
});
