// Computes the alarms of a Monitor after each probe: pending, firing, clearing, cleared. Pure.

import type { MonitorAlarm, MonitorSpec } from '../../api/monitor.ts';
import type { Failing } from './probe.ts';

/** What became of the Incident of an alarm. */
export type IncidentOutcome =
  | 'open'
  /** The repair was verified, or the alarm cleared. A later failure starts a new episode. */
  | 'resolved'
  /** It ended without a repair. The alarm goes on, but no further Incident is opened for it. */
  | 'ended'
  /** Someone deleted it. If the check still fails, another Incident is opened. */
  | 'missing';

export interface MonitorAlarms {
  readonly alarms: readonly MonitorAlarm[];
  /** When each alarm recently came back, in epoch milliseconds, by fingerprint. */
  readonly flaps: ReadonlyMap<string, readonly number[]>;
}

export interface AlarmContext {
  readonly rules: Pick<MonitorSpec, 'forSeconds' | 'clearSeconds'>;
  /**
   * There is a gap since the last successful probe, so everything that must last without interruption
   * starts again.
   */
  readonly broken: boolean;
  readonly findOutcome: (incident: string) => IncidentOutcome;
  readonly now: Date;
}

export interface AlarmStep {
  readonly next: MonitorAlarms;
  /** Fingerprints of alarms that need an Incident now. */
  readonly raise: readonly string[];
  /**
   * Alarms that are over, and since when their check holds. They stay in `next` until this is
   * reported.
   */
  readonly clear: readonly { readonly fingerprint: string; readonly endTime: string }[];
  /** Fingerprints of alarms that came back before they were cleared. */
  readonly back: readonly string[];
  /** How many more combinations of labels fail than the status can hold. */
  readonly omitted: number;
}

/** How long a flap counts, in ms. */
const FLAP_MS = 10 * 60_000;
/** The maximum of the schema. */
export const MAX_ALARMS = 64;

type Change =
  | { readonly type: 'keep'; readonly alarm: MonitorAlarm; readonly raise?: boolean; readonly isBack?: boolean }
  | { readonly type: 'drop' }
  | { readonly type: 'clear'; readonly alarm: MonitorAlarm; readonly endTime: string };

/** The alarms after a successful probe. */
export function nextAlarms(before: MonitorAlarms, failing: readonly Failing[], context: AlarmContext): AlarmStep {
  const now = context.now.getTime();
  const flaps = new Map<string, readonly number[]>();
  for (const [fingerprint, times] of before.flaps) {
    const recent = times.filter((time) => now - time < FLAP_MS);
    if (recent.length > 0) flaps.set(fingerprint, recent);
  }
  const noteFlap = (fingerprint: string) => flaps.set(fingerprint, [...(flaps.get(fingerprint) ?? []), now]);
  const byFingerprint = new Map(failing.map((one) => [one.fingerprint, one]));
  const alarms: MonitorAlarm[] = [];
  const raise: string[] = [];
  const clear: { fingerprint: string; endTime: string }[] = [];
  const back: string[] = [];
  const isDue = (alarm: MonitorAlarm) =>
    now - Date.parse(alarm.since) >= holdMs(context.rules, flaps.get(alarm.fingerprint)?.length ?? 0);

  const take = (change: Change) => {
    if (change.type === 'drop') return;
    alarms.push(change.alarm);
    const { fingerprint } = change.alarm;
    if (change.type === 'clear') clear.push({ fingerprint, endTime: change.endTime });
    else if (change.raise) raise.push(fingerprint);
    if (change.type === 'keep' && change.isBack) back.push(fingerprint);
  };

  for (const known of before.alarms) {
    const found = byFingerprint.get(known.fingerprint);
    if (found === undefined) {
      take(afterHolding(known, context));
      continue;
    }
    byFingerprint.delete(known.fingerprint);
    const isNew = known.incident !== undefined && context.findOutcome(known.incident) === 'resolved';
    if (isNew || known.state === 'Clearing') noteFlap(known.fingerprint);
    take(isNew ? startEpisode(found, context, isDue) : keepFailing(known, found, context, isDue));
  }
  const fresh = [...byFingerprint.values()].sort((a, b) => (a.fingerprint < b.fingerprint ? -1 : 1));
  const room = Math.max(0, MAX_ALARMS - alarms.length);
  for (const found of fresh.slice(0, room)) take(startEpisode(found, context, isDue));
  return { next: { alarms, flaps }, raise, clear, back, omitted: Math.max(0, fresh.length - room) };
}

/** How long a check must fail before an Incident is opened, in ms: longer after recent flaps. */
export function holdMs(rules: AlarmContext['rules'], recentFlaps: number): number {
  return (rules.forSeconds + recentFlaps * rules.clearSeconds) * 1000;
}

function startEpisode(found: Failing, { now }: AlarmContext, isDue: (alarm: MonitorAlarm) => boolean): Change {
  const time = now.toISOString();
  const alarm: MonitorAlarm = {
    fingerprint: found.fingerprint,
    ...describeFailing(found),
    state: 'Pending',
    since: time,
    startTime: time,
    lastSeen: time,
    occurrences: 1,
    flaps: 0,
  };
  return isDue(alarm) ? { type: 'keep', alarm: { ...alarm, state: 'Firing' }, raise: true } : { type: 'keep', alarm };
}

function keepFailing(
  known: MonitorAlarm,
  found: Failing,
  { now, broken, findOutcome }: AlarmContext,
  isDue: (alarm: MonitorAlarm) => boolean,
): Change {
  const time = now.toISOString();
  const seen = { ...known, ...describeFailing(found), lastSeen: time, occurrences: known.occurrences + 1 };
  switch (known.state) {
    case 'Pending': {
      // After a gap, forSeconds count from the present failure: nothing is known about the gap.
      if (broken) return { type: 'keep', alarm: { ...seen, since: time, startTime: time } };
      return isDue(known)
        ? { type: 'keep', alarm: { ...seen, state: 'Firing', since: time }, raise: true }
        : { type: 'keep', alarm: seen };
    }
    case 'Clearing':
      return {
        type: 'keep',
        alarm: { ...seen, state: 'Firing', since: time, flaps: known.flaps + 1 },
        raise: needsIncident(known, findOutcome),
        isBack: true,
      };
    case 'Firing':
      return { type: 'keep', alarm: seen, raise: needsIncident(known, findOutcome) };
  }
}

const needsIncident = ({ incident }: MonitorAlarm, findOutcome: AlarmContext['findOutcome']): boolean =>
  incident === undefined || findOutcome(incident) === 'missing';

function afterHolding(known: MonitorAlarm, { rules, now, broken, findOutcome }: AlarmContext): Change {
  const time = now.toISOString();
  if (known.state === 'Pending') return { type: 'drop' };
  const isContinued = known.state === 'Clearing' && !broken;
  const alarm: MonitorAlarm = isContinued ? known : { ...known, state: 'Clearing', since: time };
  // The checks have already held for the whole soak.
  const isRepaired = known.incident !== undefined && findOutcome(known.incident) === 'resolved';
  const isOver = isRepaired || now.getTime() - Date.parse(alarm.since) >= rules.clearSeconds * 1000;
  return isOver ? { type: 'clear', alarm, endTime: alarm.since } : { type: 'keep', alarm };
}

function describeFailing(found: Failing): Pick<MonitorAlarm, 'labels' | 'value'> {
  return {
    ...(Object.keys(found.group).length === 0 ? {} : { labels: { ...found.group } }),
    ...(found.value === '' ? {} : { value: found.value }),
  };
}
