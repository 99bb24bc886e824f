// The front of the doors in front of a door and an upstream of the test.

import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, vi } from 'vitest';
import { Unauthenticated } from '../../src/errors.ts';
import { BodyMemory } from '../../src/gateway/body-memory.ts';
import { Concurrency } from '../../src/gateway/concurrency.ts';
import type {
  AnswerPlan,
  Caller,
  Door,
  ForwardedRequest,
  ForwardPlan,
  GatewayContext,
  Intent,
  Outcome,
} from '../../src/gateway/doors/door.ts';
import { serve } from '../../src/gateway/doors/front.ts';
import { InFlight } from '../../src/gateway/in-flight.ts';
import type { Lease, LeaseDecision } from '../../src/gateway/leases.ts';
import type { Explanation } from '../../src/gateway/running-commands.ts';
import { openRequest } from '../../src/net/request.ts';

const identity = { podUID: 'u', podName: 'p', serviceAccount: 'a', audience: 'test' };
export const lease = { session: 's', attempt: 1, serviceAccountName: 'a' } as unknown as Lease;

interface DoorOptions {
  plan?: (request: IncomingMessage, caller: Caller) => Promise<ForwardPlan | AnswerPlan>;
  read?: () => string;
  purpose?: 'act' | 'report';
  concurrency?: Concurrency;
  refusal?: () => never;
}

interface UpstreamOptions {
  record?: () => Promise<void>;
  before?: () => Promise<void>;
  upgrades?: boolean;
  silent?: boolean;
  explanation?: Explanation;
}

/** A new state for each test of the file. */
export function useFront(): FrontHarness {
  const front = new FrontHarness();
  beforeEach(() => front.reset());
  afterEach(() => front.close());
  return front;
}

class FrontHarness {
  decision: LeaseDecision = { state: 'live', lease };
  /** Why nothing can be recorded. */
  failure: string | undefined;
  alive = true;
  endLease: () => void = () => {};
  inFlight = new InFlight();
  memory = new BodyMemory({ total: 4096, share: 1024, alone: 1024 });
  readonly prove = vi.fn(async () => identity);
  readonly whenOver = vi.fn<(seq: number, onOver: () => void) => () => void>();
  readonly refused = vi.fn();
  readonly logged = vi.fn();
  readonly reached = vi.fn();
  readonly counted = vi.fn();
  readonly appended: { kind: string; params: unknown }[] = [];
  readonly #servers: Server[] = [];

  reset(): void {
    this.decision = { state: 'live', lease };
    this.failure = undefined;
    this.alive = true;
    this.inFlight = new InFlight();
    this.memory = new BodyMemory({ total: 4096, share: 1024, alone: 1024 });
    this.appended.length = 0;
    this.prove.mockReset().mockResolvedValue(identity);
    this.whenOver.mockReset().mockReturnValue(() => {});
    for (const mock of [this.refused, this.logged, this.reached]) mock.mockClear();
  }

