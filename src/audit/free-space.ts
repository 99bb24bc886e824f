// The reserve of the audit volume. Ordinary entries stop while some space is left, so that claims,
// outcomes and seals can still be written.

import { statfsSync, statSync } from 'node:fs';
import path from 'node:path';

const MIB = 1024 * 1024;

/** Ordinary entries continue when this much is free beyond the reserve. */
const MARGIN = 256 * 1024;

/** The space on the volume of the log, in bytes. */
export interface Space {
  readonly total: number;
  /** What new entries can use: free blocks and free pages of the file, without what is promised. */
  readonly free: number;
}

/**
 * Reads the space of the volume.
 * @param freePageBytes free pages in the file
 */
export function readSpace(file: string, freePageBytes: number): Space {
  const { blocks, bavail, bsize } = statfsSync(path.dirname(file));
  // A checkpoint copies the write-ahead log into the file while both exist.
  const promised = statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0;
  return { total: blocks * bsize, free: bavail * bsize + freePageBytes - promised };
}

/** The bytes that are free on the volume of a folder. */
export function readFreeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}

/** The bytes kept free for closing entries: a sixteenth of the volume, from 1 to 64 MiB. */
export function reserveBytes(total: number): number {
  return Math.min(64 * MIB, Math.max(MIB, Math.floor(total / 16)));
}

/** The bytes of a volume that ordinary entries may use. */
export function usableBytes(total: number): number {
  return Math.max(0, total - reserveBytes(total));
}

/** What can be written before the reserve is touched, in bytes. Negative if it is in use. */
export function room({ total, free }: Space): number {
  return free - reserveBytes(total);
}

/** An entry is written twice: to the write-ahead log, and from there to the file. */
function cost(bytes: number): number {
  return 2 * bytes;
}

/** How much of the room an entry takes, by how it is recorded. */
export type SpaceDecision =
  | { readonly record: 'whole' | 'without-text'; readonly left: number }
  /** `full` if not even small entries fit. */
  | { readonly record: 'nothing'; readonly full: boolean };

/** Decides how an ordinary entry is recorded. Large entries give way before small ones. Pure. */
export function decideSpace(
  left: number,
  entry: { readonly rowBytes: number; readonly textBytes: number },
): SpaceDecision {
  const whole = cost(entry.rowBytes + entry.textBytes);
  if (left - whole >= MARGIN) return { record: 'whole', left: left - whole };
  const row = cost(entry.rowBytes);
  if (entry.textBytes > 0 && left - row >= MARGIN) return { record: 'without-text', left: left - row };
  return { record: 'nothing', full: left < 2 * MARGIN };
}

/** Whether ordinary entries can be written again. Later than they stopped, so that doors do not flap. */
export function hasRoom(space: Space): boolean {
  return room(space) >= 4 * MARGIN;
}

/** Says that the volume is full, and what to do. */
export function describeFull({ total, free }: Space): string {
  const mib = (bytes: number) => (Math.max(0, bytes) / MIB).toFixed(1);
  return `the audit volume is full: ${mib(free)} of ${mib(total)} MiB are free, and ${mib(reserveBytes(total))} MiB are reserved for claims, outcomes and seals; enlarge the volume or prune the log`;
}
