// The bytes of bodies that the gateway keeps in memory: one budget for all doors, with a share for
// each caller, so that one sandbox cannot use up the memory of all.

import { getHeapStatistics } from 'node:v8';
import { OverQuota, TooBusy } from '../errors.ts';

const MIB = 1024 * 1024;

/** In bytes. What is made of a body while it is read takes several times as much. */
export interface BodyMemoryLimits {
  /** All callers together. */
  readonly total: number;
  /** The requests of one caller together. */
  readonly share: number;
  /** One request of a caller that has no other in memory, such as an archive to copy. */
  readonly alone: number;
}

/**
 * Limits for a total in bytes; default: a quarter of the heap, at least 128 MiB. One caller can
 * never take more than a quarter of the total.
 */
export function bodyMemoryLimits(
  total = Math.max(128 * MIB, Math.floor(getHeapStatistics().heap_size_limit / 4)),
): BodyMemoryLimits {
  const alone = Math.floor(total / 4);
  return { total, share: Math.min(8 * MIB, alone), alone };
}

/** The bytes in use. */
export interface BodyMemoryUse {
  readonly request: number;
  /** All requests of the caller, this one included. */
  readonly caller: number;
  readonly total: number;
}

/** Decides whether a request may keep more bytes. Pure. */
export function decideGrowth(
  use: BodyMemoryUse,
  bytes: number,
  limits: BodyMemoryLimits,
): 'fits' | 'over-share' | 'full' {
  const share = use.caller === use.request ? limits.alone : limits.share;
  if (use.caller + bytes > share) return 'over-share';
  return use.total + bytes > limits.total ? 'full' : 'fits';
}

/** What one request keeps in memory. */
export interface MemoryHold {
  /**
   * Takes bytes before they are kept.
   * @throws OverQuota when the caller has no share left, TooBusy when all callers together have
   * none left
   */
  grow(bytes: number): void;
  /** The same, but returns whether they were available. */
  tryGrow(bytes: number): boolean;
  /** Gives everything back. May be called twice. */
  release(): void;
}

export class BodyMemory {
  readonly #limits: BodyMemoryLimits;
  readonly #callers = new Map<string, number>();
  #total = 0;

  constructor(limits: BodyMemoryLimits = bodyMemoryLimits()) {
    this.#limits = limits;
  }

  /** The bytes in use. */
  get total(): number {
    return this.#total;
  }

  /** Begins a request, which keeps nothing yet. */
  hold(caller: string): MemoryHold {
    let request = 0;
    const grow = (bytes: number) => {
      const ofCaller = this.#callers.get(caller) ?? 0;
      const decision = decideGrowth({ request, caller: ofCaller, total: this.#total }, bytes, this.#limits);
      if (decision !== 'fits') return decision;
      request += bytes;
      this.#change(caller, bytes);
      return decision;
    };
    return {
      tryGrow: (bytes) => grow(bytes) === 'fits',
      grow: (bytes) => {
        const decision = grow(bytes);
        if (decision === 'full') throw new TooBusy('the gateway has no memory left for this body; try again');
        if (decision === 'over-share') {
          throw new OverQuota(
            `the requests of this pod already keep ${this.#callers.get(caller) ?? 0} bytes in the gateway's memory, ` +
              `and at most ${this.#limits.share} are allowed; send fewer or smaller bodies at once`,
          );
        }
      },
      release: () => {
        this.#change(caller, -request);
        request = 0;
      },
    };
  }

  #change(caller: string, bytes: number): void {
    this.#total += bytes;
    const now = (this.#callers.get(caller) ?? 0) + bytes;
    if (now <= 0) this.#callers.delete(caller);
    else this.#callers.set(caller, now);
  }
}
