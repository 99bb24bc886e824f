// The front of the doors alone: whom it admits, what it reports, and that it always releases what
// it took.

import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { InvalidInput, NotAllowed, Unauthenticated } from '../../errors.ts';
import { readBody } from '../../net/http-answer.ts';
import { openRequest } from '../../net/request.ts';
import { BodyMemory } from '../body-memory.ts';
import { Concurrency } from '../concurrency.ts';
import { InFlight } from '../in-flight.ts';
import type { Lease, LeaseDecision } from '../leases.ts';
import type { Explanation } from '../running-commands.ts';
import type {
  AnswerPlan,
  Caller,
  Door,
  ForwardedRequest,
  ForwardPlan,
  GatewayContext,
  Intent,
  Outcome,
} from './door.ts';
import { serve } from './front.ts';

const servers: Server[] = [];

async function listening(server: Server): Promise<number> {
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

const identity = { podUID: 'u', podName: 'p', serviceAccount: 'a', audience: 'test' };
const lease = { session: 's', attempt: 1, serviceAccountName: 'a' } as unknown as Lease;

let decision: LeaseDecision;
let prove: ReturnType<typeof vi.fn>;
let failure: string | undefined;
let alive: boolean;
let endLease: () => void;
const whenOver = vi.fn<(seq: number, onOver: () => void) => () => void>();
const refused = vi.fn();
const logged = vi.fn();
const appended: { kind: string; params: unknown }[] = [];
const reached = vi.fn();
let inFlight: InFlight;
let memory: BodyMemory;

function gateway(): GatewayContext {
  const budget = { reach: reached, isLimitReported: false };
  const context: Partial<Record<keyof GatewayContext, unknown>> = {
    identities: { prove },
    leases: {
      attempts: () => [{ session: 's', attempt: 1 }],
      decide: () => decision,
      hold: (_identity: unknown, _purpose: unknown, cut: (message: string) => void) => {
        endLease = () => cut('the Incident is cancelled');
        return { alive: () => alive, release: () => {} };
      },
    },
    log: {
      get failure() {
        return failure;
      },
      append: async (_: unknown, entry: { kind: string; params: unknown }) => {
        appended.push(entry);
        return { seq: appended.length, duplicate: false };
      },
    },
    budgets: { of: async () => budget },
    status: { touch: () => {} },
    tripwires: {
      findToken: (text: string, [attempt]: { session: string; attempt: number }[]) =>
        text.includes('canary-token') ? attempt : undefined,
      trip: async (_: unknown, tripwire: string, what: string) => `${tripwire}: ${what}`,
    },
    inFlight,
    commands: { whenOver: (_session: string, seq: number, onOver: () => void) => whenOver(seq, onOver) },
    memory,
    metrics: { refused: { inc: refused }, ackSeconds: { observe: () => {} } },
    logger: { error: logged, warn: logged, debug: () => {} },
  };
  return context as unknown as GatewayContext;
}

beforeEach(() => {
  decision = { state: 'live', lease };
  prove = vi.fn(async () => identity);
  failure = undefined;
  alive = true;
  appended.length = 0;
  inFlight = new InFlight();
  memory = new BodyMemory({ total: 4096, share: 1024, alone: 1024 });
  for (const mock of [refused, logged, reached]) mock.mockClear();
  whenOver.mockReset().mockReturnValue(() => {});
});

const counted = vi.fn();

interface Options {
  plan?: (request: IncomingMessage, caller: Caller) => Promise<ForwardPlan | AnswerPlan>;
  read?: () => string;
  purpose?: 'act' | 'report';
  concurrency?: Concurrency;
  refusal?: () => never;
}

/** A door of the test behind its own server. */
async function open(options: Options = {}) {
  counted.mockClear();
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
    count: counted,
  };
  const context = gateway();
  const server = createServer((request, response) => {
    void serve(context, door, { type: 'request', request, response });
  });
  server.on('upgrade', (request, socket, head) => {
    void serve(context, door, { type: 'upgrade', request, socket, head });
  });
  const port = await listening(server);
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
  const isIdle = async () => memory.total === 0 && concurrency.total === 0 && (await inFlight.drained('s', 1000));
  return { ask, upgrade, hangUp, isIdle };
}

