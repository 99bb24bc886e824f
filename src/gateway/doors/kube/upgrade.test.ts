// Spliced connections forward data in both directions and end with the lease.

import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { anIncident } from '../../../../test/support/an-incident.ts';
import { silentLogger } from '../../../../test/support/silent-logger.ts';
import type { Incident } from '../../../api/incident.ts';
import type { NewEntry } from '../../../audit/entry.ts';
import type { AuditLog } from '../../../audit/log.ts';
import { AuditUnavailable } from '../../../errors.ts';
import { createRegistry } from '../../../observability/metrics.ts';
import { AnchorGuard } from '../../anchor-guard.ts';
import { AttemptTokens } from '../../attempt-tokens.ts';
import { Budgets } from '../../budget.ts';
import { ChangeBook } from '../../changes.ts';
import { Concurrency } from '../../concurrency.ts';
import { Identities } from '../../identity.ts';
import { InFlight } from '../../in-flight.ts';
import { LeaseRegistry } from '../../lease-registry.ts';
import { LiveOutput } from '../../live-output.ts';
import { createGatewayMetrics } from '../../metrics.ts';
import { StatusWriter } from '../../status-writer.ts';
import type { GatewayContext } from '../door.ts';
import { serve } from '../front.ts';
import { createApiServer } from './api-server.ts';
import { kubeDoor } from './door.ts';

const EXEC = '/api/v1/namespaces/patient/pods/x/exec?command=cat&stdin=true';
const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function listening(server: Server): Promise<number> {
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address: AddressInfo | string | null = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

const incident = (spec: object = {}): Incident =>
  anIncident({
    metadata: { name: 'n', namespace: 'patient', uid: 's' },
    spec: { summary: 'x', verify: { checks: [{ name: 'x' }] }, ...spec },
    status: {
      startTime: new Date().toISOString(),
      limits: { timeoutSeconds: 900, maxTurns: 1, maxTokens: 1000, maxCostMilliUSD: 1, attempts: 1 },
      attempts: [
        {
          ...{ number: 1, sessionID: 's', podName: 'p', podUID: 'u', serviceAccountName: 'a', startTime: 'x' },
          class: { name: 'c', generation: 1, mode: 'Repair', model: 'm', summaryModel: 's', maxOutputTokens: 1 },
        },
      ],
    },
  });

/** A token of the right form. The test's own review proves it. */
const claims = Buffer.from(JSON.stringify({ aud: ['oplab-sandbox'], exp: 4_000_000_000 })).toString('base64url');
const sandboxToken = `e30.${claims}.signature`;

/** An in-memory log with the methods that a door needs. */
function memoryLog(entries: NewEntry[], fails: boolean): AuditLog {
  return {
    failure: undefined,
    async append(_, entry) {
      if (fails) throw new AuditUnavailable('disk full');
      entries.push(entry);
      return { seq: entries.length, hash: '', time: '', duplicate: false };
    },
    seal: async () => ({ entries: 0, headHash: '' }),
    head: async () => undefined,
    read: async () => [],
    tail: async () => [],
    sessions: async () => [],
    blob: async () => undefined,
    onAppend: () => () => {},
    close: async () => {},
  };
}

/** The door with an API server that answers upgrades with `answer`. */
async function door(
  answer: (request: IncomingMessage, socket: Duplex) => void,
  options: { auditFails?: boolean } = {},
) {
  const seen: IncomingMessage[] = [];
  const apiServer = createServer();
  apiServer.on('upgrade', (request: IncomingMessage, socket: Duplex) => {
    seen.push(request);
    socket.on('error', () => {});
    answer(request, socket);
  });
  const url = new URL(`http://127.0.0.1:${await listening(apiServer)}`);
  const entries: NewEntry[] = [];
  const log = memoryLog(entries, options.auditFails ?? false);
  const user = {
    username: 'system:serviceaccount:oplab-agents:a',
    extra: { 'authentication.kubernetes.io/pod-name': ['p'], 'authentication.kubernetes.io/pod-uid': ['u'] },
  };
  const answers = {
    create: async () => ({
      metadata: { name: '' },
      status: { authenticated: true, audiences: ['oplab-sandbox'], user },
    }),
    createSubresource: async () => ({
      metadata: { name: '' },
      status: { token: 'attempt-token', expirationTimestamp: '2096-01-01T00:00:00Z' },
    }),
    apply: async () => ({ metadata: { name: '' } }),
    get: async () => ({ metadata: { name: '' } }),
  };
  const budgets = new Budgets(log);
  const leases = new LeaseRegistry({ limitReached: () => undefined });
  leases.incidentChanged({ type: 'added', object: incident() });
  const logger = silentLogger();
  const context: GatewayContext = {
    log,
    logger,
    leases,
    budgets,
    identities: new Identities({ client: answers, namespace: 'oplab-agents' }),
    attemptTokens: new AttemptTokens({ client: answers, namespace: 'oplab-agents' }),
    status: new StatusWriter({
      ...{ client: answers, log, budgets, logger, bucket: { take: async () => {} } },
      changes: new ChangeBook(log),
      guard: new AnchorGuard({ log }),
      incident: () => undefined,
      signal: new AbortController().signal,
    }),
    live: new LiveOutput((text) => text),
    inFlight: new InFlight(),
    metrics: createGatewayMetrics(createRegistry('test')),
  };
  const door = kubeDoor(context, {
    apiServer: createApiServer({ url, tls: () => ({}) }),
    audience: 'oplab-sandbox',
    concurrency: new Concurrency(10),
  });
  const server = createServer();
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    void serve(context, door, { type: 'upgrade', request, socket, head });
  });
  const port = await listening(server);
  return {
    entries,
    seen,
    kill() {
      leases.incidentChanged({ type: 'modified', object: incident({ cancel: true }), previous: incident() });
    },
    /** Requests an upgrade. Resolves with the socket or the refusal. */
    connect(headers: Record<string, string> = { connection: 'Upgrade', upgrade: 'websocket' }) {
      return new Promise<{ socket?: Duplex; response: IncomingMessage }>((resolve, reject) => {
        const request = httpRequest({
          host: '127.0.0.1',
          port,
          path: EXEC,
          headers: { authorization: `Bearer ${sandboxToken}`, ...headers },
        });
        request.on('upgrade', (response, socket, head) => {
          socket.unshift(head);
          socket.on('error', () => {});
          resolve({ socket, response });
        });
        request.on('response', (response) => resolve({ response }));
        request.on('error', reject);
        request.end();
      });
    },
  };
}

