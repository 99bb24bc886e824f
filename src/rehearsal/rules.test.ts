// Applies the rules to faults of an in-memory cluster: what they repair and what they leave alone,
// whatever the names, numbers and texts are.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { CommandMemory } from '../../test/support/command-memory.ts';
import type { FakeClusterOptions } from '../../test/support/fake-cluster-objects.ts';
import { createFakePatient, type FakePatientOptions } from '../../test/support/fake-patient.ts';
import { rehearse } from '../../test/support/rehearse.ts';
import { loadRules, type RuleBook } from './rule.ts';
import { DEFAULT_RULES } from './server.ts';

let book: RuleBook;
beforeAll(async () => {
  book = await loadRules(DEFAULT_RULES);
});

const memory = new CommandMemory();

async function repair(options: FakePatientOptions) {
  const directory = await mkdtemp(path.join(tmpdir(), 'oplab-rules-'));
  const patient = await createFakePatient(directory, options);
  try {
    return { ...(await rehearse(book, memory, patient)), cluster: patient.cluster };
  } finally {
    await patient.close();
    await rm(directory, { recursive: true, force: true });
  }
}

/** The same cluster under three sets of names and numbers. */
const clusters = [
  { namespace: 'tikv', release: 'tikv', replicas: 3, storeIds: [1, 4, 5] },
  { namespace: 'prod-eu', release: 'blue', replicas: 5, storeIds: [7, 1002, 1003, 88, 9] },
  { namespace: 'x', release: 'y1', replicas: 4, storeIds: [11, 12, 13, 14] },
] as const;

/** What is broken in a cluster, and how it must be afterwards. */
interface Fault {
  readonly name: string;
  readonly fault: (cluster: (typeof clusters)[number]) => Partial<FakeClusterOptions>;
  readonly writes: RegExp[];
  /** Words that the cause must hold; the names in it are the cluster's own. */
  readonly cause: RegExp;
}

const faults: Fault[] = [
  {
    name: 'a store scaled away',
    fault: ({ replicas }) => ({ scaledTo: replicas - 1 }),
    writes: [/scale statefulset \S+-tikv --replicas=\d/],
    cause: /scaled it down by hand/,
  },
  {
    name: 'an unknown option',
    fault: ({ replicas }) => ({ badOption: { section: 'raftstore', name: 'no-such-option', pods: [replicas - 1] } }),
    writes: [/replace configmap/, /delete pod/],
    cause: /raftstore\.no-such-option/,
  },
  {
    name: 'a whole section that is unknown',
    fault: () => ({ badOption: { section: 'nonsense', name: 'really', pods: [0, 1] } }),
    writes: [/replace configmap/, /delete pod/],
    cause: /nonsense/,
  },
  {
    name: 'a wrong address of PD',
    fault: ({ replicas }) => ({ template: { pdEndpoints: 'pd.gone:2379', pods: [replicas - 1] } }),
    writes: [/replace statefulset/, /delete pod/],
    cause: /other arguments/,
  },
  {
    name: 'a lost volume',
    fault: ({ replicas }) => ({ lostVolume: { pod: replicas - 2 } }),
    writes: [/^DELETE \/store\/\d+\?force=true$/, /delete pod/, /^DELETE \/stores\/remove-tombstone/],
    cause: /volume of that store is lost/,
  },
  {
    name: 'a volume full of something else',
    fault: () => ({ bigFile: { pod: 1, path: '/var/lib/tikv/core.4711' } }),
    writes: [/exec \S+-1 rm -- \/var\/lib\/tikv\/core\.4711$/],
    cause: /core\.4711/,
  },
  {
    name: 'a memory limit that is too small',
    fault: ({ replicas }) => ({ template: { memory: '24Mi', pods: [replicas - 1] } }),
    writes: [/replace statefulset/, /delete pod/],
    cause: /24Mi of memory/,
  },
  {
    name: 'PD without quorum',
    fault: () => ({ pdScaledTo: 1 }),
    writes: [/scale statefulset \S+-pd --replicas=3/],
    cause: /lost its quorum/,
  },
  {
    name: 'a scheduler left behind',
    fault: () => ({ schedulers: ['evict-leader-scheduler'] }),
    writes: [/^DELETE \/schedulers\/evict-leader-scheduler$/],
    cause: /evict-leader-scheduler/,
  },
  {
    name: 'a store stuck Offline',
    fault: ({ replicas }) => ({ offline: { pod: replicas - 1 } }),
    writes: [/^POST \/store\/\d+\/state\?state=Up$/, /region-schedule-limit": 2048/, /replica-schedule-limit": 64/],
    cause: /is Offline/,
  },
  {
    name: 'an image that cannot be pulled',
    fault: ({ replicas }) => ({ template: { image: 'registry.example/tikv:v0', pods: [replicas - 1] } }),
    writes: [/replace statefulset/, /delete pod/],
    cause: /cannot be pulled/,
  },
  {
    name: 'a store behind a policy',
    fault: ({ namespace }) => ({ policy: { name: `lock-${namespace}`, pod: 0 } }),
    writes: [/delete networkpolicy lock-/],
    cause: /NetworkPolicy lock-/,
  },
  {
    name: 'a CPU limit that is too small',
    fault: () => ({ template: { cpu: '20m', pods: [] } }),
    writes: [/replace statefulset/],
    cause: /CPU limit of 20m/,
  },
  {
    name: 'two faults at once',
    fault: ({ replicas }) => ({ scaledTo: replicas - 1, schedulers: ['evict-leader-scheduler'] }),
    writes: [/scale statefulset/, /^DELETE \/schedulers/],
    cause: /scaled it down by hand.*evict-leader-scheduler/,
  },
];

