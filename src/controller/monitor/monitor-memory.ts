// What the leader remembers about a Monitor between probes. Losing it never loses an Incident.

import type { MonitorStatus } from '../../api/monitor.ts';
import type { Refusal } from './acceptance.ts';

/** Occurrences that are not yet counted on the Incident. */
export interface Unreported {
  readonly count: number;
  readonly flaps: number;
  /** When occurrences were last reported, in epoch milliseconds. */
  readonly reportedAt: number;
}

/** When it is lost, recent flaps are forgotten and some statuses are written again. */
export interface MonitorMemory {
  readonly uid: string;
  status: MonitorStatus | undefined;
  /** Spec and class of the last round. When either changes, the next round is due at once. */
  version: string | undefined;
  refusal: Refusal | undefined;
  /** In epoch milliseconds; undefined until something changes. */
  nextProbeAt: number | undefined;
  /** The last successful probe, in epoch milliseconds; undefined after a failed one. */
  lastProbeAt: number | undefined;
  writtenAt: number;
  /** The version that the read bindings were created for, and when. */
  bound: { readonly version: string; readonly at: number } | undefined;
  flaps: ReadonlyMap<string, readonly number[]>;
  readonly unreported: Map<string, Unreported>;
  /** Why the last attempt to write an Incident failed. */
  problem: string | undefined;
}

export function emptyMemory(uid: string, status: MonitorStatus | undefined): MonitorMemory {
  return {
    uid,
    status,
    version: undefined,
    refusal: undefined,
    nextProbeAt: 0,
    lastProbeAt: lastProbeIn(status),
    writtenAt: 0,
    bound: undefined,
    flaps: new Map(),
    unreported: new Map(),
    problem: undefined,
  };
}

/** The time of the previous leader's last probe, if that probe was successful. */
function lastProbeIn(status: MonitorStatus | undefined): number | undefined {
  const { state, lastObservedTime } = status ?? {};
  const wasObserved = state === 'Healthy' || state === 'Pending' || state === 'Firing';
  return wasObserved && lastObservedTime !== undefined ? Date.parse(lastObservedTime) : undefined;
}
