// The faults of the API that the double has by name.

import type Anthropic from '@anthropic-ai/sdk';
import type { Answer } from './answer.ts';
import { type APIError, errorBody, invalid } from './api-error.ts';
import { type CutMessage, cutInLastBlock } from './cut.ts';
import { errorSteps, jsonSteps, type Step, streamSteps } from './steps.ts';
import { buildEvents, type StreamEvent } from './stream.ts';

/** A request that a fault answers. */
export interface FaultContext {
  readonly requestId: string;
  readonly model: string;
  readonly isStream: boolean;
  /** The tokens of the prompt, and the model's window. */
  readonly promptTokens: number;
  readonly contextWindow: number;
  /** What the model answers. Asking for it uses up an answer of a script. */
  answer(): Promise<Anthropic.Message>;
  /** The message of an answer that nobody wrote. */
  message(answer: Answer): Anthropic.Message;
}

type Fault = (context: FaultContext) => Step[] | Promise<Step[]>;

/** What a model begins to say before something happens. */
const BEGUN: Answer = {
  thinking: 'Nothing is known yet, so I look first.',
  content: [{ type: 'text', text: 'I look at the state of the system first, and then decide.' }],
};

/** The status and headers instead of an answer. */
const fails =
  (error: APIError, headers?: Readonly<Record<string, string>>): Fault =>
  ({ requestId }) =>
    errorSteps(error, requestId, headers);

/** Up to the start of the stream, or into its last block. */
type Place = 'start' | 'block';

function begun({ message }: FaultContext, place: Place): StreamEvent[] {
  const events = buildEvents(message(BEGUN));
  if (place === 'start') return events.slice(0, 1);
  const text = events.findLastIndex(({ type }) => type === 'content_block_start');
  return events.slice(0, text + 2);
}

/** Something happens in the middle of the answer. One that is not streamed has no middle: it happens to its body. */
const midway =
  (place: Place, ending: 'stall' | 'cut'): Fault =>
  (context) => {
    if (context.isStream) return streamSteps(begun(context, place), { do: ending });
    const [head, body] = jsonSteps(200, context.message(BEGUN));
    const text = body?.do === 'write' ? body.text : '';
    const part: Step[] = place === 'start' ? [] : [{ do: 'write', text: text.slice(0, text.length / 2) }];
    return [...(head === undefined ? [] : [head]), ...part, { do: ending }];
  };

/** An error event after the start of the stream; else the error itself. */
const failsMidway =
  (error: APIError): Fault =>
  (context) =>
    context.isStream
      ? streamSteps([...begun(context, 'block'), { ...errorBody(error, context.requestId) }])
      : errorSteps(error, context.requestId);

/** The model's answer with other events, or as another body if it is not streamed. */
const altered =
  (
    change: (events: readonly StreamEvent[]) => readonly StreamEvent[],
    changeBody: (message: Anthropic.Message) => unknown = (message) => message,
  ): Fault =>
  async (context) => {
    const message = await context.answer();
    return context.isStream ? streamSteps(change(buildEvents(message))) : jsonSteps(200, changeBody(message));
  };

/** A message in both forms. */
function send({ isStream }: FaultContext, { message, openInput }: CutMessage): Step[] {
  return isStream ? streamSteps(buildEvents(message, { openInput })) : jsonSteps(200, message);
}

const refusal = (category: Anthropic.RefusalStopDetails['category'], explanation: string | null) => ({
  type: 'refusal' as const,
  category,
  explanation,
});

/** The events with another usage in those that have one. */
function withUsage(events: readonly StreamEvent[], usage: { usage?: null }): StreamEvent[] {
  return events.map((event) => {
    if (event.type === 'message_delta') {
      const { usage: _, ...rest } = event;
      return { ...rest, ...usage };
    }
    if (event.type !== 'message_start' || typeof event.message !== 'object' || event.message === null) return event;
    const { usage: _, ...message } = { usage: undefined, ...event.message };
    return { ...event, message: { ...message, ...usage } };
  });
}

const later: (event: StreamEvent, by: number) => StreamEvent = (event, by) =>
  typeof event.index === 'number' ? { ...event, index: event.index + by } : event;

