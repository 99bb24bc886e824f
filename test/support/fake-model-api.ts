// A model API that judges requests as the real one, and does with the connection what each test defines.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { MessagesRequest } from '../../src/messages-double/request.ts';
import { startDouble } from '../../src/messages-double/server.ts';

/** Shaped like the vendor's keys, but worthless. */
export const MODEL_KEY = 'sk-ant-test03-0123456789abcdefghijklmnopqrstuvwxyz';

/** The messages of a request that is valid. */
export const HELLO = [{ role: 'user', content: 'hello' }];

/** What the model API does with a request that is valid. */
export type ModelHandler = (request: {
  body: MessagesRequest;
  headers: IncomingMessage['headers'];
  response: ServerResponse;
}) => void | Promise<void>;

/** A model API on loopback. It answers 500 until a test sets a handler. */
export async function startModelAPI() {
  let handler: ModelHandler = ({ response }) => void response.writeHead(500).end();
  const server = await startDouble({
    // It does not tell which models it has, as most servers that imitate the API.
    displayName: undefined,
    answer: (body, headers) => ({ do: 'raw', respond: (response) => handler({ body, headers, response }) }),
  });
  return {
    url: server.url,
    answer(next: ModelHandler): void {
      handler = next;
    },
    stop: () => server.close(),
  };
}

/** A complete answer in the format of the Messages API. */
export function message(model: string, usage: { input_tokens: number; output_tokens: number }, content = 'hello') {
  return {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model,
    content: [{ type: 'text', text: content }],
    stop_reason: 'end_turn',
    stop_sequence: null,
    usage,
  };
}

/** One server-sent event. */
export function sse(type: string, data: object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`;
}
