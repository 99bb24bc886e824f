// Decides what a new report about an alarm means for its current Incident. Pure.

import type { AlarmStatus } from '../../api/incident-status.ts';

/** The current Incident of a fingerprint: the open one, or else the one with the latest episode. */
export interface KnownIncident {
  readonly name: string;
  /** When its episode began. */
  readonly startTime: string;
  /**
   * Whether its end is decided: then it takes no reports, and a new episode gets a new Incident.
   */
  readonly finished: boolean;
  readonly alarm: AlarmStatus | undefined;
}

export interface FiringReport {
  readonly startTime: string;
  /** How often it was seen, when it was last seen, and how often it came back in between. */
  readonly count: number;
  readonly lastTime: string;
  readonly flaps: number;
}

/** `alarm` is the new value. It is the identical known object when nothing needs to be written. */
export type Transition =
  | { readonly kind: 'opened' | 'counted' | 'back' | 'cleared'; readonly alarm: AlarmStatus }
  /** The report is old: its episode or end is already known. */
  | { readonly kind: 'stale'; readonly alarm: AlarmStatus | undefined };

const ms = (time: string): number => Date.parse(time);
const later = (a: string, b: string): string => (ms(a) >= ms(b) ? a : b);

const firstStatus = ({ startTime, count, lastTime, flaps }: FiringReport): AlarmStatus => ({
  state: 'Firing',
  occurrences: count,
  firstSeen: startTime,
  lastSeen: lastTime,
  startTime,
  flaps,
});

/**
 * Handles a report that the alarm fires.
 * @param lastEnd the latest end that was reported while no open Incident could record it
 */
export function onFiring(known: KnownIncident | undefined, report: FiringReport, lastEnd?: string): Transition {
  const { startTime, count, lastTime, flaps } = report;
  // Reports may arrive out of order: an episode whose end arrived first opens nothing.
  const overAlready = lastEnd !== undefined && ms(startTime) < ms(lastEnd);
  if (known === undefined) {
    return overAlready ? { kind: 'stale', alarm: undefined } : { kind: 'opened', alarm: firstStatus(report) };
  }
  const { alarm } = known;
  const reachesTo = later(known.startTime, alarm?.startTime ?? known.startTime);
  const isKnownEpisode = ms(startTime) <= ms(reachesTo);
  const clearedTime = alarm?.state === 'Cleared' ? alarm.clearedTime : undefined;
  const endedBefore = clearedTime !== undefined && ms(startTime) < ms(clearedTime);
  if (known.finished) {
    return isKnownEpisode || endedBefore || overAlready
      ? { kind: 'stale', alarm }
      : { kind: 'opened', alarm: firstStatus(report) };
  }
  if (alarm === undefined) {
    // The replica that opened it was interrupted before it wrote the status.
    return { kind: 'counted', alarm: { ...firstStatus(report), firstSeen: known.startTime, startTime: reachesTo } };
  }
  const seen = {
    occurrences: alarm.occurrences + count,
    lastSeen: later(alarm.lastSeen, lastTime),
    startTime: later(reachesTo, startTime),
  };
  if (clearedTime === undefined) {
    return { kind: 'counted', alarm: { ...alarm, ...seen, flaps: alarm.flaps + flaps } };
  }
  if (isKnownEpisode || endedBefore) return { kind: 'stale', alarm };
  const { clearedTime: _over, ...rest } = alarm;
  return { kind: 'back', alarm: { ...rest, ...seen, state: 'Firing', flaps: alarm.flaps + flaps + 1 } };
}

/**
 * Handles a report that the alarm has stopped firing.
 * @param unreported what was seen of it since it was last raised
 */
export function onResolved(
  known: KnownIncident | undefined,
  endTime: string,
  unreported?: Omit<FiringReport, 'startTime'>,
): Transition {
  if (known === undefined) return { kind: 'stale', alarm: undefined };
  const { startTime } = known;
  const alarm = known.alarm ?? firstStatus({ startTime, count: 1, lastTime: startTime, flaps: 0 });
  // An end before the start of the current episode belongs to an earlier one.
  if (ms(endTime) < ms(later(startTime, alarm.startTime ?? startTime))) return { kind: 'stale', alarm: known.alarm };
  if (alarm.state === 'Cleared' && alarm.clearedTime !== undefined) {
    if (ms(endTime) <= ms(alarm.clearedTime)) return { kind: 'stale', alarm: known.alarm };
    return { kind: 'stale', alarm: { ...alarm, clearedTime: endTime } };
  }
  const counted =
    unreported === undefined
      ? {}
      : {
          occurrences: alarm.occurrences + unreported.count,
          flaps: alarm.flaps + unreported.flaps,
          lastSeen: later(alarm.lastSeen, unreported.lastTime),
        };
  return { kind: 'cleared', alarm: { ...alarm, ...counted, state: 'Cleared', clearedTime: endTime } };
}
