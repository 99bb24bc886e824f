// Reads the usage from an answer while it is forwarded: from a whole message or from a stream.

import * as z from 'zod';
import { createEventReader } from '../../../net/server-sent-events.ts';
import type { Tokens } from '../../prices.ts';

/** More tokens than a model reads or writes are no count: they would end the Incident. */
const MAX_COUNT = 100_000_000;
const count = z.number().min(0).max(MAX_COUNT).transform(Math.ceil).nullish();
const counts = z.looseObject({
  input_tokens: count,
  output_tokens: count,
  cache_read_input_tokens: count,
  cache_creation_input_tokens: count,
  cache_creation: z.looseObject({ ephemeral_1h_input_tokens: count }).nullish(),
  inference_geo: z.string().nullish(),
});
/** A usage that is not readable is not there, and takes nothing else of its event along. */
const usage = counts.nullish().catch(undefined);
const message = z.looseObject({
  usage,
  stop_reason: z.string().nullish(),
  content: z.array(z.looseObject({ type: z.string() })).optional(),
  error: z.unknown().optional(),
});
const event = z.looseObject({
  type: z.string(),
  message: message.optional(),
  usage,
  content_block: z.looseObject({ text: z.string().optional(), input: z.looseObject({}).optional() }).optional(),
  delta: z
    .looseObject({
      stop_reason: z.string().nullish(),
      text: z.string().optional(),
      thinking: z.string().optional(),
      partial_json: z.string().optional(),
    })
    .optional(),
});

/** The usage seen in an answer so far. */
export interface Seen {
  /** Undefined until usage was seen. */
  readonly tokens: Tokens | undefined;
  /** The message is complete, and so are its counts, if it has any. */
  readonly complete: boolean;
  readonly stopReason: string | undefined;
  /** Bytes of output that have passed, of an answer that may have no count of them. */
  readonly outputBytes: number;
  /** The answer says itself that it failed, whatever its status. */
  readonly failed: boolean;
  /** The event or the body that says so. */
  readonly failure?: unknown;
}

/** The fewest bytes of a token, on average, that any text of a model has had. */
export const BYTES_PER_TOKEN = 2;
/** A longer event does not come from the API and is not read. In characters. */
const MAX_EVENT = 8 * 1024 * 1024;

export interface UsageMeter {
  feed(chunk: Buffer): void;
  /** The answer has said that it failed. */
  readonly failed: boolean;
  /** Call it at the end of the answer. */
  seen(): Seen;
}

function merge(known: Tokens | undefined, next: z.infer<typeof counts>): Tokens {
  return {
    inputTokens: next.input_tokens ?? known?.inputTokens ?? 0,
    outputTokens: next.output_tokens ?? known?.outputTokens ?? 0,
    cacheReadTokens: next.cache_read_input_tokens ?? known?.cacheReadTokens ?? 0,
    cacheWriteTokens: next.cache_creation_input_tokens ?? known?.cacheWriteTokens ?? 0,
    cacheWrite1hTokens: next.cache_creation?.ephemeral_1h_input_tokens ?? known?.cacheWrite1hTokens ?? 0,
    ...(next.inference_geo === 'us' || known?.inUS === true ? { inUS: true } : {}),
  };
}

/** For an answer of type application/json. */
export function messageMeter(): UsageMeter {
  const chunks: Buffer[] = [];
  return {
    // It is read at its end.
    failed: false,
    feed(chunk) {
      chunks.push(chunk);
    },
    seen() {
      let parsed: z.infer<typeof message> | undefined;
      try {
        parsed = message.safeParse(JSON.parse(Buffer.concat(chunks).toString('utf8'))).data;
      } catch {
        // Incomplete or not JSON: no usage was seen.
      }
      const tokens = parsed?.usage ? merge(undefined, parsed.usage) : undefined;
      const stopReason = parsed?.stop_reason ?? undefined;
      const outputBytes = parsed?.content === undefined ? 0 : Buffer.byteLength(JSON.stringify(parsed.content));
      const complete = tokens !== undefined || parsed?.content !== undefined;
      const failed = !complete && parsed?.error !== undefined;
      return { tokens, complete, stopReason, outputBytes, failed, failure: failed ? parsed : undefined };
    },
  };
}

/** For an answer of type text/event-stream. The counts of message_delta are totals. */
export function streamMeter(): UsageMeter {
  let tokens: Tokens | undefined;
  let final = false;
  let isOver = false;
  let failed = false;
  let failure: unknown;
  let outputBytes = 0;
  let stopReason: string | undefined;
  const { feed } = createEventReader((read) => {
    if (read.type === 'error') {
      failed = true;
      failure = read.data;
    }
    let data: z.infer<typeof event> | undefined;
    try {
      data = event.safeParse(JSON.parse(read.data)).data;
    } catch {
      return;
    }
    if (data?.type === 'message_start' && data.message?.usage) tokens = merge(tokens, data.message.usage);
    if (data?.type === 'error') {
      failed = true;
      failure = data;
    }
    if (data?.type === 'message_stop') isOver = true;
    if (data?.type === 'content_block_start') {
      // Local servers send a call as a whole.
      const { text = '', input = {} } = data.content_block ?? {};
      const json = JSON.stringify(input);
      outputBytes += Buffer.byteLength(text) + (json === '{}' ? 0 : Buffer.byteLength(json));
    }
    if (data?.type === 'content_block_delta') {
      const { text = '', thinking = '', partial_json = '' } = data.delta ?? {};
      outputBytes += Buffer.byteLength(text) + Buffer.byteLength(thinking) + Buffer.byteLength(partial_json);
    }
    if (data?.type === 'message_delta') {
      if (data.usage) {
        tokens = merge(tokens, data.usage);
        final = true;
      }
      stopReason = data.delta?.stop_reason ?? stopReason;
    }
  }, MAX_EVENT);
  return {
    feed,
    get failed() {
      return failed;
    },
    seen() {
      // Some servers count nothing at the end. What has passed is all that there is, then.
      const counted =
        final || !isOver || tokens === undefined
          ? tokens
          : { ...tokens, outputTokens: Math.max(tokens.outputTokens, Math.ceil(outputBytes / BYTES_PER_TOKEN)) };
      return { tokens: counted, complete: final || isOver, stopReason, outputBytes, failed, failure };
    },
  };
}
