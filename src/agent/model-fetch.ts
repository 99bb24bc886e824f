// The fetch under the SDK: adds the pod's current token to each request, aborts silent streams, and
// accepts a complete message as the response to a streaming request.

import type Anthropic from '@anthropic-ai/sdk';
import * as z from 'zod';
import { withWholeCharacters } from '../net/json.ts';
import { formatServerSentEvent } from '../net/server-sent-events.ts';
import { normalStream, withCounts } from './normal-stream.ts';

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
        usage: z.looseObject({}).nullish(),
      })
      .safeParse(value).success,
  'not a message of the Messages API',
);

/** An error that comes with the status of success. */
const anError = z.looseObject({ error: z.union([z.looseObject({}), z.string()]) });

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

/** Converts a complete message, or an error, into an event stream. Anything else is a stream that fails. */
async function toStream(response: Response): Promise<Response> {
  const body = await response.text();
  const headers = new Headers(response.headers);
  headers.set('content-type', 'text/event-stream');
  headers.delete('content-length');
  const events = (text: string) => new Response(text, { headers });
  let content: unknown;
  try {
    content = JSON.parse(body);
  } catch {
    content = undefined;
  }
  const message = wholeMessage.safeParse(content);
  if (message.success) {
    const usage = { ...message.data.usage, ...withCounts(message.data.usage) };
    return events(
      toStreamEvents({ ...message.data, usage })
        .map((event) => formatServerSentEvent(event.type, event))
        .join(''),
    );
  }
  if (anError.safeParse(content).success) return events(formatServerSentEvent('error', content));
  // Thrown here, it would look like a connection that cannot be made.
  const start = (controller: ReadableStreamDefaultController<Uint8Array>) =>
    controller.error(new Error(`the answer is not a message of the Messages API: ${body.slice(0, 200)}`));
  return new Response(new ReadableStream({ start }), { headers });
}

/** The body as the SDK reads it, which ends with an error if it is silent for too long. */
function readableBody(response: Response, silenceMs: number): Response {
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
  const watched = response.body.pipeThrough(watch);
  const isStream = /^text\/event-stream\b/i.test(response.headers.get('content-type') ?? '');
  const body = isStream ? watched.pipeThrough(normalStream()) : watched;
  return new Response(body, { status: response.status, headers: response.headers });
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
    // The API refuses a request for half of a surrogate pair in it, which a model can write itself.
    const body = typeof init?.body === 'string' ? withWholeCharacters(init.body) : init?.body;
    const response = await fetch(input, { ...init, ...(body == null ? {} : { body }), headers, redirect: 'error' });
    if (!response.ok) return response;
    options.onHeaders?.(response.headers);
    const { silenceMs = SILENCE_MS } = options;
    const wantsStream = typeof init?.body === 'string' && /"stream":\s*true/.test(init.body);
    const isJson = /\bjson\b/i.test(response.headers.get('content-type') ?? '');
    if (wantsStream && isJson) return readableBody(await toStream(response), silenceMs);
    return readableBody(response, silenceMs);
  };
}
