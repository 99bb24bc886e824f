// What earlier attempts ran, wrote and claimed, and what came of it, for the agent of the next one. The
// log has it redacted, and so does the task.

import * as z from 'zod';
import { truncate } from '../../../api/truncate.ts';
import { withoutControls, withVisibleEscapes } from '../../../audit/controls.ts';
import type { Entry } from '../../../audit/entry.ts';
import { callParams, resultParams, summaryParams } from '../../../audit/entry-params.ts';
import type { AuditLog } from '../../../audit/log.ts';
import { readChange } from '../../changes.ts';
import { CLAIM_EVENT, CLAIM_TEXT } from './conclude.ts';

/** The last commands of each attempt, and how much of each is told, in characters. */
const MAX_COMMANDS = 30;
const MAX_COMMAND = 300;
const MAX_RESULT = 200;
const MAX_WRITES = 40;

interface Command {
  readonly text: string;
  readonly key: string;
  result?: Entry;
  summary?: string;
}

interface Write {
  readonly seq: number;
  readonly text: string;
  answer: string;
}

interface Found {
  commands: Command[];
  writes: Write[];
  claim: string | undefined;
}

/** What the log knows of one attempt, oldest first. */
export interface EarlierAttempt {
  /** Each with what came of it. */
  readonly commands: readonly string[];
  /** Each with its answer. */
  readonly writes: readonly string[];
  readonly claim: string | undefined;
}

const outcomeParams = z.looseObject({ intentSeq: z.number().int(), status: z.number().int().nullable() });
const claimParams = z.looseObject({ event: z.literal(CLAIM_EVENT), rootCause: z.string().default('') });
const PAGE = 1000;

/** The attempts before one, by number. @throws AuditUnavailable */
export async function readEarlierAttempts(
  log: Pick<AuditLog, 'read'>,
  session: string,
  attempt: number,
): Promise<Map<number, EarlierAttempt>> {
  const found = new Map<number, Found>();
  for (let afterSeq = 0; attempt > 1; ) {
    const page = await log.read(session, { afterSeq, limit: PAGE });
    for (const entry of page) {
      if (entry.attempt < 1 || entry.attempt >= attempt) continue;
      const one = found.get(entry.attempt) ?? { commands: [], writes: [], claim: undefined };
      found.set(entry.attempt, one);
      if (entry.writer === 'agent') addCommand(one, entry);
      if (entry.writer === 'gateway') addWrite(one, entry);
    }
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE) break;
    afterSeq = last.seq;
  }
  return new Map(
    [...found].map(([number, { commands, writes, claim }]) => [
      number,
      {
        commands: commands.map(describe),
        writes: writes.map(({ text, answer }) => `${oneLine(text, MAX_COMMAND)}: ${answer}`),
        claim,
      },
    ]),
  );
}

function addCommand(one: Found, entry: Entry): void {
  if (entry.kind === 'tool_call') {
    const call = callParams.safeParse(entry.params).data;
    if (call !== undefined) one.commands.push({ text: call.command, key: entry.clientKey });
    one.commands = one.commands.slice(-MAX_COMMANDS);
    return;
  }
  const key = entry.kind === 'tool_result' ? resultParams.safeParse(entry.params).data?.call : undefined;
  const command = one.commands.findLast((candidate) => candidate.key === key);
  if (command !== undefined) command.result = entry;
  const of = entry.kind === 'lifecycle' ? summaryParams.safeParse(entry.params).data?.result : undefined;
  const summarized = of === undefined ? undefined : one.commands.findLast(({ result }) => result?.seq === of);
  if (summarized !== undefined) summarized.summary = entry.content;
}

function addWrite(one: Found, entry: Entry): void {
  const change = readChange(entry);
  if (change !== undefined) {
    one.writes.push({ seq: change.seq, text: change.text, answer: 'no answer on record' });
    one.writes = one.writes.slice(-MAX_WRITES);
    return;
  }
  if (entry.kind === 'lifecycle') {
    const claim = claimParams.safeParse(entry.params).data;
    if (claim !== undefined) one.claim = `${entry.content.slice(CLAIM_TEXT.length)}\nroot cause: ${claim.rootCause}`;
  }
  if (entry.kind !== 'kube_outcome' && entry.kind !== 'docker_outcome') return;
  const outcome = outcomeParams.safeParse(entry.params).data;
  const write = one.writes.findLast(({ seq }) => seq === outcome?.intentSeq);
  if (write !== undefined && outcome !== undefined) write.answer = String(outcome.status ?? 'no answer');
}

function oneLine(words: string, most: number): string {
  return truncate(withoutControls(withVisibleEscapes(words)).replaceAll(/\s+/g, ' ').trim(), most, ' [cut]');
}

function describe({ text, result, summary }: Command): string {
  const command = `$ ${oneLine(text, MAX_COMMAND)}`;
  if (result === undefined) return `${command}\n  no result on record: its outcome is not known`;
  const exit = result.exitCode === null ? '' : `exit code ${result.exitCode}: `;
  return `${command}\n  ${exit}${oneLine(summary ?? result.content, MAX_RESULT)}`;
}
