// Decides which requests to the Messages API are allowed: only the class's models, only client-side
// tools, and nothing that gives access to other services.

import * as z from 'zod';
import type { ClassSnapshot } from '../../../api/incident-status.ts';
import { InvalidInput, NotAllowed } from '../../../errors.ts';
import { checkInput, joinProblems } from '../../../input/parse-input.ts';

/**
 * A request as it is forwarded. It has only these fields, so that no unknown field is passed on. What
 * is inside of them is JSON already; a schema that says so would look at each value for microseconds.
 */
const messagesRequest = z.strictObject({
  model: z.string(),
  max_tokens: z.number().int().min(1),
  messages: z.array(z.unknown()).max(100_000),
  system: z.unknown().optional(),
  tools: z.array(z.looseObject({ type: z.string().nullish(), name: z.string().optional() })).optional(),
  tool_choice: z.unknown().optional(),
  stream: z.boolean().optional(),
  stop_sequences: z.unknown().optional(),
  temperature: z.number().optional(),
  top_p: z.number().optional(),
  top_k: z.number().optional(),
  metadata: z.unknown().optional(),
  thinking: z.unknown().optional(),
  output_config: z.unknown().optional(),
  cache_control: z.unknown().optional(),
  // The price table does not contain the more expensive tiers.
  service_tier: z.literal('standard_only').optional(),
  speed: z.literal('standard').nullish(),
});
export type MessagesRequest = z.infer<typeof messagesRequest>;

/** Fields of the API that are refused, each with a reason that is clearer than "unknown field". */
const REFUSED: Readonly<Record<string, string>> = {
  mcp_servers: 'tools that run on the vendor side are disabled',
  container: 'tools that run on the vendor side are disabled',
  context_management: 'the agent manages the conversation itself',
  fallbacks: "only the AgentClass's models may answer",
  inference_geo: 'the price table has no rate for it',
  speed: 'the price table has a rate only for standard',
  service_tier: 'the price table has a rate only for standard_only',
};

export interface Admitted {
  readonly request: MessagesRequest;
  /** The bytes to forward, which contain only what was checked. */
  readonly body: Buffer;
  /** Whether the answer is a turn of the agent's main model, not a summary by the summary model. */
  readonly turn: boolean;
  /** The longest prompt cache lifetime that the request asks for. */
  readonly cacheLife: 'none' | '5m' | '1h';
}

