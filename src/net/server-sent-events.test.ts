// Events survive being cut into pieces at any byte.

import { expect, it } from 'vitest';
import { createEventReader, type ServerSentEvent, serverSentEvents } from './server-sent-events.ts';

const stream = `: hello\n\nevent: entry\nid: 7\ndata: {"text":\ndata: "ü🦊"}\n\r\nevent: sealed\r\ndata: {}\r\n\r\nevent: entry\ndata: cut off`;

async function parse(size: number) {
  const bytes = Buffer.from(stream);
  async function* pieces() {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  }
  const events = [];
  for await (const event of serverSentEvents(pieces())) events.push(event);
  return events;
}

it.each([1, 2, 3, 5, 1000])('in pieces of %i bytes', async (size) => {
  expect(await parse(size)).toEqual([
    { type: 'comment', id: undefined, data: 'hello' },
    { type: 'entry', id: '7', data: '{"text":\n"ü🦊"}' },
    { type: 'sealed', id: '7', data: '{}' },
  ]);
});

it('drops an event that is too long, and reads the next one', () => {
  const events: ServerSentEvent[] = [];
  const reader = createEventReader((event) => events.push(event), 100);
  const feed = (text: string) => reader.feed(Buffer.from(text));
  feed('data: before\n\n');
  feed(`event: long\ndata: ${'x'.repeat(99)}`);
  feed(`${'x'.repeat(50)}\n`);
  feed('\ndata: after\n\n');
  expect(events.map(({ type, data }) => [type, data])).toEqual([
    ['message', 'before'],
    ['message', 'after'],
  ]);
});
