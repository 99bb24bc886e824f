// Server-sent events: reads a stream of them, and writes one.

import { createParser } from 'eventsource-parser';

/** One event; comments (heartbeats) are events of type `comment`, because they show that the connection is alive. */
export interface ServerSentEvent {
  readonly type: string;
  readonly id: string | undefined;
  readonly data: string;
}

/** Parses the bytes of a body. An event that the end of the body truncates is dropped. */
export async function* serverSentEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerSentEvent> {
  let events: ServerSentEvent[] = [];
  // An id is that of all events up to the next one.
  let lastId: string | undefined;
  const parser = createParser({
    onEvent: ({ event = 'message', id = lastId, data }) => {
      lastId = id;
      events.push({ type: event, id, data });
    },
    onComment: (comment) => events.push({ type: 'comment', id: lastId, data: comment.trim() }),
  });
  const decoder = new TextDecoder();
  for await (const chunk of body) {
    parser.feed(decoder.decode(chunk, { stream: true }));
    yield* events;
    events = [];
  }
}

/** One event as text. JSON has no line breaks, so one data line is enough. */
export function formatServerSentEvent(type: string, data: unknown, id?: number): string {
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
}
