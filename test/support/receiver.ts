// A stand-in for a chat or a pager on loopback. It answers as the test says, and remembers what it
// has received.

import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * How the next messages are answered, one after another. When the list is used up, the answer is
 * 200.
 */
export type Reception =
  | number
  | { readonly status: number; readonly retryAfter: string }
  /** Receives the whole message and never answers. */
  | 'hang'
  /** Receives the whole message and closes the connection. */
  | 'cut'
  /** Is not running: the connection is refused. */
  | 'refuse';

export interface ReceivedMessage {
  readonly at: number;
  readonly idempotencyKey: string | undefined;
  readonly body: string;
  /** Whether a person may have read it: true unless it was refused by status. */
  readonly taken: boolean;
}

export class TestReceiver {
  readonly received: ReceivedMessage[] = [];
  /** Called when a whole message has arrived, before the answer. */
  onMessage: () => void = () => {};
  readonly #receptions: Reception[] = [];
  readonly #path: string;
  readonly #server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      const reception = this.#receptions.shift() ?? 200;
      const status = typeof reception === 'number' ? reception : typeof reception === 'object' ? reception.status : 0;
      const taken = status === 0 || status === 504 || (status >= 200 && status < 300);
      const key = request.headers['idempotency-key'];
      this.received.push({ at: Date.now(), idempotencyKey: typeof key === 'string' ? key : undefined, body, taken });
      this.onMessage();
      if (reception === 'cut') request.socket.destroy();
      else if (status !== 0) {
        response.writeHead(status, typeof reception === 'object' ? { 'retry-after': reception.retryAfter } : {});
        response.end(status === 200 ? 'ok' : `Cannot POST ${this.#path}`);
      }
    });
  });
  #port = 0;

  constructor(path = '/services/T000/SECRET') {
    this.#path = path;
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, '127.0.0.1', resolve));
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    this.#port = address.port;
    return this;
  }

  /** The URL for the next message. For `refuse`, no process listens on its port. */
  nextUrl(): URL {
    const refused = this.#receptions[0] === 'refuse';
    if (refused) this.#receptions.shift();
    return new URL(`http://127.0.0.1:${refused ? 1 : this.#port}${this.#path}`);
  }

  meet(...receptions: readonly Reception[]): this {
    this.#receptions.push(...receptions);
    return this;
  }

  /** Messages that a person may have read. */
  get taken(): readonly ReceivedMessage[] {
    return this.received.filter(({ taken }) => taken);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await sleep(0);
  }
}