export const FAULTS = {
  // Silence and broken connections.
  'stall-before-head': () => [{ do: 'stall' }],
  'stall-after-start': midway('start', 'stall'),
  'stall-in-block': midway('block', 'stall'),
  'cut-before-head': () => [{ do: 'cut' }],
  'cut-after-start': midway('start', 'cut'),
  'cut-in-block': midway('block', 'cut'),

  // Errors inside of a stream, whose status is 200.
  'overloaded-in-stream': failsMidway({ type: 'overloaded_error', message: 'Overloaded' }),
  'api-error-in-stream': failsMidway({ type: 'api_error', message: 'Internal server error' }),
  'invalid-request-in-stream': failsMidway(invalid('Output blocked by content filtering policy')),

  // Streams that are not as they should be.
  'garbled-stream': (context) => {
    const events = streamSteps(begun(context, 'block'));
    const garbled: Step = { do: 'write', text: 'event: content_block_delta\ndata: {"type":"content_block_del\n\n' };
    return context.isStream
      ? [...events.slice(0, -1), garbled, { do: 'end' }]
      : [...jsonSteps(200, {}).slice(0, 1), { do: 'write', text: '{"type":"message","id":' }, { do: 'end' }];
  },
  'duplicate-start': altered((events) => [...events.slice(0, 1), ...events]),
  'unknown-event': altered(([start, ...rest]) => [
    ...(start === undefined ? [] : [start]),
    { type: 'future_event', note: 'as the documentation of streams announces' },
    ...rest,
  ]),
  'unknown-block': async (context) => {
    const message = await context.answer();
    const block = { type: 'future_block', text: '' };
    if (!context.isStream) return jsonSteps(200, { ...message, content: [block, ...message.content] });
    const [start, ...rest] = buildEvents(message);
    return streamSteps([
      ...(start === undefined ? [] : [start]),
      { type: 'content_block_start', index: 0, content_block: block },
      { type: 'content_block_delta', index: 0, delta: { type: 'future_delta', text: 'x' } },
      { type: 'content_block_stop', index: 0 },
      ...rest.map((event) => later(event, 1)),
    ]);
  },
  'usage-null': altered(
    (events) => withUsage(events, { usage: null }),
    (message) => ({ ...message, usage: null }),
  ),
  'usage-missing': altered(
    (events) => withUsage(events, {}),
    ({ usage: _, ...message }) => message,
  ),

  // Answers that end in another way.
  refusal: (context) =>
    send(context, {
      message: context.message({
        content: [],
        stopReason: 'refusal',
        stopDetails: refusal('cyber', 'This request could enable cyber harm.'),
      }),
    }),
  'refusal-in-output': async (context) => {
    const message = await context.answer();
    return send(context, { message: { ...message, stop_reason: 'refusal', stop_details: refusal(null, null) } });
  },
  'pause-turn': (context) => send(context, { message: context.message({ ...BEGUN, stopReason: 'pause_turn' }) }),
  'max-tokens-in-call': async (context) => send(context, cutInLastBlock(await context.answer())),
  'window-exceeded': (context) =>
    send(context, { message: context.message({ ...BEGUN, stopReason: 'model_context_window_exceeded' }) }),
  'thinking-only': (context) =>
    send(context, {
      message: context.message({ thinking: BEGUN.thinking ?? '', content: [], stopReason: 'end_turn' }),
    }),

  // Errors instead of an answer.
  'rate-limit': fails(
    { type: 'rate_limit_error', message: "This request would exceed your organization's rate limit." },
    { 'retry-after': '1', 'anthropic-ratelimit-requests-remaining': '0' },
  ),
  'spend-limit': ({ requestId }) => {
    const message = 'Your organization has reached its spend limit.';
    const error: APIError = { type: 'rate_limit_error', message, code: 'enforced_spend_limit_reached' };
    return jsonSteps(429, errorBody(error, requestId));
  },
  'credit-balance': fails(
    invalid(
      'Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.',
    ),
  ),
  'payment-required': fails({ type: 'billing_error', message: 'There is a problem with the billing of the account.' }),
  'key-refused': fails({ type: 'authentication_error', message: 'invalid x-api-key' }),
  'permission-refused': fails({
    type: 'permission_error',
    message: 'Your API key does not have permission to use the specified resource.',
  }),
  'model-unknown': ({ model, requestId }) =>
    errorSteps({ type: 'not_found_error', message: `model: ${model}` }, requestId),
  'context-full': ({ promptTokens, contextWindow, requestId }) =>
    errorSteps(
      invalid(`prompt is too long: ${contextWindow + promptTokens} tokens > ${contextWindow} maximum`),
      requestId,
    ),
  'request-too-large': fails({ type: 'request_too_large', message: 'Request exceeds the maximum size' }),
  'thinking-bound': fails(
    invalid(
      'messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different conversation. Remove the block, or set ' +
        '`thinking.block_binding.prefix_mismatch_behavior` to "drop_block". Content before this block differs from when it was created, first at `messages.0.content.0`.',
    ),
  ),
  'internal-error': fails({ type: 'api_error', message: 'Internal server error' }),
  'gateway-timeout': fails({ type: 'timeout_error', message: 'The request timed out.' }),
  overloaded: fails({ type: 'overloaded_error', message: 'Overloaded' }),
} as const satisfies Readonly<Record<string, Fault>>;

export type FaultName = keyof typeof FAULTS;

export function isFaultName(name: string): name is FaultName {
  return Object.hasOwn(FAULTS, name);
}