/** Every fault once, each in another cluster than the one before it; the first in all of them. */
const cases = faults.flatMap((fault, index) =>
  clusters
    .filter((_, number) => index === 0 || number === index % clusters.length)
    .map((cluster) => ({ ...fault, cluster, where: `${cluster.release} in ${cluster.namespace}` })),
);

describe('repaired', { timeout: 60_000 }, () => {
  it.each(cases)('$name: $where', async ({ fault, cluster, writes, cause }) => {
    const { conclusion, cluster: after, rules } = await repair({ ...cluster, ...fault(cluster) });
    expect(conclusion.outcome, `${rules.join(' ')}: ${conclusion.summary}`).toBe('fixed');
    // Nothing but what was needed was touched.
    expect(after.writes).toHaveLength(writes.length);
    for (const [index, write] of after.writes.entries()) expect(write).toMatch(writes[index] ?? /none/);
    expect(conclusion.root_cause).toMatch(cause);
    expect(after.replicas).toBe(cluster.replicas);
    expect(after.toml).toContain('grpc-concurrency = 2');
    expect(after.toml).not.toMatch(/no-such-option|really/);
  });

  it('without a release, by the volume that the missing pod has left', async () => {
    const { conclusion, cluster } = await repair({ ...clusters[2], scaledTo: 2, withoutHelm: true });
    expect(conclusion.outcome).toBe('fixed');
    expect(cluster.replicas).toBe(4);
  });

  it('by what is wrong with an option, not by what its text says', async () => {
    const { conclusion, cluster, commands } = await repair({
      ...clusters[0],
      badOption: { section: 'log', name: 'level', pods: [2] },
    });
    expect(conclusion.outcome).toBe('fixed');
    expect(cluster.writes.join('\n')).not.toContain('pvc');
    expect(commands.join('\n')).not.toContain('pvc');
  });
});

describe('left alone', { timeout: 60_000 }, () => {
  const healthy = clusters[0];

  it('what is healthy', async () => {
    const { conclusion, cluster } = await repair(healthy);
    expect(conclusion.outcome).toBe('nothing_wrong');
    expect(cluster.writes).toEqual([]);
  });

  it.each<[string, Partial<FakePatientOptions>]>([
    ['a quota, which agents may not change', { quota: { name: 'team-limits', pod: 2 } }],
    ['a file that a process has open', { bigFile: { pod: 1, path: '/var/lib/tikv/core.4711', open: true } }],
    ["a file among TiKV's own", { bigFile: { pod: 1, path: '/var/lib/tikv/data/kv/000001.sst' } }],
    ['a file of which nobody knows what it is', { bigFile: { pod: 1, path: '/var/lib/tikv/ledger' } }],
    ['a store whose volume is not younger than it', { lostVolume: { pod: 1, early: true } }],
    ['a policy that belongs to the release', { policy: { name: 'walls', pod: 1, ofRelease: true } }],
    ['everything, when the rights are missing', { scaledTo: 2, readOnly: true }],
  ])('%s', async (_name, fault) => {
    const { conclusion, cluster } = await repair({ ...healthy, ...fault });
    expect(conclusion.outcome).toBe('cannot_fix');
    expect(cluster.writes).toEqual([]);
  });

  it('a quota, with the diagnosis that a person needs', async () => {
    const { conclusion } = await repair({ ...clusters[1], quota: { name: 'team-limits', pod: 4 } });
    expect(conclusion.summary).toMatch(/blue-tikv-tikv-4.*team-limits allows 8 pods/);
    expect(conclusion.root_cause).toContain('team-limits');
  });

  it.each<[string, (text: string) => string]>([
    ['reversed', (text) => [...text].reverse().join('')],
    ['noise', () => 'x9$# @@ ~~ \\u0000 ??'],
    ['empty', () => ''],
  ])('a cluster whose output is garbled: %s', async (_name, garble) => {
    const { conclusion, cluster } = await repair({ ...healthy, scaledTo: 2, garble });
    expect(conclusion.outcome).toBe('cannot_fix');
    expect(cluster.writes).toEqual([]);
  });

  it('and not claimed to be repaired when a change has no effect', async () => {
    const { conclusion, cluster } = await repair({ ...healthy, scaledTo: 2, stuck: true });
    expect(conclusion.outcome).toBe('cannot_fix');
    expect(cluster.writes.length).toBeGreaterThan(0);
  });
});
