// The fetch under the SDK: adds the pod's current token to each request, aborts silent streams, and
// accepts a complete message as the response to a streaming request.

import type Anthropic from '@anthropic-ai/sdk';
import * as z from 'zod';
import { formatServerSentEvent } from '../net/server-sent-events.ts';

/**
 * A stream without a single byte for this long is considered dead. Pings are not guaranteed, and the
 * API holds back a parameter of a call until it is whole. In milliseconds.
 */
const SILENCE_MS = 240_000;

/** The parts of a message that the SDK's stream reader uses. The rest is passed on unchecked. */
const wholeMessage = z.custom<Anthropic.Message>(
  (value) =>
    z
      .looseObject({
        type: z.literal('message'),
        content: z.array(z.looseObject({ type: z.string() })),
        usage: z.looseObject({}),
      })
      .safeParse(value).success,
  'not a message of the Messages API',
);

/** The events of a stream that contains this message. */
function toStreamEvents(message: Anthropic.Message): Anthropic.MessageStreamEvent[] {
  const { content, stop_reason, stop_sequence, usage } = message;
  return [
    { type: 'message_start', message: { ...message, content: [], stop_reason: null, stop_sequence: null } },
    ...content.flatMap((block, index): Anthropic.MessageStreamEvent[] => [
      { type: 'content_block_start', index, content_block: block },
      { type: 'content_block_stop', index },
    ]),
    {
      type: 'message_delta',
      delta: {
        stop_reason,
        stop_sequence,
        stop_details: message.stop_details ?? null,
        container: message.container ?? null,
      },
      usage: { ...usage, output_tokens_details: usage.output_tokens_details ?? null },
    },
    { type: 'message_stop' },
  ];
}

/** Converts a complete message into an event stream. */
async function toStream(response: Response): Promise<Response> {
  const message = wholeMessage.parse(await response.json());
  const text = toStreamEvents(message)
    .map((event) => formatServerSentEvent(event.type, event))
    .join('');
  return new Response(text, { status: 200, headers: { 'content-type': 'text/event-stream' } });
}

/** Ends the stream with an error if it is silent for too long. */
function abortOnSilence(response: Response, silenceMs: number): Response {
  if (response.body === null) return response;
  let timer: NodeJS.Timeout;
  const watch = new TransformStream<Uint8Array, Uint8Array>({
    start(controller) {
      timer = setTimeout(
        () => controller.error(new Error(`the model's stream was silent for ${silenceMs} ms`)),
        silenceMs,
      );
    },
    transform(chunk, controller) {
      timer.refresh();
      controller.enqueue(chunk);
    },
    flush() {
      clearTimeout(timer);
    },
    cancel() {
      clearTimeout(timer);
    },
  });
  return new Response(response.body.pipeThrough(watch), { status: response.status, headers: response.headers });
}

/** Calls `authorization` for each request, because the token rotates. */
export function createModelFetch(
  authorization: () => Promise<string>,
  options: {
    readonly silenceMs?: number;
    /** Called with the headers of each answer. */
    readonly onHeaders?: (headers: Headers) => void;
  } = {},
): typeof fetch {
  return async (input, init) => {
    const headers = new Headers(init?.headers);
    headers.set('authorization', await authorization());
    headers.delete('x-api-key');
    const response = await fetch(input, { ...init, headers, redirect: 'error' });
    if (!response.ok) return response;
    options.onHeaders?.(response.headers);
    const wantsStream = typeof init?.body === 'string' && /"stream":\s*true/.test(init.body);
    const isJson = response.headers.get('content-type')?.includes('application/json') === true;
    if (wantsStream && isJson) return toStream(response);
    return abortOnSilence(response, options.silenceMs ?? SILENCE_MS);
  };
}
