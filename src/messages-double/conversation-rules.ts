// The rules for a conversation: its order, its blocks, its calls and their results, and its thinking.
//
// Each rule returns the error of the API. The texts are the API's own where public reports have them.

import { type APIError, invalid } from './api-error.ts';
import { isThinking, type ModelRules } from './model-rules.ts';
import { messageBlocks } from './prompt.ts';
import { type Block, listBlocks, type MessagesRequest } from './request.ts';
import { checkSignature } from './signature.ts';

type Rule = (request: MessagesRequest, model: ModelRules, account: string | undefined) => APIError | undefined;

const order: Rule = ({ messages }, { isOlder }) => {
  const [first] = messages;
  if (first === undefined) return invalid('messages: at least one message is required');
  if (first.role !== 'user') return invalid('messages: first message must use the "user" role');
  if (messages.at(-1)?.role === 'user' || isOlder) return undefined;
  return invalid(
    'This model does not support assistant message prefill. The conversation must end with a user message.',
  );
};

function* texts({ messages, system }: MessagesRequest): Generator<{ at: string; text: string; isMarked: boolean }> {
  const lines = typeof system === 'string' ? [] : (system ?? []);
  const isMarked = (block: { readonly cache_control?: unknown }) => Boolean(block.cache_control);
  for (const line of lines) yield { at: 'system', text: line.text, isMarked: isMarked(line) };
  for (const message of messages) {
    for (const block of listBlocks(message)) {
      if (block.type === 'text') yield { at: 'messages', text: block.text, isMarked: isMarked(block) };
      if (block.type !== 'tool_result' || !Array.isArray(block.content)) continue;
      for (const inner of block.content) yield { at: 'messages', text: inner.text, isMarked: isMarked(inner) };
    }
  }
}

const emptiness: Rule = (request) => {
  for (const [index, message] of request.messages.entries()) {
    const isFinal = index === request.messages.length - 1 && message.role === 'assistant';
    if (message.content.length === 0 && !isFinal) {
      return invalid(
        `messages.${index}: all messages must have non-empty content except for the optional final assistant message`,
      );
    }
  }
  for (const { at, text, isMarked } of texts(request)) {
    if (text === '' && isMarked) return invalid(`${at}: cache_control cannot be set for empty text blocks`);
    if (text === '') return invalid(`${at}: text content blocks must be non-empty`);
    if (text.trim() === '') return invalid(`${at}: text content blocks must contain non-whitespace text`);
  }
  return undefined;
};

/** Which blocks a role has. */
const KINDS: Readonly<Record<'user' | 'assistant', readonly Block['type'][]>> = {
  user: ['text', 'tool_result'],
  assistant: ['text', 'thinking', 'redacted_thinking', 'tool_use'],
};

const kinds: Rule = ({ messages }) => {
  for (const [index, message] of messages.entries()) {
    for (const [inner, { type }] of listBlocks(message).entries()) {
      if (KINDS[message.role].includes(type)) continue;
      return invalid(
        `messages.${index}.content.${inner}: \`${type}\` blocks can only be in \`${message.role === 'user' ? 'assistant' : 'user'}\` messages`,
      );
    }
  }
  return undefined;
};

/** A turn: what follows each other in one role is one to the API. */
interface Turn {
  readonly role: 'user' | 'assistant';
  /** The index of its first message. */
  readonly at: number;
  readonly blocks: { readonly at: string; readonly block: Block }[];
}

function listTurns({ messages }: MessagesRequest): Turn[] {
  const turns: Turn[] = [];
  for (const [index, message] of messages.entries()) {
    const blocks = listBlocks(message).map((block, inner) => ({ at: `messages.${index}.content.${inner}`, block }));
    const last = turns.at(-1);
    if (last?.role === message.role) last.blocks.push(...blocks);
    else turns.push({ role: message.role, at: index, blocks });
  }
  return turns;
}

const calls: Rule = (request) => {
  const known = new Set<string>();
  const turns = listTurns(request);
  for (const [index, turn] of turns.entries()) {
    if (turn.role === 'user') {
      const problem = strayResult(turn, turns[index - 1]);
      if (problem !== undefined) return problem;
      continue;
    }
    const asked: string[] = [];
    for (const { at, block } of turn.blocks) {
      if (block.type !== 'tool_use') continue;
      if (known.has(block.id)) return invalid(`${at}: \`tool_use\` ids must be unique`);
      known.add(block.id);
      asked.push(block.id);
    }
    // Only the results in front of anything else count.
    const next = turns[index + 1]?.blocks ?? [];
    const other = next.findIndex(({ block }) => block.type !== 'tool_result');
    const results = (other < 0 ? next : next.slice(0, other)).map(({ block }) =>
      block.type === 'tool_result' ? block.tool_use_id : '',
    );
    const missing = asked.filter((id) => !results.includes(id));
    if (missing.length > 0) {
      return invalid(
        `messages.${turn.at}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after: ${missing.join(', ')}. ` +
          'Each `tool_use` block must have a corresponding `tool_result` block in the next message.',
      );
    }
  }
  return undefined;
};

