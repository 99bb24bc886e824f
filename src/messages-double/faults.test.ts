// Every fault by its name, over HTTP, as the client of the SDK sees it: streamed and not.

import Anthropic from '@anthropic-ai/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FAULTS, type FaultName, isFaultName } from './faults.ts';
import { type DoubleServer, startDouble } from './server.ts';

let fault: FaultName | undefined;
let server: DoubleServer;
let client: Anthropic;
beforeAll(async () => {
  server = await startDouble({
    answer: () => ({
      thinking: 'I look.',
      content: [
        { type: 'text', text: 'First the pods.' },
        { type: 'tool_use', name: 'shell', input: { command: 'kubectl get pods', purpose: 'see' } },
      ],
    }),
    fault: () => fault,
  });
  client = new Anthropic({ baseURL: server.url, apiKey: 'any', maxRetries: 0, logLevel: 'off' });
});
afterAll(() => server.close());

const question: Anthropic.MessageCreateParamsNonStreaming = {
  model: 'claude-opus-5-5',
  max_tokens: 1000,
  tools: [{ name: 'shell', input_schema: { type: 'object' } }],
  messages: [{ role: 'user', content: 'hello' }],
};
const STALL_MS = 400;

/** What becomes of a question: the parts of the answer that a fault changes, or the error. */
async function outcome(isStream: boolean) {
  const signal = AbortSignal.timeout(STALL_MS);
  const events: string[] = [];
  try {
    const message = isStream
      ? await client.messages
          .stream(question, { signal })
          .on('streamEvent', ({ type }) => events.push(type))
          .finalMessage()
      : await client.messages.create(question, { signal });
    const { stop_reason: stop, stop_details, content, usage } = message;
    return { stop, category: stop_details?.category, blocks: content.map(({ type }) => type), usage, events };
  } catch (error) {
    if (signal.aborted) return { stalled: true, events };
    if (!(error instanceof Anthropic.APIError) || error instanceof Anthropic.APIConnectionError) {
      return { broken: String(error), events };
    }
    const { status, type, errorCode: code, requestID, headers } = error;
    const retryAfter = headers?.get('retry-after') ?? undefined;
    return { status, type, code, requestID, retry: headers?.get('x-should-retry'), retryAfter, events };
  }
}

const BLOCKS = ['thinking', 'text', 'tool_use'];
const stalls = { stalled: true };
const breaks = { broken: expect.any(String) };
const fails = (status: number, type: string, retry: string | null, more: object = {}) => ({
  ...{ status, type, retry, requestID: expect.stringMatching(/^req_/) },
  ...more,
});
/** An error inside of a stream has no status; one of an answer in one piece has. */
const failsInStream = (status: number, type: string, retry: string) => ({
  streamed: { status: undefined, type, events: expect.arrayContaining(['message_start', 'content_block_delta']) },
  whole: fails(status, type, retry),
});
const atStart = (then: object) => ({ streamed: { ...then, events: ['message_start'] }, whole: then });
const inBlock = (then: object) => ({
  streamed: { ...then, events: expect.arrayContaining(['content_block_delta']) },
  whole: then,
});
const both = (expected: object) => ({ streamed: expected, whole: expected });
const answers = (stop: string, blocks: string[], more: object = {}) => both({ stop, blocks, ...more });

/** What the client sees. The double has no fault that is not in here. */
const expected: Record<FaultName, { readonly streamed: object; readonly whole: object }> = {
  'stall-before-head': both({ ...stalls, events: [] }),
  'stall-after-start': atStart(stalls),
  'stall-in-block': inBlock(stalls),
  'cut-before-head': both({ ...breaks, events: [] }),
  'cut-after-start': atStart(breaks),
  'cut-in-block': inBlock(breaks),
  'overloaded-in-stream': failsInStream(529, 'overloaded_error', 'true'),
  'api-error-in-stream': failsInStream(500, 'api_error', 'true'),
  'invalid-request-in-stream': failsInStream(400, 'invalid_request_error', 'false'),
  'garbled-stream': both(breaks),
  'duplicate-start': { streamed: breaks, whole: { stop: 'tool_use', blocks: BLOCKS } },
  'unknown-event': answers('tool_use', BLOCKS),
  'unknown-block': answers('tool_use', ['future_block', ...BLOCKS]),
  'usage-null': { streamed: breaks, whole: { stop: 'tool_use', usage: null } },
  'usage-missing': { streamed: breaks, whole: { stop: 'tool_use', usage: undefined } },
  refusal: answers('refusal', [], { category: 'cyber' }),
  'refusal-in-output': answers('refusal', BLOCKS, { category: null }),
  'pause-turn': answers('pause_turn', ['thinking', 'text']),
  'max-tokens-in-call': answers('max_tokens', BLOCKS),
  'window-exceeded': answers('model_context_window_exceeded', ['thinking', 'text']),
  'thinking-only': answers('end_turn', ['thinking']),
  'rate-limit': both(fails(429, 'rate_limit_error', 'true', { retryAfter: '1' })),
  'spend-limit': both(fails(429, 'rate_limit_error', null, { code: 'enforced_spend_limit_reached' })),
  'credit-balance': both(fails(400, 'invalid_request_error', 'false')),
  'payment-required': both(fails(402, 'billing_error', 'false')),
  'key-refused': both(fails(401, 'authentication_error', 'false')),
  'permission-refused': both(fails(403, 'permission_error', 'false')),
  'model-unknown': both(fails(404, 'not_found_error', 'false')),
  'context-full': both(fails(400, 'invalid_request_error', 'false')),
  'request-too-large': both(fails(413, 'request_too_large', 'false')),
  'thinking-bound': both(fails(400, 'invalid_request_error', 'false')),
  'internal-error': both(fails(500, 'api_error', 'true')),
  'gateway-timeout': both(fails(504, 'timeout_error', 'true')),
  overloaded: both(fails(529, 'overloaded_error', 'true')),
};

describe('a fault', () => {
  const names = Object.keys(FAULTS).filter(isFaultName);

  it.each(names)('%s', async (name) => {
    fault = name;
    expect(await outcome(true)).toMatchObject(expected[name].streamed);
    expect(await outcome(false)).toMatchObject(expected[name].whole);
    fault = undefined;
    expect(await outcome(true)).toMatchObject({ stop: 'tool_use', blocks: BLOCKS });
  });

  it('of another name does not exist', () => {
    expect(['overload', 'toString', ''].map(isFaultName)).toEqual([false, false, false]);
  });
});
