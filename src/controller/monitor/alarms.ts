// The alarms of a Monitor from one look to the next: pending, firing, clearing, gone; flapping is damped. Pure.

import type { MonitorAlarm, MonitorSpec } from '../../api/monitor.ts';
import type { Failing } from './probe.ts';

/** What has become of the Incident of an alarm. */
export type IncidentOutcome =
  | 'open'
  /** The repair was verified, or the alarm cleared: what fails after that is new. */
  | 'resolved'
  /** Over without a repair: the alarm goes on, and nobody is sent again. */
  | 'ended'
  /** Somebody has deleted it, which asks for another try. */
  | 'missing';

export interface MonitorAlarms {
  readonly alarms: readonly MonitorAlarm[];
  /** When alarms came back lately, in epoch milliseconds, by fingerprint. */
  readonly flaps: ReadonlyMap<string, readonly number[]>;
}

export interface AlarmContext {
  readonly rules: Pick<MonitorSpec, 'forSeconds' | 'clearSeconds'>;
  /** Nobody could see, or nobody looked, since the look before: what has to last "without a break" starts again. */
  readonly broken: boolean;
  readonly outcomeOf: (incident: string) => IncidentOutcome;
  readonly now: Date;
}

export interface AlarmStep {
  readonly watch: MonitorAlarms;
  /** Fingerprints of alarms that need an Incident now. */
  readonly raise: readonly string[];
  /** Alarms that are over, with the time since which they hold. They stay in `watch` until that is told. */
  readonly clear: readonly { readonly fingerprint: string; readonly endTime: string }[];
  /** Fingerprints of alarms that came back before they had cleared. */
  readonly back: readonly string[];
  /** How many combinations of labels fail for which there is no room. */
  readonly omitted: number;
}

/** A flap counts for so long, in ms. */
const FLAP_MS = 10 * 60_000;
/** What the schema has room for. */
export const MAX_ALARMS = 64;

type Change =
  | { readonly type: 'keep'; readonly alarm: MonitorAlarm; readonly raise?: boolean; readonly isBack?: boolean }
  | { readonly type: 'drop' }
  | { readonly type: 'clear'; readonly alarm: MonitorAlarm; readonly endTime: string };

/** What follows from a look that saw something. */
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
      take(holding(known, context));
      continue;
    }
    byFingerprint.delete(known.fingerprint);
    const isNew = known.incident !== undefined && context.outcomeOf(known.incident) === 'resolved';
    if (isNew || known.state === 'Clearing') noteFlap(known.fingerprint);
    take(isNew ? failingAnew(found, context, isDue) : failingOn(known, found, context, isDue));
  }
  const fresh = [...byFingerprint.values()].sort((a, b) => (a.fingerprint < b.fingerprint ? -1 : 1));
  const room = Math.max(0, MAX_ALARMS - alarms.length);
  for (const found of fresh.slice(0, room)) take(failingAnew(found, context, isDue));
  return { watch: { alarms, flaps }, raise, clear, back, omitted: Math.max(0, fresh.length - room) };
}

/** How long an alarm must fail before an Incident is opened, in ms: whoever flapped lately has to prove more. */
export function holdMs(rules: AlarmContext['rules'], recentFlaps: number): number {
  return (rules.forSeconds + recentFlaps * rules.clearSeconds) * 1000;
}

function failingAnew(found: Failing, { now }: AlarmContext, isRipe: (alarm: MonitorAlarm) => boolean): Change {
  const time = now.toISOString();
  const alarm: MonitorAlarm = {
    fingerprint: found.fingerprint,
    ...about(found),
    state: 'Pending',
    since: time,
    startTime: time,
    lastSeen: time,
    occurrences: 1,
    flaps: 0,
  };
  return isRipe(alarm) ? { type: 'keep', alarm: { ...alarm, state: 'Firing' }, raise: true } : { type: 'keep', alarm };
}

function failingOn(
  known: MonitorAlarm,
  found: Failing,
  { now, broken, outcomeOf }: AlarmContext,
  isRipe: (alarm: MonitorAlarm) => boolean,
): Change {
  const time = now.toISOString();
  const seen = { ...known, ...about(found), lastSeen: time, occurrences: known.occurrences + 1 };
  switch (known.state) {
    case 'Pending': {
      // The hold begins with the first failure that is known to have lasted.
      if (broken) return { type: 'keep', alarm: { ...seen, since: time, startTime: time } };
      return isRipe(known)
        ? { type: 'keep', alarm: { ...seen, state: 'Firing', since: time }, raise: true }
        : { type: 'keep', alarm: seen };
    }
    case 'Clearing':
      return {
        type: 'keep',
        alarm: { ...seen, state: 'Firing', since: time, flaps: known.flaps + 1 },
        raise: needsIncident(known, outcomeOf),
        isBack: true,
      };
    case 'Firing':
      return { type: 'keep', alarm: seen, raise: needsIncident(known, outcomeOf) };
  }
}

const needsIncident = ({ incident }: MonitorAlarm, outcomeOf: AlarmContext['outcomeOf']): boolean =>
  incident === undefined || outcomeOf(incident) === 'missing';

function holding(known: MonitorAlarm, { rules, now, broken, outcomeOf }: AlarmContext): Change {
  const time = now.toISOString();
  if (known.state === 'Pending') return { type: 'drop' };
  const isContinued = known.state === 'Clearing' && !broken;
  const alarm: MonitorAlarm = isContinued ? known : { ...known, state: 'Clearing', since: time };
  // Checks have held for the whole soak already.
  const isRepaired = known.incident !== undefined && outcomeOf(known.incident) === 'resolved';
  const isOver = isRepaired || now.getTime() - Date.parse(alarm.since) >= rules.clearSeconds * 1000;
  return isOver ? { type: 'clear', alarm, endTime: alarm.since } : { type: 'keep', alarm };
}

function about(found: Failing): Pick<MonitorAlarm, 'labels' | 'value'> {
  return {
    ...(Object.keys(found.group).length === 0 ? {} : { labels: { ...found.group } }),
    ...(found.value === '' ? {} : { value: found.value }),
  };
}