/** A plan to forward a request, which notes what is recorded. */
async function upstream(
  answer: (request: IncomingMessage) => { status: number; body: string } | undefined,
  more: {
    record?: () => Promise<void>;
    before?: () => Promise<void>;
    upgrades?: boolean;
    silent?: boolean;
    explanation?: Explanation;
  } = {},
) {
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
  const port = await listening(server);
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
}

it('serves an admitted caller, counts it once, and frees its place', async () => {
  const { ask, isIdle } = await open();
  expect(await ask()).toEqual({ status: 200, body: 'answered' });
  expect(counted.mock.calls).toEqual([['wanted', 200]]);
  expect(await isIdle()).toBe(true);
  expect(prove).toHaveBeenCalledTimes(1);
});

it.each([
  ['who cannot prove itself', () => prove.mockRejectedValue(new Unauthenticated('no')), 'OPLAB_UNAUTHENTICATED'],
  ['whose lease has ended', () => (decision = { state: 'dead', message: 'no' }), 'OPLAB_NO_LEASE'],
  ['whose lease is not there yet', () => (decision = { state: 'pending', message: 'no' }), 'OPLAB_NO_LEASE_YET'],
  ['while nothing can be recorded', () => (failure = 'disk full'), 'OPLAB_AUDIT_UNAVAILABLE'],
])('refuses a caller %s, for requests and upgrades alike', async (_, arrange, reason) => {
  arrange();
  const { ask, upgrade, isIdle } = await open();
  for (const how of [ask, upgrade]) {
    refused.mockClear();
    counted.mockClear();
    expect((await how()).status).toBeGreaterThanOrEqual(400);
    expect(refused.mock.calls).toEqual([[{ door: 'kube', reason }]]);
    expect(counted).toHaveBeenCalledTimes(1);
    expect(counted.mock.calls[0]?.[0]).toBeUndefined();
  }
  expect(await isIdle()).toBe(true);
});

it('reports a reached limit once, and authenticates its caller once', async () => {
  decision = { state: 'reached', lease, limit: 'turns' };
  const { ask } = await open();
  expect((await ask()).status).toBe(403);
  expect(prove).toHaveBeenCalledTimes(1);
  await ask();
  expect(appended).toMatchObject([{ kind: 'lifecycle', params: { limit: 'turns' } }]);
  expect(reached).toHaveBeenCalledTimes(1);
});

it('lets a caller whose limit is reached report what it did', async () => {
  decision = { state: 'reached', lease, limit: 'turns' };
  const { ask } = await open({ purpose: 'report' });
  expect((await ask()).status).toBe(200);
  expect(appended).toEqual([]);
});

it('refuses too many concurrent requests, and accepts the next one', async () => {
  const concurrency = new Concurrency(1);
  const leave = concurrency.enter('s');
  const { ask, isIdle } = await open({ concurrency });
  expect((await ask()).status).toBe(403);
  expect(refused).toHaveBeenLastCalledWith({ door: 'kube', reason: 'OPLAB_TOO_BUSY' });
  leave();
  expect((await ask()).status).toBe(200);
  expect(await isIdle()).toBe(true);
});

it.each([
  ['announced', { 'content-length': '1200' }],
  ['sent in chunks', { 'transfer-encoding': 'chunked' }],
])('refuses a body for which its caller has no memory left, if it is %s', async (_, headers) => {
  const { ask, isIdle } = await open({
    concurrency: new Concurrency(2),
    plan: async (request, caller) => {
      await readBody(request, 10_000, caller.memory.grow);
      return { answer: async (response) => void response.end(`${memory.total}`) };
    },
  });
  const other = memory.hold('other test');
  other.grow(1024);
  expect(await ask({}, 'x'.repeat(1000))).toEqual({ status: 200, body: '2024' });
  expect(await ask(headers, 'x'.repeat(1200))).toEqual({ status: 403, body: expect.stringContaining('at most 1024') });
  expect(refused.mock.calls).toEqual([[{ door: 'kube', reason: 'OPLAB_OVER_QUOTA' }]]);
  other.release();
  expect(await isIdle()).toBe(true);
});

