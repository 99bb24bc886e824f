// A stream of events as the SDK reads it, out of what servers that imitate the API send: the SDK
// skips events without a name, and fails on a usage that is missing.

import * as z from 'zod';
import { createEventReader, formatServerSentEvent } from '../net/server-sent-events.ts';

const event = z.looseObject({ type: z.string() });
const messageStart = z.looseObject({ type: z.literal('message_start'), message: z.looseObject({}) });
const messageDelta = z.looseObject({ type: z.literal('message_delta') });
const text = z.string().nullish();
const blockStart = z.looseObject({
  type: z.literal('content_block_start'),
  content_block: z.looseObject({ type: z.enum(['text', 'thinking']), text, thinking: text, signature: text }),
});
/** What is read of a usage by itself. */
const counts = z.looseObject({ input_tokens: z.number().nullish(), output_tokens: z.number().nullish() });

/** A usage with the counts that must be there: a server that does not count has counted none. */
export function withCounts(usage: unknown): { input_tokens: number; output_tokens: number } {
  const given = counts.safeParse(usage).data;
  return { ...given, input_tokens: given?.input_tokens ?? 0, output_tokens: given?.output_tokens ?? 0 };
}

/**
 * An event whose usage has its counts, and whose texts are texts: the SDK adds what follows to them. At
 * the end, a count that is missing is that of the beginning.
 */
function repair(data: unknown): unknown {
  const started = messageStart.safeParse(data).data;
  if (started !== undefined) {
    return { ...started, message: { ...started.message, usage: withCounts(started.message.usage) } };
  }
  const opened = blockStart.safeParse(data).data;
  if (opened !== undefined) {
    const { content_block: block } = opened;
    const texts =
      block.type === 'text'
        ? { text: block.text ?? '' }
        : { thinking: block.thinking ?? '', signature: block.signature ?? '' };
    return { ...opened, content_block: { ...block, ...texts } };
  }
  const changed = messageDelta.safeParse(data).data;
  if (changed === undefined) return data;
  const given = counts.safeParse(changed.usage).data;
  return { ...changed, usage: { ...given, output_tokens: given?.output_tokens ?? 0 } };
}

/** Names each event by its type, and adds the usage where it is missing. What is not JSON is passed on. */
export function normalStream(): TransformStream<Uint8Array, Uint8Array> {
  const encoder = new TextEncoder();
  let send: (text: string) => void = () => undefined;
  const reader = createEventReader(({ type: name, data }) => {
    if (name === 'comment') return;
    let content: unknown;
    try {
      content = JSON.parse(data);
    } catch {
      // The SDK says what is wrong with it. Without a name it is no event, such as the `[DONE]` of other APIs.
      if (name !== 'message') send(`event: ${name}\n${data.replace(/^/gm, 'data: ')}\n\n`);
      return;
    }
    send(formatServerSentEvent(event.safeParse(content).data?.type ?? name, repair(content)));
  });
  return new TransformStream({
    start(controller) {
      send = (text) => controller.enqueue(encoder.encode(text));
    },
    transform(chunk) {
      reader.feed(chunk);
    },
  });
}