function strayResult(turn: Turn, previous: Turn | undefined): APIError | undefined {
  const asked = new Set(previous?.blocks.flatMap(({ block }) => (block.type === 'tool_use' ? [block.id] : [])));
  const answered = new Set<string>();
  for (const { at, block } of turn.blocks) {
    if (block.type !== 'tool_result') continue;
    const { tool_use_id: id } = block;
    if (!asked.has(id)) {
      return invalid(
        `${at}: unexpected \`tool_use_id\` found in \`tool_result\` blocks: ${id}. ` +
          'Each `tool_result` block must have a corresponding `tool_use` block in the previous message.',
      );
    }
    if (answered.has(id)) {
      return invalid(
        `${at}: each tool_use must have a single result. Found multiple \`tool_result\` blocks with id: ${id}`,
      );
    }
    answered.add(id);
  }
  return undefined;
}

const isThought = (block: Block | undefined) => block?.type === 'thinking' || block?.type === 'redacted_thinking';

const thoughtOrder: Rule = (request, model) => {
  const turns = listTurns(request).filter(({ role }) => role === 'assistant');
  for (const turn of turns) {
    const last = turn.blocks.at(-1)?.block;
    if (last !== undefined && isThought(last)) {
      return invalid(`messages.${turn.at}: The final block in an assistant message cannot be \`${last.type}\`.`);
    }
  }
  const latest = turns.at(-1);
  if (latest === undefined) return undefined;
  const thought = latest.blocks.find(({ block }) => isThought(block));
  if (thought !== undefined && !isThinking(model, request.thinking)) {
    return invalid(
      `${thought.at}: When thinking is disabled, an \`assistant\` message in the final position cannot contain \`thinking\`. ` +
        'To use thinking blocks, enable `thinking` in your request.',
    );
  }
  const [first] = latest.blocks;
  const hasCall = latest.blocks.some(({ block }) => block.type === 'tool_use');
  if (request.thinking?.type === 'enabled' && hasCall && first !== undefined && !isThought(first.block)) {
    return invalid(
      `${first.at}.type: Expected \`thinking\` or \`redacted_thinking\`, but found \`${first.block.type}\`. ` +
        'When `thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks).',
    );
  }
  return undefined;
};

const signatures: Rule = (request, _model, account) => {
  if (account === undefined) return undefined;
  const blocks = messageBlocks(request);
  const latest = request.messages.findLastIndex(({ role }) => role === 'assistant');
  for (const [index, { at, block }] of blocks.entries()) {
    if (block?.type !== 'thinking' && block?.type !== 'redacted_thinking') continue;
    const isOpen = block.type === 'thinking';
    const before = blocks.slice(0, index);
    const signed = {
      account,
      model: request.model,
      thought: isOpen ? block.thinking : '',
      before: before.map(({ digest }) => digest),
    };
    const found = checkSignature(isOpen ? block.signature : block.data, signed);
    if (found === 'valid') continue;
    const field = isOpen ? '`signature`' : '`data`';
    if (typeof found === 'number') {
      const first = before[found]?.at ?? at;
      return invalid(
        `${at}: Invalid ${field} in \`${block.type}\` block. The block is bound to a different conversation. Remove the block, or set ` +
          '`thinking.block_binding.prefix_mismatch_behavior` to "drop_block". Content before this block differs from when it was created, ' +
          `first at \`${first}\`.`,
      );
    }
    return invalid(
      at.startsWith(`messages.${latest}.`)
        ? `${at}: \`thinking\` or \`redacted_thinking\` blocks in the latest assistant message cannot be modified. These blocks must remain as they were in the original response.`
        : `${at}: Invalid ${field} in \`${block.type}\` block`,
    );
  }
  return undefined;
};

/** In the order in which they are applied. */
export const CONVERSATION_RULES: readonly Rule[] = [order, emptiness, kinds, calls, thoughtOrder, signatures];