it.each(['request', 'upgrade'] as const)('keeps a failure of its own out of the answer to a %s', async (type) => {
  const { ask, upgrade, isIdle } = await open({
    plan: async () => {
      throw new Error('a secret of the gateway');
    },
  });
  expect(await (type === 'request' ? ask() : upgrade())).toEqual({ status: 500, body: 'failed' });
  expect(logged).toHaveBeenCalledTimes(1);
  expect(refused.mock.calls).toEqual([[{ door: 'kube', reason: 'OPLAB_INTERNAL' }]]);
  expect(counted.mock.calls).toEqual([['wanted', 500]]);
  expect(await isIdle()).toBe(true);
});

it.each(['request', 'upgrade'] as const)('closes the connection of a %s that it cannot even refuse', async (type) => {
  const { ask, upgrade, isIdle } = await open({
    read: () => {
      throw new InvalidInput('not a path');
    },
    refusal: () => {
      throw new Error('a defect of the door');
    },
  });
  await expect(type === 'request' ? ask() : upgrade()).rejects.toThrow('socket hang up');
  expect(logged).toHaveBeenCalledTimes(1);
  expect(counted).toHaveBeenCalledTimes(1);
  expect(await isIdle()).toBe(true);
});

it('counts a request that it could not parse', async () => {
  const { ask } = await open({
    read: () => {
      throw new InvalidInput('not a path');
    },
  });
  expect(await ask()).toEqual({ status: 403, body: 'not a path' });
  expect(counted.mock.calls).toEqual([[undefined, 403]]);
});

it('records the intent before anything is sent, and the outcome before the answer ends', async () => {
  const { plan, steps } = await upstream(() => ({ status: 201, body: 'made' }));
  const { ask } = await open({ plan });
  expect(await ask()).toEqual({ status: 201, body: 'made' });
  expect(steps).toEqual(['recorded', 'sent', { status: 201, body: Buffer.from('made') }]);
});

it.each([
  ['for the record', 2.2 * 1024 * 1024, 64 * 1024 * 1024],
  ['for the memory of its caller', 500_000, 100_000],
])('keeps the beginning of an answer that is too large %s, and sends all of it', async (_, size, share) => {
  memory = new BodyMemory({ total: share, share, alone: share });
  const whole = 'x'.repeat(size);
  const { plan, steps } = await upstream(() => ({ status: 200, body: whole }));
  const { ask, isIdle } = await open({ plan });
  const { status, body } = await ask();
  expect(status).toBe(200);
  expect(body === whole).toBe(true);
  expect(steps).toEqual(['recorded', 'sent', { status: 200, isPartial: true, body: expect.any(Buffer) }]);
  const outcome = steps.at(-1);
  const kept = typeof outcome === 'object' ? (outcome.body?.length ?? 0) : 0;
  expect(kept).toBeGreaterThan(0);
  expect(kept).toBeLessThan(Math.min(share, 2 * 1024 * 1024) + 128 * 1024);
  expect(await isIdle()).toBe(true);
});

it.each(['request', 'upgrade'] as const)('records of a %s the very value that it sends', async (type) => {
  const { plan, forwarded } = await upstream(() => ({ status: 201, body: 'made' }), { upgrades: type === 'upgrade' });
  const { ask, upgrade } = await open({ plan });
  await (type === 'upgrade' ? upgrade() : ask());
  expect(forwarded).toHaveLength(2);
  expect(forwarded[1]).toBe(forwarded[0]);
});

