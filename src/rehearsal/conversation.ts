// The conversation as the rules see it: only the commands that were run and their actual output,
// not the system prompt or the Incident's text.

import * as z from 'zod';

const textBlock = z.looseObject({ type: z.literal('text'), text: z.string() });
const toolUse = z.looseObject({ type: z.literal('tool_use'), id: z.string(), name: z.string(), input: z.unknown() });
const toolResult = z.looseObject({
  type: z.literal('tool_result'),
  tool_use_id: z.string(),
  content: z.union([z.string(), z.array(z.union([textBlock, z.looseObject({ type: z.string() })]))]).optional(),
});
export const contentBlock = z.union([textBlock, toolUse, toolResult, z.looseObject({ type: z.string() })]);

export const messageParam = z.object({
  role: z.enum(['user', 'assistant']),
  content: z.union([z.string(), z.array(contentBlock).min(1)]),
});
export type MessageParam = z.infer<typeof messageParam>;
type Block = z.infer<typeof contentBlock>;

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

const ID_PREFIX = 'toolu_rehearsal_';

/** The id of a call. It contains the rule's name, so that the server needs no memory. */
export function callId(count: number, rule: string): string {
  return `${ID_PREFIX}${count}_${rule}`;
}

const parseRuleName = (id: string) => /^toolu_rehearsal_\d+_([a-z0-9-]+)$/.exec(id)?.[1] ?? '';

const isToolUse = (block: Block): block is z.infer<typeof toolUse> => toolUse.safeParse(block).success;
const isToolResult = (block: Block): block is z.infer<typeof toolResult> => toolResult.safeParse(block).success;

/** The blocks of a message. A plain string becomes one text block. */
export function listBlocks(message: MessageParam): Block[] {
  return typeof message.content === 'string' ? [{ type: 'text', text: message.content }] : message.content;
}

function joinText(content: z.infer<typeof toolResult>['content']): string {
  if (content === undefined || typeof content === 'string') return content ?? '';
  return content.flatMap((block) => textBlock.safeParse(block).data?.text ?? []).join('\n');
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
export function parseSteps(messages: readonly MessageParam[], isChange: (rule: string) => boolean): Step[] {
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
export function countCalls(messages: readonly MessageParam[]): number {
  return messages.flatMap(listBlocks).filter(isToolUse).length;
}

/**
 * What the Messages API would reject: calls without results in the next message, results without
 * calls, empty texts. Undefined if the conversation is well formed.
 */
export function faultIn(messages: readonly MessageParam[]): string | undefined {
  if (messages[0]?.role !== 'user') return 'messages.0: the first message must have role user';
  if (messages.at(-1)?.role !== 'user') return 'messages: the conversation must end with a user message';
  for (const [index, message] of messages.entries()) {
    const blocks = listBlocks(message);
    if (blocks.some((block) => textBlock.safeParse(block).data?.text.trim() === '')) {
      return `messages.${index}: text content blocks must be non-empty`;
    }
    const previous = messages[index - 1];
    const asked =
      previous?.role === 'assistant'
        ? listBlocks(previous)
            .filter(isToolUse)
            .map((block) => block.id)
        : [];
    const answered = blocks.filter(isToolResult).map((block) => block.tool_use_id);
    const missing = asked.filter((id) => !answered.includes(id));
    if (missing.length > 0)
      return `messages.${index}: tool_use ids without tool_result blocks immediately after: ${missing.join(', ')}`;
    const stray = answered.filter((id) => !asked.includes(id));
    if (stray.length > 0)
      return `messages.${index}: tool_result blocks without a tool_use in the previous message: ${stray.join(', ')}`;
  }
  return undefined;
}
