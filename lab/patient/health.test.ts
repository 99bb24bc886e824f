// The result for recorded observations: healthy, and unhealthy for each single fault.
import { describe, expect, test } from 'vitest';
import { evaluateObservation } from './health.ts';
import { type LedgerReport, type Observation, replicasInManifest } from './observation.ts';

const at = Date.parse('2026-11-22T14:00:20Z');
const stores = [1, 4, 13].map((id, i) => ({
  store: { id, address: `tikv-tikv-${i}.tikv-tikv-peer.tikv.svc:20160`, state_name: 'Up' },
  status: { leader_count: 3, region_count: 9, last_heartbeat_ts: '2026-11-22T14:00:11Z' },
}));

const well: Observation = {
  at,
  health: { value: ['tikv-pd-0', 'tikv-pd-1', 'tikv-pd-2'].map((name) => ({ name, health: true })) },
  members: { value: { leader: { name: 'tikv-pd-1' }, members: [{ name: 'tikv-pd-1' }] } },
  stores: { value: { count: 3, stores } },
  peers: { miss: { value: 0 }, down: { value: 0 }, pending: { value: 0 } },
  schedulers: {
    value: [
      'balance-region-scheduler',
      'balance-leader-scheduler',
      'balance-hot-region-scheduler',
      'evict-slow-store-scheduler',
    ],
  },
  statefulSets: {
    value: [
      { name: 'tikv-pd', replicas: 3, readyReplicas: 3 },
      { name: 'tikv-tikv', replicas: 3, readyReplicas: 3 },
    ],
  },
  wanted: { value: { 'tikv-pd': 3, 'tikv-tikv': 3 } },
  restarts: { value: 0 },
  probe: { value: { ok: true, milliseconds: 12 } },
  ledger: {
    value: {
      ledgerId: 'ab',
      acknowledged: 100,
      verified: 98,
      ledgerLost: 0,
      indeterminate: 2,
      unreadable: 0,
      openWrites: 2,
      lostKeys: [],
      acknowledgedTotal: 5000,
    },
  },
};

const failing = (observation: Observation): string[] =>
  evaluateObservation(observation, 'tikv')
    .checks.filter((check) => !check.passing)
    .map((check) => check.name);

const withStore = (index: number, change: Partial<(typeof stores)[number]['store']>): Observation => ({
  ...well,
  stores: {
    value: {
      count: 3,
      stores: stores.map((item, i) => (i === index ? { ...item, store: { ...item.store, ...change } } : item)),
    },
  },
});
const withLedger = (change: Partial<LedgerReport>): Observation => ({
  ...well,
  ledger: 'value' in well.ledger ? { value: { ...well.ledger.value, ...change } } : well.ledger,
});

describe('a patient that is well', () => {
  test('is healthy', () => {
    expect(evaluateObservation(well, 'tikv')).toMatchObject({ healthy: true, ledger: { ledgerLost: 0 } });
  });

  test('stays healthy with the Tombstone of a store that was replaced', () => {
    const tombstone = {
      store: { id: 2, address: 'gone:20160', state_name: 'Tombstone' },
      status: { leader_count: 0, region_count: 0, last_heartbeat_ts: '2026-11-22T10:00:00Z' },
    };
    expect(failing({ ...well, stores: { value: { count: 4, stores: [...stores, tombstone] } } })).toEqual([]);
  });

  test('ignores indeterminate keys', () => {
    expect(failing(well)).toEqual([]);
  });
});

describe('each single thing that is wrong', () => {
  const cases: ReadonlyArray<readonly [string, Observation, string[]]> = [
    [
      'a PD member is sick',
      {
        ...well,
        health: {
          value: [
            { name: 'tikv-pd-0', health: false },
            { name: 'tikv-pd-1', health: true },
            { name: 'tikv-pd-2', health: true },
          ],
        },
      },
      ['PD members healthy'],
    ],
    [
      'a PD member is missing',
      {
        ...well,
        health: {
          value: [
            { name: 'tikv-pd-0', health: true },
            { name: 'tikv-pd-1', health: true },
          ],
        },
      },
      ['PD members healthy'],
    ],
    ['PD has no leader', { ...well, members: { value: { leader: null, members: [] } } }, ['PD has a leader']],
    ['a store is Disconnected', withStore(2, { state_name: 'Disconnected' }), ['stores Up']],
    ['a store is Offline', withStore(0, { state_name: 'Offline' }), ['stores Up', 'no offline peers']],
    ['a store is missing', { ...well, stores: { value: { count: 2, stores: stores.slice(0, 2) } } }, ['stores Up']],
    ['heartbeats are old', { ...well, at: at + 30_000 }, ['store heartbeats']],
    ['regions miss a peer', { ...well, peers: { ...well.peers, miss: { value: 2 } } }, ['no miss peers']],
    ['regions have a pending peer', { ...well, peers: { ...well.peers, pending: { value: 1 } } }, ['no pending peers']],
    [
      'an evict-leader scheduler was left behind',
      {
        ...well,
        schedulers: { value: ['balance-region-scheduler', 'balance-leader-scheduler', 'evict-leader-scheduler'] },
      },
      ['no stray schedulers'],
    ],
    [
      'balancing was taken away',
      { ...well, schedulers: { value: ['balance-region-scheduler'] } },
      ['no stray schedulers'],
    ],
    [
      'the whole set was scaled down, so that ready equals replicas',
      {
        ...well,
        statefulSets: {
          value: [
            { name: 'tikv-pd', replicas: 3, readyReplicas: 3 },
            { name: 'tikv-tikv', replicas: 2, readyReplicas: 2 },
          ],
        },
      },
      ['replicas as the chart says'],
    ],
    [
      'a StatefulSet was deleted',
      { ...well, statefulSets: { value: [{ name: 'tikv-pd', replicas: 3, readyReplicas: 3 }] } },
      ['replicas as the chart says'],
    ],
    [
      'a transaction fails',
      { ...well, probe: { value: { ok: false, milliseconds: 10_000, error: 'time' } } },
      ['transactional put and get'],
    ],
    ['a write is lost', withLedger({ ledgerLost: 1 }), ['no acknowledged write lost']],
    ['a key cannot be read', withLedger({ unreadable: 5 }), ['no acknowledged write lost']],
    ['the ledger is empty', withLedger({ acknowledged: 0 }), ['no acknowledged write lost']],
    ['nothing is known of the ledger', { ...well, ledger: { error: 'no answer' } }, ['no acknowledged write lost']],
    ['PD does not answer', { ...well, schedulers: { error: 'HTTP 503' } }, ['no stray schedulers']],
  ];
  test.each(cases)('%s', (_name, observation, names) => {
    expect(failing(observation)).toEqual(names);
  });

  test('a ledger that could not be compared is not a ledger without loss', () => {
    expect(evaluateObservation({ ...well, ledger: { error: 'no answer' } }, 'tikv').ledger.ledgerLost).toBe(-1);
  });

  test('without the manifest nobody knows how many there should be', () => {
    expect(failing({ ...well, wanted: { error: 'no helm' } })).toEqual([
      'PD members healthy',
      'stores Up',
      'replicas as the chart says',
    ]);
  });
});

test('replicas are read from every StatefulSet of a manifest', () => {
  const manifest = `# Source: a
kind: Service
metadata: {name: x}
---
kind: StatefulSet
metadata: {name: tikv-pd}
spec: {replicas: 3}
---
kind: StatefulSet
metadata: {name: tikv-load}
spec: {replicas: 1}
`;
  expect(replicasInManifest(manifest)).toEqual({ 'tikv-pd': 3, 'tikv-load': 1 });
});