it('sends method, path, headers and body as they are recorded', async () => {
  const seen: unknown[] = [];
  const { plan } = await upstream(({ method, url, headers }) => {
    seen.push(method, url, headers['x-header'], headers['content-length'] ?? headers['transfer-encoding']);
    return { status: 201, body: 'made' };
  });
  const { ask } = await open({ plan });
  await ask();
  expect(seen).toEqual(['POST', '/path', 'h', '4']);
});

it('sends nothing when the intent cannot be recorded', async () => {
  const { plan, steps } = await upstream(() => ({ status: 201, body: 'made' }), {
    record: async () => {
      throw new NotAllowed('cannot be recorded');
    },
  });
  const { ask, isIdle } = await open({ plan });
  expect(await ask()).toEqual({ status: 403, body: 'cannot be recorded' });
  expect(steps).toEqual(['recorded']);
  expect(await isIdle()).toBe(true);
});

it('sends nothing when the lease ends while the intent is recorded, and says so', async () => {
  const { plan, steps } = await upstream(() => ({ status: 201, body: 'made' }), {
    record: async () => {
      alive = false;
    },
  });
  const { ask } = await open({ plan });
  expect((await ask()).status).toBe(403);
  expect(steps).toEqual(['recorded', { status: null, ended: expect.stringContaining('whether it was done') }]);
});

it('records the outcome as not known if no answer arrived', async () => {
  const { plan, steps } = await upstream(() => undefined);
  const { ask, isIdle } = await open({ plan });
  expect((await ask()).status).toBe(403);
  expect(steps).toEqual([
    'recorded',
    'sent',
    { status: null, ended: expect.stringContaining('whether it was done is not known') },
  ]);
  expect(await isIdle()).toBe(true);
});

it('refuses an upgrade at a door that answers itself', async () => {
  const { upgrade } = await open();
  expect(await upgrade()).toMatchObject({ status: 403, body: 'this door does not support upgrades' });
});

it('records an upgrade before and after, and counts it once', async () => {
  const { plan, steps } = await upstream(() => undefined, { upgrades: true });
  const { upgrade, isIdle } = await open({ plan });
  expect((await upgrade()).status).toBe(101);
  await vi.waitFor(async () => expect(await isIdle()).toBe(true));
  expect(steps).toEqual(['recorded', 'sent', expect.objectContaining({ status: 101 })]);
  expect(counted.mock.calls).toEqual([['wanted', 101]]);
});

it('sends no upgrade when the lease ends while the intent is recorded, and says so', async () => {
  const { plan, steps } = await upstream(() => undefined, {
    upgrades: true,
    record: async () => {
      alive = false;
    },
  });
  const { upgrade, isIdle } = await open({ plan });
  expect((await upgrade()).status).toBe(403);
  expect(steps).toEqual(['recorded', { status: null, ended: expect.stringContaining('whether it was done') }]);
  expect(await isIdle()).toBe(true);
});

it('waits for the answer to an upgrade as long as its plan says', async () => {
  const { plan, steps } = await upstream(() => undefined, { upgrades: true, silent: true });
  const { upgrade } = await open({ plan });
  const { status, body } = await upgrade();
  expect({ status, body }).toEqual({ status: 403, body: expect.stringContaining('no answer within 100 ms') });
  expect(steps.at(-1)).toMatchObject({ status: null });
});

it.each(['request', 'upgrade'] as const)('sends nothing when the caller of a %s hangs up meanwhile', async (type) => {
  let recording = () => {};
  const began = new Promise<void>((resolve) => (recording = resolve));
  let go = () => {};
  const gate = new Promise<void>((resolve) => (go = resolve));
  const { plan, steps } = await upstream(() => ({ status: 201, body: 'made' }), {
    upgrades: type === 'upgrade',
    record: async () => {
      recording();
      await gate;
    },
  });
  const { hangUp, isIdle } = await open({ plan });
  const hung = hangUp(type);
  await began;
  await hung();
  go();
  await vi.waitFor(async () => expect(await isIdle()).toBe(true));
  expect(steps).toEqual(['recorded', { status: null, ended: expect.stringContaining('the caller hung up') }]);
});

