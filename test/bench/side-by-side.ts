// Runs commands in turns and compares how long they take.

import { spawnSync } from 'node:child_process';

/** A command line that is measured as a whole process, from its start to its end. */
export interface Candidate {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
}

export interface Measurement {
  readonly name: string;
  /** Milliseconds, in the order of the rounds. */
  readonly times: readonly number[];
}

/** The value below which lie so many of the values, as a share of 1. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/**
 * How much longer one command takes than another: the median of the ratios within each round. The load
 * of the machine changes from round to round and weighs on both.
 */
export function ratio(measured: Measurement, yardstick: Measurement): number {
  return median(measured.times.map((time, round) => time / (yardstick.times[round] ?? Number.NaN)));
}

/**
 * Runs each command once in each round, and each round begins with another one. A first round, which
 * fills caches, does not count.
 * @throws Error for a command that fails
 */
export function measure(
  candidates: readonly Candidate[],
  rounds: number,
  options: { readonly env: NodeJS.ProcessEnv; readonly signal: AbortSignal },
): Measurement[] {
  const results = candidates.map(({ name }) => ({ name, times: [] as number[] }));
  for (let round = -1; round < rounds; round += 1) {
    for (let turn = 0; turn < candidates.length; turn += 1) {
      options.signal.throwIfAborted();
      const index = (turn + Math.max(0, round)) % candidates.length;
      const candidate = candidates[index];
      if (candidate === undefined) continue;
      const started = performance.now();
      const { command, args } = candidate;
      const { status, stderr, error } = spawnSync(command, args, { env: options.env, encoding: 'utf8' });
      const time = performance.now() - started;
      if (status !== 0) throw new Error(`${candidate.name} failed: ${error?.message ?? stderr}`, { cause: error });
      if (round >= 0) results[index]?.times.push(time);
    }
  }
  return results;
}