const echo = (_: IncomingMessage, socket: Duplex) => {
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\nhello',
  );
  socket.pipe(socket);
};

describe('upgrade', () => {
  it('splices both directions, acts as the attempt, and records command, byte counts and end', async () => {
    const through = await door(echo);
    const { socket, response } = await through.connect({
      connection: 'Upgrade',
      upgrade: 'websocket',
      'impersonate-user': 'admin',
      'sec-websocket-protocol': 'v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.eA',
    });
    expect(response.statusCode).toBe(101);
    expect(response.headers['sec-websocket-protocol']).toBe('v5.channel.k8s.io');
    const [request] = through.seen;
    expect(request?.headers).toMatchObject({
      authorization: 'Bearer attempt-token',
      'sec-websocket-protocol': 'v5.channel.k8s.io',
    });
    expect(request?.headers['impersonate-user']).toBeUndefined();

    const sent = Buffer.alloc(5_000_000, 'x');
    let received = 0;
    socket?.on('data', (chunk: Buffer) => {
      received += chunk.length;
      if (received === sent.length + 5) socket.end();
    });
    socket?.write(sent);
    if (socket !== undefined) await once(socket, 'close');
    await expect.poll(() => through.entries.length).toBe(2);
    expect(through.entries[0]).toMatchObject({
      kind: 'kube_intent',
      content: 'exec pods/exec patient/x: cat',
      params: { protocol: 'websocket' },
    });
    expect(through.entries[1]).toMatchObject({
      kind: 'kube_outcome',
      params: { status: 101, bytesIn: sent.length, bytesOut: sent.length + 5 },
    });
  });

  it('cuts both sides at once when the lease dies, and says so', async () => {
    const through = await door(echo);
    const { socket } = await through.connect();
    socket?.resume();
    through.kill();
    if (socket !== undefined) await once(socket, 'close');
    await expect.poll(() => through.entries.at(-1)?.content).toContain('the lease ended: the Incident is cancelled');
  });

  it("forwards the API server's refusal unchanged", async () => {
    const through = await door(
      (_, socket) =>
        void socket.end(
          'HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"message":"no"}',
        ),
    );
    const { response } = await through.connect();
    expect(response.statusCode).toBe(403);
    response.resume();
    expect(through.entries[1]).toMatchObject({ kind: 'kube_outcome', params: { status: 403 } });
  });

  it('connects nothing that cannot be recorded', async () => {
    const through = await door(echo, { auditFails: true });
    const { response } = await through.connect();
    expect(response.statusCode).toBe(503);
    response.resume();
    expect(through.seen).toEqual([]);
  });

  it('refuses other protocols', async () => {
    const through = await door(echo);
    const { response } = await through.connect({ connection: 'Upgrade', upgrade: 'h2c' });
    expect(response.statusCode).toBe(400);
    response.resume();
  });
});
