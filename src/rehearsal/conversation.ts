// The conversation as the rules see it: only the commands that were run and their actual output,
// not the system prompt or the Incident's text.

import * as z from 'zod';
import { type Block, listBlocks, type Message } from '../messages-double/request.ts';

/** A command and its result. */
export interface Step {
  readonly command: string;
  /** What it was said to be for. */
  readonly purpose: string;
  /** The rule that requested it. */
  readonly rule: string;
  /** The number of changes made up to its result, including its own. */
  readonly state: number;
  /** Undefined if the result does not have the expected form. */
  readonly exit: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

type ToolUse = Extract<Block, { type: 'tool_use' }>;
type ToolResult = Extract<Block, { type: 'tool_result' }>;

const ID_PREFIX = 'toolu_rehearsal_';

/** The id of a call. It contains the rule's name, so that the server needs no memory. */
export function callId(count: number, rule: string): string {
  return `${ID_PREFIX}${count}_${rule}`;
}

const parseRuleName = (id: string) => /^toolu_rehearsal_\d+_([a-z0-9-]+)$/.exec(id)?.[1] ?? '';

const isToolUse = (block: Block): block is ToolUse => block.type === 'tool_use';
const isToolResult = (block: Block): block is ToolResult => block.type === 'tool_result';

function joinText(content: ToolResult['content']): string {
  if (content === undefined || typeof content === 'string') return content ?? '';
  return content.map(({ text }) => text).join('\n');
}

/** Parses the agent's result text: its first line, stdout and stderr. */
export function parseResult(text: string): Pick<Step, 'exit' | 'stdout' | 'stderr'> {
  const exit = /^exit code (\d+) after /.exec(text)?.[1];
  if (exit === undefined) return { exit: undefined, stdout: text, stderr: '' };
  const stderrAt = text.lastIndexOf('\n--- stderr ---\n');
  const stderr = stderrAt < 0 ? '' : text.slice(stderrAt + '\n--- stderr ---\n'.length);
  const head = stderrAt < 0 ? text : text.slice(0, stderrAt);
  const stdoutAt = head.indexOf('\n--- stdout ---\n');
  return { exit: Number(exit), stdout: stdoutAt < 0 ? '' : head.slice(stdoutAt + '\n--- stdout ---\n'.length), stderr };
}

/** The steps in order. `isChange` tells whether a rule changes something. */
export function parseSteps(messages: readonly Message[], isChange: (rule: string) => boolean): Step[] {
  const blocks = messages.flatMap(listBlocks);
  const results = new Map(blocks.filter(isToolResult).map((block) => [block.tool_use_id, joinText(block.content)]));
  let state = 0;
  return blocks.filter(isToolUse).flatMap((call): Step[] => {
    const result = results.get(call.id);
    const input = z.looseObject({ command: z.string(), purpose: z.string().default('') }).safeParse(call.input);
    if (result === undefined || !input.success) return [];
    const rule = parseRuleName(call.id);
    if (isChange(rule)) state++;
    return [{ command: input.data.command, purpose: input.data.purpose, rule, state, ...parseResult(result) }];
  });
}

/** The number of calls that the assistant has made, with or without results. */
export function countCalls(messages: readonly Message[]): number {
  return messages.flatMap(listBlocks).filter(isToolUse).length;
}