/** Checks a request body against the attempt's class. @throws InvalidInput, NotAllowed */
export function admitRequest(body: Buffer, allowed: ClassSnapshot): Admitted {
  let content: unknown;
  try {
    // A replacement for each byte that is not UTF-8 would be three bytes, and up to three tokens.
    content = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (error) {
    throw new InvalidInput('the body is not valid JSON in UTF-8', error);
  }
  const parsed = checkInput(messagesRequest, content, { values: 'hidden' });
  if (!parsed.success) {
    const fields = z.record(z.string(), z.unknown()).safeParse(content).data ?? {};
    for (const [field, reason] of Object.entries(REFUSED)) {
      if (field in fields) throw new NotAllowed(`${field} is not allowed: ${reason}`);
    }
    throw new InvalidInput(joinProblems('the request is not valid', parsed.problems));
  }
  const request = parsed.data;
  const { model, summaryModel, modelOptions, maxOutputTokens, name } = allowed;
  const agentModels = [model, modelOptions?.fallbackName ?? model];
  const models = new Set([...agentModels, summaryModel]);
  if (!models.has(request.model)) {
    throw new NotAllowed(`AgentClass ${name} does not allow model ${request.model}: use ${[...models].join(' or ')}`);
  }
  if (request.max_tokens > maxOutputTokens) {
    throw new NotAllowed(
      `max_tokens ${request.max_tokens} exceeds the ${maxOutputTokens} that AgentClass ${name} allows`,
    );
  }
  for (const tool of request.tools ?? []) {
    if (tool.type !== undefined && tool.type !== null && tool.type !== 'custom') {
      throw new NotAllowed(`tool type ${tool.type} is not allowed: use only tools that the agent itself runs`);
    }
  }
  checkBlocks(request);
  const tools = (request.tools ?? []).length > 0;
  return {
    request,
    body: stringify(request),
    // If one model does both, only a turn of the agent has tools.
    turn: agentModels.includes(request.model) && (request.model !== summaryModel || tools),
    cacheLife: findCacheLife([
      request.messages,
      request.system,
      request.tools,
      request.cache_control === undefined ? null : { cache_control: request.cache_control },
    ]),
  };
}

function stringify(request: MessagesRequest): Buffer {
  try {
    return Buffer.from(JSON.stringify(request));
  } catch (error) {
    throw new InvalidInput('the request is nested too deeply', error);
  }
}

/** The same request for fewer tokens of output, which are no part of what the vendor caches. */
export function shortened(admitted: Admitted, maxTokens: number): Admitted {
  const request = { ...admitted.request, max_tokens: maxTokens };
  return { ...admitted, request, body: Buffer.from(JSON.stringify(request)) };
}

type CacheLife = Admitted['cacheLife'];
const longest = (lives: CacheLife[]): CacheLife => (lives.includes('1h') ? '1h' : lives.includes('5m') ? '5m' : 'none');

/**
 * The blocks that the agent sends. Anything else is refused: the tokens of images and documents are
 * not bounded by their bytes, and sources may be fetched by the vendor.
 */
const BLOCKS: readonly string[] = ['text', 'thinking', 'redacted_thinking', 'tool_use', 'tool_result'];
/** What the result of a tool consists of. */
const RESULT_BLOCKS: readonly string[] = ['text'];

const block = z.looseObject({ type: z.string(), content: z.unknown().optional() });
const message = z.looseObject({ content: z.unknown() });

/** Checks every block of the request, in tool results as well. @throws NotAllowed, InvalidInput */
function checkBlocks({ messages, system }: MessagesRequest): void {
  if (system !== undefined) checkContent('system', system);
  for (const [index, one] of messages.entries()) {
    checkContent(`messages[${index}].content`, message.safeParse(one).data?.content);
  }
}

function checkContent(field: string, content: unknown, blocks = BLOCKS): void {
  if (typeof content === 'string') return;
  if (!Array.isArray(content)) throw new InvalidInput(`${field} must be a string or a list of blocks`);
  for (const [index, value] of content.entries()) {
    const parsed = block.safeParse(value);
    if (!parsed.success) throw new InvalidInput(`${field}[${index}] must be a block with a type`);
    const { type, content: inner } = parsed.data;
    if (!blocks.includes(type)) {
      throw new NotAllowed(`${field}[${index}]: a block of type ${type} is not allowed; use ${blocks.join(', ')}`);
    }
    if (type === 'tool_result' && inner !== undefined) {
      checkContent(`${field}[${index}].content`, inner, RESULT_BLOCKS);
    }
  }
}

/** Searches nested blocks for the longest requested cache lifetime. */
function findCacheLife(root: unknown): CacheLife {
  let cacheLife: CacheLife = 'none';
  const waiting: unknown[] = [root];
  for (let value = waiting.pop(); value !== undefined; value = waiting.pop()) {
    if (Array.isArray(value)) {
      for (const item of value) waiting.push(item ?? null);
      continue;
    }
    if (typeof value !== 'object' || value === null) continue;
    if ('cache_control' in value) cacheLife = longest([cacheLife, lifeOf(value.cache_control)]);
    const isCall = 'type' in value && value.type === 'tool_use';
    for (const [key, item] of Object.entries(value)) {
      // The input of a tool call is the model's own data, not a block of the API.
      if (key !== 'input' || !isCall) waiting.push(item ?? null);
    }
  }
  return cacheLife;
}

/** A lifetime that the price table does not know counts as the longest. */
function lifeOf(mark: unknown): CacheLife {
  if (typeof mark !== 'object' || mark === null) return 'none';
  return !('ttl' in mark) || mark.ttl === '5m' ? '5m' : '1h';
}

/**
 * Features in beta that change neither what a call may cost nor what it reaches. Others do: a longer
 * context, for example, has a price of its own.
 */
const BETAS: ReadonlySet<string> = new Set([
  'extended-cache-ttl-2025-04-11',
  'fine-grained-tool-streaming-2025-05-14',
  'interleaved-thinking-2025-05-14',
]);

/** Checks the header `anthropic-beta`. @throws NotAllowed */
export function checkBetas(header: string | string[] | undefined): void {
  for (const name of [header ?? []].flat().join(',').split(',')) {
    const beta = name.trim();
    if (beta !== '' && !BETAS.has(beta)) {
      throw new NotAllowed(`anthropic-beta ${beta} is not allowed; leave it out, or use ${[...BETAS].join(', ')}`);
    }
  }
}
