// Server-sent events: parses a stream of them, and formats one.

import { createParser } from 'eventsource-parser';

/**
 * One event. Comments (heartbeats) are events of type `comment`, because they show that the
 * connection is alive.
 */
export interface ServerSentEvent {
  readonly type: string;
  readonly id: string | undefined;
  readonly data: string;
}

/** Accepts the bytes of a stream as they arrive. */
export interface EventReader {
  /** Reports the events that these bytes complete. */
  feed(bytes: Uint8Array): void;
}

/**
 * Parses a stream whose bytes the caller feeds. An event of more than `maxCharacters` is dropped,
 * and so is an event that the end of the stream truncates.
 */
export function createEventReader(onEvent: (event: ServerSentEvent) => void, maxCharacters?: number): EventReader {
  // An id applies to all events until the next id.
  let lastId: string | undefined;
  const parser = createParser({
    ...(maxCharacters === undefined ? {} : { maxBufferSize: maxCharacters }),
    onEvent: ({ event = 'message', id = lastId, data }) => {
      lastId = id;
      onEvent({ type: event, id, data });
    },
    onComment: (comment) => onEvent({ type: 'comment', id: lastId, data: comment.trim() }),
    onError: ({ type }) => {
      // The rest of the event is then a line without a known field, which is ignored.
      if (type === 'max-buffer-size-exceeded') parser.reset();
    },
  });
  const decoder = new TextDecoder();
  return { feed: (bytes) => parser.feed(decoder.decode(bytes, { stream: true })) };
}

/** Parses the bytes of a body. An event that the end of the body truncates is dropped. */
export async function* serverSentEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerSentEvent> {
  let events: ServerSentEvent[] = [];
  const reader = createEventReader((event) => events.push(event));
  for await (const bytes of body) {
    reader.feed(bytes);
    yield* events;
    events = [];
  }
}

/** One event as text. JSON has no line breaks, so one data line is enough. */
export function formatServerSentEvent(type: string, data: unknown, id?: number): string {
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
}
