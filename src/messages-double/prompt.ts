// The prompt as the API reads it: one list of blocks, in the order tools, system, messages.

import { createHash } from 'node:crypto';
import { type Block, type CacheMark, listBlocks, type MessagesRequest } from './request.ts';

export interface PromptBlock {
  /** Where it is in the request, e.g. `messages.0.content.1`. */
  readonly at: string;
  /** Its own hash, without marks. */
  readonly digest: string;
  readonly tokens: number;
  /** The marks on it and on the blocks within it, in order. */
  readonly marks: readonly CacheMark[];
  readonly block: Block | undefined;
}

const CHARACTERS_PER_TOKEN = 4;

/** What the API puts behind a prompt before the model answers. It is never cached. */
export const FRAME_TOKENS = 5;

/** A deterministic estimate. */
export function countTokens(value: unknown): number {
  return Math.max(1, Math.ceil((JSON.stringify(value) ?? '').length / CHARACTERS_PER_TOKEN));
}

/** The value without the marks on it. Only blocks have them: the input of a call is the model's own. */
function withoutMarks(value: object): object {
  const { cache_control: _, ...rest } = { cache_control: undefined, ...value };
  if (!('type' in rest && rest.type === 'tool_result' && 'content' in rest && Array.isArray(rest.content))) return rest;
  return { ...rest, content: rest.content.map((inner: object) => withoutMarks(inner)) };
}

function listMarks(value: { readonly cache_control?: CacheMark | null | undefined }): CacheMark[] {
  return value.cache_control ? [value.cache_control] : [];
}

function blockMarks(block: Block): CacheMark[] {
  if (block.type === 'thinking' || block.type === 'redacted_thinking') return [];
  const inner = block.type === 'tool_result' && Array.isArray(block.content) ? block.content : [];
  return [...inner.flatMap(listMarks), ...listMarks(block)];
}

function promptBlock(at: string, context: string, value: object, marks: readonly CacheMark[]): PromptBlock {
  const plain = withoutMarks(value);
  const digest = createHash('sha256')
    .update(`${context}\n${JSON.stringify(plain)}`)
    .digest('hex')
    .slice(0, 16);
  return { at, digest, tokens: countTokens(plain), marks, block: undefined };
}

/** The blocks of all messages. */
export function messageBlocks({ messages }: Pick<MessagesRequest, 'messages'>): PromptBlock[] {
  return messages.flatMap((message, index) =>
    listBlocks(message).map((block, inner) => ({
      ...promptBlock(`messages.${index}.content.${inner}`, message.role, block, blockMarks(block)),
      block,
    })),
  );
}

/** All blocks. A mark on the request as a whole is one on its last block. */
export function promptBlocks(request: MessagesRequest): PromptBlock[] {
  const { system, tools = [] } = request;
  const lines = typeof system === 'string' ? [{ type: 'text' as const, text: system }] : (system ?? []);
  const blocks = [
    ...tools.map((tool, index) => promptBlock(`tools.${index}`, 'tools', tool, listMarks(tool))),
    ...lines.map((line, index) => promptBlock(`system.${index}`, 'system', line, listMarks(line))),
    ...messageBlocks(request),
  ];
  const last = blocks.at(-1);
  return request.cache_control && last !== undefined
    ? [...blocks.slice(0, -1), { ...last, marks: [...last.marks, request.cache_control] }]
    : blocks;
}

/** The hash of each block together with all in front of it. */
export function chainDigests(start: string, blocks: readonly Pick<PromptBlock, 'digest'>[]): string[] {
  let digest = start;
  return blocks.map((block) => {
    digest = createHash('sha256').update(`${digest}\n${block.digest}`).digest('hex').slice(0, 32);
    return digest;
  });
}
