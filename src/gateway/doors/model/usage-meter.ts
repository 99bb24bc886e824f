// Reads the usage from an answer while it is forwarded: from a whole message or from a stream.

import * as z from 'zod';
import { createEventReader } from '../../../net/server-sent-events.ts';
import type { Tokens } from '../../prices.ts';

const count = z.number().int().min(0).nullish();
const usage = z.looseObject({
  input_tokens: count,
  output_tokens: count,
  cache_read_input_tokens: count,
  cache_creation_input_tokens: count,
  cache_creation: z.looseObject({ ephemeral_1h_input_tokens: count }).nullish(),
});
const message = z.looseObject({ usage: usage.nullish(), stop_reason: z.string().nullish() });
const event = z.looseObject({
  type: z.string(),
  message: message.optional(),
  usage: usage.optional(),
  delta: z.looseObject({ stop_reason: z.string().nullish() }).optional(),
});

/** The usage seen in an answer so far. */
export interface Seen {
  /** Undefined until usage was seen. */
  readonly tokens: Tokens | undefined;
  /** The counts are final, because the message is complete. */
  readonly complete: boolean;
  readonly stopReason: string | undefined;
}

/** A longer event does not come from the API and is not read. In characters. */
const MAX_EVENT = 8 * 1024 * 1024;

export interface UsageMeter {
  feed(chunk: Buffer): void;
  /** Call it at the end of the answer. */
  seen(): Seen;
}

function merge(known: Tokens | undefined, next: z.infer<typeof usage>): Tokens {
  return {
    inputTokens: next.input_tokens ?? known?.inputTokens ?? 0,
    outputTokens: next.output_tokens ?? known?.outputTokens ?? 0,
    cacheReadTokens: next.cache_read_input_tokens ?? known?.cacheReadTokens ?? 0,
    cacheWriteTokens: next.cache_creation_input_tokens ?? known?.cacheWriteTokens ?? 0,
    cacheWrite1hTokens: next.cache_creation?.ephemeral_1h_input_tokens ?? known?.cacheWrite1hTokens ?? 0,
  };
}

/** For an answer of type application/json. */
export function messageMeter(): UsageMeter {
  const chunks: Buffer[] = [];
  return {
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
      return { tokens, complete: tokens !== undefined, stopReason: parsed?.stop_reason ?? undefined };
    },
  };
}

/** For an answer of type text/event-stream. The counts of message_delta are totals. */
export function streamMeter(): UsageMeter {
  let tokens: Tokens | undefined;
  let final = false;
  let stopReason: string | undefined;
  const { feed } = createEventReader((read) => {
    let data: z.infer<typeof event> | undefined;
    try {
      data = event.safeParse(JSON.parse(read.data)).data;
    } catch {
      return;
    }
    if (data?.type === 'message_start' && data.message?.usage) tokens = merge(tokens, data.message.usage);
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
    seen() {
      return { tokens, complete: final, stopReason };
    },
  };
}
