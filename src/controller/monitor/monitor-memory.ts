// What the leader remembers of a Monitor between looks. Losing it costs some writes and forgets recent flaps, never an Incident.

import type { MonitorStatus } from '../../api/monitor.ts';
import type { Refusal } from './acceptance.ts';

/** Sightings that are not told to the Incident yet. */
export interface Unreported {
  readonly count: number;
  readonly flaps: number;
  /** When they were told last, in epoch milliseconds. */
  readonly reportedAt: number;
}

export interface MonitorMemory {
  readonly uid: string;
  status: MonitorStatus | undefined;
  /** What the last round was made for: spec and class. Another one is looked at, at once. */
  version: string | undefined;
  refusal: Refusal | undefined;
  /** Epoch milliseconds; undefined: not before something changes. */
  nextLookAt: number | undefined;
  lastLookAt: number | undefined;
  writtenAt: number;
  /** For which version the rights were bound, and when. */
  rights: { readonly version: string; readonly at: number } | undefined;
  flaps: ReadonlyMap<string, readonly number[]>;
  readonly unreported: Map<string, Unreported>;
  /** Why the last try to open an Incident failed. */
  problem: string | undefined;
}

export function emptyMemory(uid: string, status: MonitorStatus | undefined): MonitorMemory {
  return {
    uid,
    status,
    version: undefined,
    refusal: undefined,
    nextLookAt: 0,
    lastLookAt: lastSeenIn(status),
    writtenAt: 0,
    rights: undefined,
    flaps: new Map(),
    unreported: new Map(),
    problem: undefined,
  };
}

/** When the last leader saw something, if it saw something when it looked last. */
function lastSeenIn(status: MonitorStatus | undefined): number | undefined {
  const { state, lastObservedTime } = status ?? {};
  const couldSee = state === 'Healthy' || state === 'Pending' || state === 'Firing';
  return couldSee && lastObservedTime !== undefined ? Date.parse(lastObservedTime) : undefined;
}
