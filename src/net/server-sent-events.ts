// Reads a stream of server-sent events, as far as the gateway's read API uses them.

/** One event; comments (heartbeats) come as events of type `comment`, because they show that the line is alive. */
export interface ServerSentEvent {
  readonly type: string;
  readonly id: string | undefined;
  readonly data: string;
}

/** Cuts the bytes of a body into events. An event that the end cuts off is dropped. */
export async function* serverSentEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerSentEvent> {
  const decoder = new TextDecoder();
  let rest = '';
  let type = 'message';
  let id: string | undefined;
  let data: string[] = [];
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true });
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0 || type !== 'message') yield { type, id, data: data.join('\n') };
        type = 'message';
        data = [];
        continue;
      }
      if (line.startsWith(':')) {
        yield { type: 'comment', id, data: line.slice(1).trim() };
        continue;
      }
      const colon = line.indexOf(':');
      const field = colon === -1 ? line : line.slice(0, colon);
      const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (field === 'event') type = value;
      else if (field === 'data') data.push(value);
      else if (field === 'id') id = value;
    }
  }
}