  close(): void {
    for (const server of this.#servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
  }

  /** A door of the test behind its own server. */
  open = async (options: DoorOptions = {}) => {
    this.counted.mockClear();
    const concurrency = options.concurrency ?? new Concurrency(1);
    const door: Door<string> = {
      name: 'kube',
      audience: 'test',
      purpose: options.purpose ?? 'act',
      requiresAudit: true,
      concurrency,
      read: options.read ?? (() => 'wanted'),
      plan: async (caller, _, { request }) =>
        (await options.plan?.(request, caller)) ?? { answer: async (response) => void response.end('answered') },
      refusal: (error) =>
        options.refusal?.() ?? {
          status: error instanceof Unauthenticated ? 401 : error instanceof Error && 'code' in error ? 403 : 500,
          headers: { connection: 'close' },
          body: error instanceof Error && 'code' in error ? error.message : 'failed',
        },
      count: this.counted,
    };
    const context = this.#context();
    const server = createServer((request, response) => {
      void serve(context, door, { type: 'request', request, response });
    });
    server.on('upgrade', (request, socket, head) => {
      void serve(context, door, { type: 'upgrade', request, socket, head });
    });
    const port = await this.#listen(server);
    const ask = (headers: Record<string, string> = {}, sent = '') =>
      new Promise<{ status: number; body: string }>((resolve, reject) => {
        const request = httpRequest({ host: '127.0.0.1', port, headers, method: sent === '' ? 'GET' : 'POST' });
        request.on('response', async (response) => {
          let body = '';
          try {
            for await (const chunk of response) body += chunk;
          } catch {
            body += ' (cut)';
          }
          resolve({ status: response.statusCode ?? 0, body });
        });
        request.on('upgrade', (response, socket) => {
          socket.destroy();
          resolve({ status: response.statusCode ?? 0, body: '' });
        });
        request.on('error', reject);
        request.end(sent);
      });
    const upgrade = () => ask({ connection: 'Upgrade', upgrade: 'websocket' });
    /** Sends a request. Returns a function that hangs up and resolves once the server has seen it. */
    const hangUp = (type: 'request' | 'upgrade') => {
      const connected = once(server, 'connection');
      const headers = type === 'upgrade' ? { connection: 'Upgrade', upgrade: 'websocket' } : {};
      const request = httpRequest({ host: '127.0.0.1', port, headers });
      request.on('error', () => undefined);
      request.end();
      return async () => {
        const [socket] = await connected;
        const closed = once(socket, 'close');
        // Nobody reads from the socket of an upgrade yet, so its end is not noticed: end it here.
        if (type === 'upgrade') socket.destroy();
        else request.destroy();
        await closed;
      };
    };
    /** All places are free, and nothing delays the seal. */
    const isIdle = async () =>
      this.memory.total === 0 && concurrency.total === 0 && (await this.inFlight.drained('s', 1000));
    return { ask, upgrade, hangUp, isIdle };
  };

  /** A plan to forward a request, which notes what is recorded. */
  upstream = async (
    answer: (request: IncomingMessage) => { status: number; body: string } | undefined,
    more: UpstreamOptions = {},
  ) => {
    const steps: (string | Outcome)[] = [];
    const server = createServer(async (request, response) => {
      steps.push('sent');
      await more.before?.();
      const said = answer(request);
      if (said === undefined) response.destroy();
      else response.writeHead(said.status).end(said.body);
    });
    server.on('upgrade', (_, socket) => {
      steps.push('sent');
      if (more.silent === true) return;
      socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    });
    const port = await this.#listen(server);
    const explanation = more.explanation ?? { commandSeq: 1 };
    const intent: Intent = { explanation, outcome: async (outcome) => void steps.push(outcome) };
    const isUpgrade = more.upgrades === true;
    const forwarded: ForwardedRequest[] = [];
    const plan = async (): Promise<ForwardPlan> => ({
      upstream: 'the upstream',
      writes: true,
      follows: false,
      request: {
        method: isUpgrade ? 'GET' : 'POST',
        path: '/path',
        headers: isUpgrade ? { connection: 'Upgrade', upgrade: 'websocket' } : { 'x-header': 'h' },
        body: Buffer.from('body'),
      },
      record: async (request) => {
        forwarded.push(request);
        steps.push('recorded');
        await more.record?.();
        return intent;
      },
      open: (request) => {
        forwarded.push(request);
        const { method, path, headers } = request;
        const limits = { head: more.silent === true ? 100 : 5000 };
        return openRequest({ url: new URL(`http://127.0.0.1:${port}/`), method, path, headers, limits });
      },
      headers: () => ({}),
    });
    return { plan, steps, forwarded };
  };

  /** A gateway whose parts are of the test. */
  #context(): GatewayContext {
    const failure = () => this.failure;
    const budget = { reach: this.reached, isLimitReported: false };
    const context: Partial<Record<keyof GatewayContext, unknown>> = {
      identities: { prove: this.prove },
      leases: {
        attempts: () => [{ session: 's', attempt: 1 }],
        decide: () => this.decision,
        hold: (_identity: unknown, _purpose: unknown, cut: (message: string) => void) => {
          this.endLease = () => cut('the Incident is cancelled');
          return { alive: () => this.alive, release: () => {} };
        },
      },
      log: {
        get failure() {
          return failure();
        },
        append: async (_: unknown, entry: { kind: string; params: unknown }) => {
          this.appended.push(entry);
          return { seq: this.appended.length, duplicate: false };
        },
      },
      budgets: { of: async () => budget },
      status: { touch: () => {} },
      tripwires: {
        findToken: (text: string, [attempt]: { session: string; attempt: number }[]) =>
          text.includes('canary-token') ? attempt : undefined,
        trip: async (_: unknown, tripwire: string, what: string) => `${tripwire}: ${what}`,
      },
      inFlight: this.inFlight,
      commands: { whenOver: (_session: string, seq: number, onOver: () => void) => this.whenOver(seq, onOver) },
      memory: this.memory,
      metrics: { refused: { inc: this.refused }, ackSeconds: { observe: () => {} } },
      logger: { error: this.logged, warn: this.logged, debug: () => {} },
    };
    return context as unknown as GatewayContext;
  }

  async #listen(server: Server): Promise<number> {
    this.#servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address: AddressInfo | string | null = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    return address.port;
  }
}
