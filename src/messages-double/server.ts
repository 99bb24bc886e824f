// The double on a socket.

import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { errorMessage } from '../errors.ts';
import { type DoubleOptions, MessagesDouble } from './double.ts';
import { errorSteps, type Step } from './steps.ts';
import { MAX_BODY_BYTES } from './validate.ts';

export interface DoubleServerOptions extends DoubleOptions {
  /** Default: any free port. */
  readonly port?: number | undefined;
  /** Default: loopback. */
  readonly host?: string | undefined;
  /** What the ids of requests begin with. */
  readonly requestIdPrefix?: string;
  /** Called with the headers of each request for an answer, valid or not. */
  readonly onRequest?: (headers: IncomingHttpHeaders) => void;
}

export interface DoubleServer {
  readonly port: number;
  readonly url: string;
  close(): Promise<void>;
}

/** Undefined if it is too large. It is read to its end, or the client would not read the answer. */
async function readBody(incoming: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming) {
    const part = Buffer.from(chunk);
    bytes += part.length;
    if (bytes <= MAX_BODY_BYTES) chunks.push(part);
  }
  return bytes > MAX_BODY_BYTES ? undefined : Buffer.concat(chunks);
}

async function perform(steps: readonly Step[], response: ServerResponse): Promise<void> {
  for (const step of steps) {
    if (response.destroyed) return;
    switch (step.do) {
      case 'head':
        response.writeHead(step.status, { ...step.headers });
        response.flushHeaders();
        break;
      case 'write':
        response.write(step.text);
        break;
      case 'stall':
        return;
      case 'cut':
        // What was written before arrives.
        await new Promise((resolve) => setTimeout(resolve, 10));
        response.destroy();
        return;
      case 'end':
        response.end();
        break;
      case 'raw':
        await step.respond(response);
        break;
    }
  }
}

/** Starts a server of the Messages API. `GET /healthz` says that it runs. */
export async function startDouble(options: DoubleServerOptions): Promise<DoubleServer> {
  const double = new MessagesDouble(options);
  let requests = 0;

  async function handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET', url = '/', headers } = incoming;
    const requestId = `${options.requestIdPrefix ?? 'req_double_'}${++requests}`;
    response.setHeader('request-id', requestId);
    if (method === 'GET' && url === '/healthz') {
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"status":"ok"}');
      return;
    }
    try {
      if (method === 'POST') options.onRequest?.(headers);
      const body = await readBody(incoming);
      await perform(await double.respond({ method, url, headers, body, requestId }), response);
    } catch (error) {
      // A defect of the double or of what answers.
      if (response.headersSent) response.destroy();
      else await perform(errorSteps({ type: 'api_error', message: errorMessage(error) }, requestId), response);
    }
  }

  const server = createServer((incoming, response) => {
    response.on('error', () => undefined);
    void handle(incoming, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, options.host ?? '127.0.0.1', resolve);
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