describe('a write that was sent', () => {
  /** An upstream that has done the write, and answers when told to. */
  async function slowUpstream() {
    let answer = () => {};
    const gate = new Promise<void>((resolve) => (answer = resolve));
    let arrive = () => {};
    const arrived = new Promise<void>((resolve) => (arrive = resolve));
    const made = await upstream(() => ({ status: 201, body: 'made' }), {
      before: async () => {
        arrive();
        await gate;
      },
    });
    return { ...made, arrived, answer };
  }

  it('is recorded with its answer, although its caller has hung up', async () => {
    const { plan, steps, arrived, answer } = await slowUpstream();
    const { hangUp, isIdle } = await open({ plan });
    const hung = hangUp('request');
    await arrived;
    await hung();
    answer();
    await vi.waitFor(async () => expect(await isIdle()).toBe(true));
    expect(steps.at(-1)).toEqual({ status: 201, body: Buffer.from('made'), ended: 'the caller hung up' });
  });

  it('is recorded with its answer, which its caller does not get after the lease has ended', async () => {
    const { plan, steps, arrived, answer } = await slowUpstream();
    const { ask, isIdle } = await open({ plan });
    const asked = ask().catch(() => 'cut');
    await arrived;
    endLease();
    // The caller is cut off at once, before there is an answer.
    expect(await asked).toBe('cut');
    answer();
    await vi.waitFor(async () => expect(await isIdle()).toBe(true));
    expect(steps.at(-1)).toMatchObject({ status: 201, ended: expect.stringContaining('the lease ended') });
  });
});

it.each(['request', 'upgrade'] as const)('does not send a %s that no command explains, and says so', async (type) => {
  const { plan, steps } = await upstream(() => ({ status: 201, body: 'made' }), {
    explanation: { unexplained: true },
    upgrades: type === 'upgrade',
  });
  const { ask, upgrade, isIdle } = await open({ plan });
  const answer = await (type === 'upgrade' ? upgrade() : ask());
  expect(answer).toMatchObject({ status: 403, body: expect.stringContaining('no command of the attempt was running') });
  expect(steps).toEqual([
    'recorded',
    { status: 403, ended: 'refused by the gateway: no command of the attempt was running' },
  ]);
  expect(refused).toHaveBeenCalledWith({ door: 'kube', reason: 'OPLAB_NO_LEASE' });
  expect(await isIdle()).toBe(true);
});

it('cuts a connection that is still open when its command is over', async () => {
  const withdrawn = vi.fn();
  whenOver.mockImplementation((_, onOver) => {
    setTimeout(onOver, 50);
    return withdrawn;
  });
  const { plan, steps } = await upstream(() => undefined, { upgrades: true, silent: true });
  const { upgrade, isIdle } = await open({ plan });
  await upgrade();
  expect(whenOver).toHaveBeenCalledWith(1, expect.any(Function));
  expect(steps.at(-1)).toMatchObject({ ended: expect.stringContaining('command 1 has ended') });
  await vi.waitFor(async () => expect(await isIdle()).toBe(true));
  expect(withdrawn).toHaveBeenCalledTimes(1);
});

describe('a canary token', () => {
  it.each([
    ['as the bearer token', { authorization: 'Bearer canary-token' }],
    ['in another header beside a valid token', { authorization: 'Bearer valid', 'x-api-key': 'canary-token' }],
    ['as a password', { authorization: `Basic ${Buffer.from('admin:canary-token').toString('base64')}` }],
  ])('ends the lease %s, before the caller is identified', async (_way, headers) => {
    const { ask } = await open();
    const answer = await ask(headers);
    expect(answer).toMatchObject({ status: 403, body: expect.stringContaining('token: the token of a cluster admin') });
    expect(prove).not.toHaveBeenCalled();
  });
});
