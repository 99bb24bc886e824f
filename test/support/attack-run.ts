// One Incident in which an agent runs many attacks: what was printed, what was recorded, and what is
// in the cluster afterwards.

import * as z from 'zod';
import { type Entry, entry } from '../../src/audit/entry.ts';
import { oplab } from './live.ts';
import type { OperatorHarness } from './operator-harness.ts';
import { conclude, type Move, readToolResults, shell } from './scripted-model.ts';

const entryWithBlob = entry.extend({ blob: z.string().nullish() });
export type ShownEntry = Entry & { blob?: string | null | undefined };

/** Runs commands in the sandbox and returns what each of them printed. */
export type RunCommands = (commands: readonly string[]) => Promise<string[]>;

/** Commands in one turn of the model: more would make one huge request. */
const PER_TURN = 25;
const TURN_MS = 180_000;

/**
 * Opens an Incident and lets `attack` run commands in its sandbox. The Incident has finished when
 * this resolves.
 *
 * @param spec more fields of the Incident's spec
 */
export async function runAttacks(
  lab: OperatorHarness,
  name: string,
  attack: (run: RunCommands) => Promise<void>,
  spec: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  // The script of the model is asked for the next move; the attacks wait for the results of theirs.
  let answer: ((move: Move) => void) | undefined;
  let results: ((printed: string[]) => void) | undefined;
  const next: Move = async (request) => {
    results?.(readToolResults(request));
    const move = await new Promise<Move>((resolve) => {
      answer = resolve;
      ready?.();
    });
    return move(request);
  };
  let ready: (() => void) | undefined;
  const waiting = new Promise<void>((resolve) => {
    ready = resolve;
  });
  lab.model.play(...Array.from({ length: 50 }, () => next));
  await lab.open(name, { limits: { attempts: 1, timeoutSeconds: 600, maxTurns: 50 }, ...spec });
  await waiting;
  const turn = (move: Move) =>
    new Promise<string[]>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the agent of ${name} does not go on`)), TURN_MS);
      results = (printed) => {
        clearTimeout(timer);
        resolve(printed);
      };
      const give = answer;
      answer = undefined;
      give?.(move);
    });
  try {
    await attack(async (commands) => {
      const printed: string[] = [];
      for (let at = 0; at < commands.length; at += PER_TURN)
        printed.push(...(await turn(shell(...commands.slice(at, at + PER_TURN)))));
      return printed;
    });
  } finally {
    answer?.(conclude('cannot_fix'));
    await lab.finished(name, 120);
  }
}

/** The audit log of an Incident with its full texts. */
export async function fullTrail(namespace: string, name: string): Promise<ShownEntry[]> {
  const shown = await oplab('audit', 'show', name, '-n', namespace, '--full', '-o', 'json');
  if (shown.code !== 0) throw new Error(`oplab audit show failed (${shown.code}): ${shown.stderr}`);
  return z.object({ items: z.array(entryWithBlob) }).parse(JSON.parse(shown.stdout)).items;
}

/** The audit log as a person sees it. */
export async function shownTrail(namespace: string, name: string): Promise<string> {
  return (await oplab('audit', 'show', name, '-n', namespace, '--full')).stdout;
}
