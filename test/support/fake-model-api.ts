// A model API whose answers each test defines.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import * as z from 'zod';

/** Shaped like the vendor's keys, but worthless. */
export const MODEL_KEY = 'sk-ant-test03-0123456789abcdefghijklmnopqrstuvwxyz';

/** What the model API does with a request. */
export type ModelHandler = (request: {
  body: z.infer<typeof modelBody>;
  headers: IncomingMessage['headers'];
  response: ServerResponse;
}) => void | Promise<void>;

const modelBody = z.looseObject({ model: z.string(), stream: z.boolean().optional(), max_tokens: z.number() });

/** A model API on loopback. It answers 500 until a test sets a handler. */
export async function startModelAPI() {
  let handler: ModelHandler = ({ response }) => void response.writeHead(500).end();
  const server = createServer((request, response) => {
    // It does not tell which models it has, as most servers that imitate the API.
    if (request.method !== 'POST') {
      response.writeHead(404).end();
      return;
    }
    void text(request).then((body) =>
      handler({ body: modelBody.parse(JSON.parse(body)), headers: request.headers, response }),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    answer(next: ModelHandler): void {
      handler = next;
    },
    async stop(): Promise<void> {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
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
