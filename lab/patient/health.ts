// Decides whether an observed TiKV cluster is healthy. Pure, so that recordings can be used too.
import { type LedgerReport, type Observation, peerFaults, type Seen } from './observation.ts';

/** One condition with the observed value. */
export interface Check {
  readonly name: string;
  readonly passing: boolean;
  readonly observed: string;
}

/** All conditions together. */
export interface PatientHealth {
  readonly healthy: boolean;
  readonly checks: readonly Check[];
  readonly ledger: LedgerReport;
}

/**
 * A heartbeat older than this counts as lost, in milliseconds; PD itself says Disconnected at 20 s.
 */
export const heartbeatLimitMs = 30_000;

/** The schedulers that PD starts with; anything beside them somebody has left behind. */
const ownSchedulers = new Set([
  'balance-region-scheduler',
  'balance-leader-scheduler',
  'balance-hot-region-scheduler',
  'evict-slow-store-scheduler',
]);
/** Without these a cluster does not balance itself. */
const neededSchedulers = ['balance-region-scheduler', 'balance-leader-scheduler'];

const unknownLedger = (error: string): LedgerReport => ({
  ledgerId: '',
  acknowledged: 0,
  verified: 0,
  ledgerLost: -1,
  indeterminate: 0,
  unreadable: 0,
  openWrites: 0,
  lostKeys: [],
  acknowledgedTotal: 0,
  error,
});

function check<T>(name: string, seen: Seen<T>, decide: (value: T) => { passing: boolean; observed: string }): Check {
  if ('error' in seen) return { name, passing: false, observed: seen.error };
  return { name, ...decide(seen.value) };
}

/**
 * `suffix` of a StatefulSet's wanted replicas, e.g. "-tikv"; undefined when the manifest could not
 * be read.
 */
function wantedFor(observation: Observation, name: string): number | undefined {
  return 'error' in observation.wanted ? undefined : observation.wanted.value[name];
}

/** Evaluates an observation of the patient whose object names begin with `name`. */
export function evaluateObservation(observation: Observation, name: string): PatientHealth {
  const wantedPd = wantedFor(observation, `${name}-pd`);
  const wantedTikv = wantedFor(observation, `${name}-tikv`);
  const checks: Check[] = [
    check('PD members healthy', observation.health, (list) => ({
      passing: list.length === wantedPd && list.every((member) => member.health),
      observed: `${list.filter((member) => member.health).length} of ${wantedPd ?? 'an unknown number'}${sick(list)}`,
    })),
    check('PD has a leader', observation.members, (answer) => ({
      passing: (answer.leader?.name ?? '') !== '',
      observed: answer.leader?.name || 'none',
    })),
    check('stores Up', observation.stores, ({ stores }) => {
      const living = stores.filter((item) => item.store.state_name !== 'Tombstone');
      const up = living.filter((item) => item.store.state_name === 'Up');
      const others = living
        .filter((item) => item.store.state_name !== 'Up')
        .map((item) => `store ${item.store.id} (${item.store.address}) ${item.store.state_name}`);
      return {
        passing: up.length === wantedTikv && others.length === 0,
        observed: [`${up.length} of ${wantedTikv ?? 'an unknown number'}`, ...others].join('; '),
      };
    }),
    check('store heartbeats', observation.stores, ({ stores }) => {
      const ages = stores
        .filter((item) => item.store.state_name !== 'Tombstone')
        .map((item) => ({
          id: item.store.id,
          age: observation.at - Date.parse(item.status.last_heartbeat_ts ?? '1970-01-01'),
        }));
      const oldest = Math.max(0, ...ages.map(({ age }) => age));
      return {
        passing: ages.length > 0 && oldest < heartbeatLimitMs,
        observed: ages.length === 0 ? 'no stores' : `oldest ${seconds(oldest)}, limit ${seconds(heartbeatLimitMs)}`,
      };
    }),
    ...peerFaults.map((fault) =>
      check(`no ${fault} peers`, observation.peers[fault], (regions) => ({
        passing: regions === 0,
        observed: `${regions} region(s)`,
      })),
    ),
    check('no offline peers', observation.stores, ({ stores }) => {
      const offline = stores.filter(({ store }) => store.state_name === 'Offline');
      const peers = offline.reduce((sum, { status }) => sum + status.region_count, 0);
      return { passing: peers === 0, observed: `${peers} on ${offline.length} store(s)` };
    }),
    check('no stray schedulers', observation.schedulers, (list) => {
      const stray = list.filter((scheduler) => !ownSchedulers.has(scheduler));
      const missing = neededSchedulers.filter((scheduler) => !list.includes(scheduler));
      return {
        passing: stray.length === 0 && missing.length === 0,
        observed:
          [...stray.map((item) => `stray ${item}`), ...missing.map((item) => `missing ${item}`)].join(', ') ||
          `${list.length}, all PD's own`,
      };
    }),
    check('replicas as the chart says', observation.statefulSets, (sets) => {
      const wanted = 'error' in observation.wanted ? {} : observation.wanted.value;
      const names = [...new Set([...Object.keys(wanted), ...sets.map((set) => set.name)])];
      const lines = names.map((set) => {
        const seen = sets.find((item) => item.name === set);
        return {
          good: seen !== undefined && seen.replicas === wanted[set] && seen.readyReplicas === wanted[set],
          text: `${set} ${seen?.readyReplicas ?? 0}/${seen?.replicas ?? 0}, chart ${wanted[set] ?? '?'}`,
        };
      });
      return {
        passing: lines.length > 0 && lines.every((line) => line.good),
        observed: lines.map((line) => line.text).join('; '),
      };
    }),
    check('transactional put and get', observation.probe, (result) => ({
      passing: result.ok,
      observed: result.ok ? `${result.milliseconds.toFixed(0)} ms` : (result.error ?? 'failed'),
    })),
    check('no acknowledged write lost', observation.ledger, (report) => ({
      passing: report.ledgerLost === 0 && report.unreadable === 0 && report.acknowledged > 0,
      observed: `${report.verified} of ${report.acknowledged} keys read back, ${report.ledgerLost} lost, ${report.indeterminate} indeterminate, ${report.unreadable} unreadable`,
    })),
  ];
  return {
    healthy: checks.every((item) => item.passing),
    checks,
    ledger: 'error' in observation.ledger ? unknownLedger(observation.ledger.error) : observation.ledger.value,
  };
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(0)} s`;

function sick(list: ReadonlyArray<{ name: string; health: boolean }>): string {
  const names = list.filter((member) => !member.health).map((member) => member.name);
  return names.length === 0 ? '' : `; not healthy: ${names.join(', ')}`;
}
