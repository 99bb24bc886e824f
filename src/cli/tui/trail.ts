// The trail of the displayed session: its entries in order, and the live output of its commands.

import type { Entry } from '../../audit/entry.ts';
import { costParams, resultParams } from '../../audit/entry-params.ts';
import type { LiveChunk } from '../../gateway/protocol.ts';
import type { FollowEvent, Waiting } from '../reader/audit-reader.ts';

/** The number of entries kept for display; `oplab audit show` has all of them. */
const MAX_ENTRIES = 2000;
/** The number of live output lines kept for each command. */
const MAX_LIVE_LINES = 300;

/** The output of a command so far. */
export interface LiveText {
  readonly lines: readonly string[];
  /** An unfinished line. */
  readonly partial: string;
  /** The number of earlier lines that were dropped. */
  readonly earlier: number;
}

export interface Trail {
  readonly session: string;
  readonly entries: readonly Entry[];
  /** The number of earlier entries that were dropped. */
  readonly earlier: number;
  /** By the key of the call. */
  readonly live: ReadonlyMap<string, LiveText>;
  /** The keys of calls that have a result. */
  readonly answered: ReadonlySet<string>;
  /** The cost of all recorded model calls, in millionths of a US dollar. */
  readonly costMicroUSD: number;
  readonly sealed: boolean;
  /** Why no events arrive at the moment; undefined while the stream is open. */
  readonly waiting: Waiting | undefined;
}

export function emptyTrail(session: string): Trail {
  return {
    session,
    entries: [],
    earlier: 0,
    live: new Map(),
    answered: new Set(),
    costMicroUSD: 0,
    sealed: false,
    waiting: undefined,
  };
}

/** The trail after one more event of its stream. */
export function grow(trail: Trail, event: FollowEvent): Trail {
  switch (event.type) {
    case 'waiting':
      return { ...trail, waiting: { reason: event.reason, code: event.code } };
    case 'sealed':
      return { ...trail, sealed: true, waiting: undefined };
    case 'live': {
      const live = new Map(trail.live);
      live.set(event.chunk.callKey, printed(live.get(event.chunk.callKey), event.chunk));
      return { ...trail, live, waiting: undefined };
    }
    case 'entry':
      return withEntry(trail, event.entry);
  }
}

function withEntry(trail: Trail, entry: Entry): Trail {
  // A restarted stream may repeat entries.
  const last = trail.entries.at(-1);
  if (last !== undefined && entry.seq <= last.seq) return { ...trail, waiting: undefined };
  const entries = [...trail.entries, entry];
  const dropped = Math.max(0, entries.length - MAX_ENTRIES);
  const next: Trail = {
    ...trail,
    entries: dropped === 0 ? entries : entries.slice(dropped),
    earlier: trail.earlier + dropped,
    waiting: undefined,
  };
  if (entry.kind === 'tool_result') {
    const call = resultParams.safeParse(entry.params).data?.call;
    if (call !== undefined) return { ...next, answered: new Set(trail.answered).add(call) };
  }
  if (entry.kind === 'model_call') {
    const call = costParams.safeParse(entry.params);
    if (call.success) return { ...next, costMicroUSD: trail.costMicroUSD + call.data.costMicroUSD };
  }
  return next;
}

/** Output with one more chunk. A carriage return overwrites the line, as progress bars do. */
function printed(before: LiveText | undefined, { text }: LiveChunk): LiveText {
  const all = ((before?.partial ?? '') + text).replaceAll('\r\n', '\n').split('\n');
  const partial = all.pop() ?? '';
  const shown = (line: string) => line.slice(line.lastIndexOf('\r', line.length - 2) + 1);
  const lines = [...(before?.lines ?? []), ...all.map(shown)];
  const dropped = Math.max(0, lines.length - MAX_LIVE_LINES);
  return { lines: lines.slice(dropped), partial: shown(partial), earlier: (before?.earlier ?? 0) + dropped };
}
