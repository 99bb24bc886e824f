// What one more word about an alarm means, given its last Incident: opened, counted, cleared, or old news. Pure.

import type { AlarmStatus } from '../../api/incident.ts';

/** The Incident of a fingerprint that counts: the open one, else the one whose episode began last. */
export interface KnownIncident {
  readonly name: string;
  /** When its episode began. */
  readonly startTime: string;
  /** Its end is decided: nothing can be added to it, and a new episode gets an Incident of its own. */
  readonly finished: boolean;
  readonly alarm: AlarmStatus | undefined;
}

export interface Sighting {
  readonly startTime: string;
  /** How often it was seen, when last, and how often it came back in between. */
  readonly count: number;
  readonly lastTime: string;
  readonly flaps: number;
}

/** `alarm` as it shall be: the very object that was known where nothing is to be written. */
export type Transition =
  | { readonly kind: 'opened' | 'counted' | 'back' | 'cleared'; readonly alarm: AlarmStatus }
  /** It was known already, or is over already. */
  | { readonly kind: 'stale'; readonly alarm: AlarmStatus | undefined };

const ms = (time: string): number => Date.parse(time);
const later = (a: string, b: string): string => (ms(a) >= ms(b) ? a : b);

const first = ({ startTime, count, lastTime, flaps }: Sighting): AlarmStatus => ({
  state: 'Firing',
  occurrences: count,
  firstSeen: startTime,
  lastSeen: lastTime,
  startTime,
  flaps,
});

/**
 * The alarm fires.
 * @param lastEnd the latest end that was told for the fingerprint while no Incident was there to hold it
 */
export function onFiring(known: KnownIncident | undefined, sighting: Sighting, lastEnd?: string): Transition {
  const { startTime, count, lastTime, flaps } = sighting;
  // Messages may overtake each other: an episode that is over when it is first heard of opens nothing.
  const overAlready = lastEnd !== undefined && ms(startTime) < ms(lastEnd);
  if (known === undefined) {
    return overAlready ? { kind: 'stale', alarm: undefined } : { kind: 'opened', alarm: first(sighting) };
  }
  const { alarm } = known;
  const reachesTo = later(known.startTime, alarm?.startTime ?? known.startTime);
  const isKnownEpisode = ms(startTime) <= ms(reachesTo);
  const clearedTime = alarm?.state === 'Cleared' ? alarm.clearedTime : undefined;
  const endedBefore = clearedTime !== undefined && ms(startTime) < ms(clearedTime);
  if (known.finished) {
    return isKnownEpisode || endedBefore || overAlready
      ? { kind: 'stale', alarm }
      : { kind: 'opened', alarm: first(sighting) };
  }
  if (alarm === undefined) {
    // Whoever opened it was interrupted before it could say so.
    return { kind: 'counted', alarm: { ...first(sighting), firstSeen: known.startTime, startTime: reachesTo } };
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
 * The alarm has ceased to fire.
 * @param untold what was seen of it since it was last raised
 */
export function onResolved(
  known: KnownIncident | undefined,
  endTime: string,
  untold?: Omit<Sighting, 'startTime'>,
): Transition {
  if (known === undefined) return { kind: 'stale', alarm: undefined };
  const { startTime } = known;
  const alarm = known.alarm ?? first({ startTime, count: 1, lastTime: startTime, flaps: 0 });
  // An end from before the present episode began belongs to an older one.
  if (ms(endTime) < ms(later(startTime, alarm.startTime ?? startTime))) return { kind: 'stale', alarm: known.alarm };
  if (alarm.state === 'Cleared' && alarm.clearedTime !== undefined) {
    if (ms(endTime) <= ms(alarm.clearedTime)) return { kind: 'stale', alarm: known.alarm };
    return { kind: 'stale', alarm: { ...alarm, clearedTime: endTime } };
  }
  const counted =
    untold === undefined
      ? {}
      : {
          occurrences: alarm.occurrences + untold.count,
          flaps: alarm.flaps + untold.flaps,
          lastSeen: later(alarm.lastSeen, untold.lastTime),
        };
  return { kind: 'cleared', alarm: { ...alarm, ...counted, state: 'Cleared', clearedTime: endTime } };
}
