// Runs commands alternately and compares how long they take.

import { spawnSync } from 'node:child_process';

/** A command that is measured as a whole process, from its start to its end. */
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

/** The quantile of the values. @param share from 0 to 1 */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/**
 * How many times as long one command takes as another: the median of the ratios of all rounds. The
 * load of the machine changes between rounds and slows both commands of a round.
 */
export function ratio(measured: Measurement, yardstick: Measurement): number {
  return median(measured.times.map((time, round) => time / (yardstick.times[round] ?? Number.NaN)));
}

/**
 * Runs each command once per round; each round begins with a different command. The first round,
 * which fills caches, does not count.
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
