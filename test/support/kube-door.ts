// The kube door over an API server of the test, with one Incident whose lease is alive.

import { once } from 'node:events';
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { buffer, json } from 'node:stream/consumers';
import { afterEach } from 'vitest';
import type { Incident } from '../../src/api/incident.ts';
import type { NewEntry } from '../../src/audit/entry.ts';
import type { AuditLog } from '../../src/audit/log.ts';
import { RawDigester } from '../../src/audit/raw-digest.ts';
import { AuditUnavailable } from '../../src/errors.ts';
import { AnchorGuard } from '../../src/gateway/anchor-guard.ts';
import { AttemptTokens } from '../../src/gateway/attempt-tokens.ts';
import { BodyMemory } from '../../src/gateway/body-memory.ts';
import { Budgets } from '../../src/gateway/budget.ts';
import { ChangeBook } from '../../src/gateway/changes.ts';
import { quotaClass } from '../../src/gateway/class-status.ts';
import { Concurrency } from '../../src/gateway/concurrency.ts';
import { DayQuota } from '../../src/gateway/day-quota.ts';
import type { GatewayContext } from '../../src/gateway/doors/door.ts';
import { serve } from '../../src/gateway/doors/front.ts';
import { createApiServer } from '../../src/gateway/doors/kube/api-server.ts';
import { kubeDoor } from '../../src/gateway/doors/kube/door.ts';
import { Identities } from '../../src/gateway/identity.ts';
import { InFlight } from '../../src/gateway/in-flight.ts';
import { LeaseRegistry } from '../../src/gateway/lease-registry.ts';
import { LiveOutput } from '../../src/gateway/live-output.ts';
import { createGatewayMetrics } from '../../src/gateway/metrics.ts';
import { ModelTroubles } from '../../src/gateway/model-troubles.ts';
import { StatusWriter } from '../../src/gateway/status-writer.ts';
import { Tripwires } from '../../src/gateway/tripwires.ts';
import { createRegistry } from '../../src/observability/metrics.ts';
import { anIncident } from './an-incident.ts';
import { alwaysRunning } from './running-command.ts';
import { silentLogger } from './silent-logger.ts';

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
function logOf(entries: NewEntry[], failsAfter: number): AuditLog {
  return {
    failure: undefined,
    digester: new RawDigester(undefined),
    async append(_, entry) {
      if (entries.length >= failsAfter) throw new AuditUnavailable('disk full');
      entries.push(entry);
      return { seq: entries.length, hash: '', time: '', duplicate: false };
    },
    seal: async () => ({ entries: 0, headHash: '' }),
    head: async () => undefined,
    read: async () => [],
    tail: async () => [],
    sessions: async () => [],
    spendingSince: async () => [],
    blob: async () => undefined,
    onAppend: () => () => {},
    close: async () => {},
  };
}

export interface KubeDoorOptions {
  /** What the API server does with an upgrade. */
  readonly upgrade?: (request: IncomingMessage, socket: Duplex) => void;
  /** How the API server answers a request. It is not told of reviews of rights. */
  readonly answer?: (request: IncomingMessage, response: ServerResponse) => void;
  readonly auditFails?: boolean;
  /** The log takes so many entries. */
  readonly auditFailsAfter?: number;
  /** Answers reviews of the attempt's rights. Default: everything is allowed. */
  readonly review?: (response: ServerResponse) => void;
  /** Answers what the door reads before a write. Default: it is not there. */
  readonly before?: (request: IncomingMessage, response: ServerResponse) => void;
}

/** Starts the door. What the test starts is stopped after it. */
export async function startKubeDoor(options: KubeDoorOptions) {
  const { upgrade, answer } = options;
  const seen: IncomingMessage[] = [];
  const reviews: unknown[] = [];
  const apiServer = createServer();
  apiServer.on('upgrade', (request: IncomingMessage, socket: Duplex) => {
    seen.push(request);
    socket.on('error', () => {});
    upgrade?.(request, socket);
  });
  apiServer.on('request', (request: IncomingMessage, response: ServerResponse) => {
    if (request.url === '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews') {
      void json(request).then((asked) => {
        reviews.push(asked);
        if (options.review !== undefined) options.review(response);
        else response.end('{"status":{"allowed":true}}');
      });
      return;
    }
    if (request.method === 'GET' && request.headers['user-agent'] === 'oplab-gateway') {
      if (options.before !== undefined) options.before(request, response);
      else response.writeHead(404).end('{}');
      return;
    }
    seen.push(request);
    answer?.(request, response);
  });
  const url = new URL(`http://127.0.0.1:${await listening(apiServer)}`);
  const entries: NewEntry[] = [];
  const log = logOf(entries, options.auditFails === true ? 0 : (options.auditFailsAfter ?? Number.POSITIVE_INFINITY));
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
  const registry = createRegistry('test');
  const memory = new BodyMemory();
  const budgets = new Budgets(log);
  const leases = new LeaseRegistry({ limitReached: () => undefined });
  leases.incidentChanged({ type: 'added', object: incident() });
  const logger = silentLogger();
  const commands = alwaysRunning;
  const tripwires = new Tripwires({
    ...{ key: undefined, secretName: '', log, logger },
    onTouch: () => {},
    onRecord: () => {},
  });
  const modelTroubles = new ModelTroubles(() => undefined);
  const context: GatewayContext = {
    log,
    logger,
    leases,
    budgets,
    dayQuota: new DayQuota(),
    quotaClass: (name) => quotaClass(name, undefined),
    identities: new Identities({ client: answers, namespace: 'oplab-agents' }),
    attemptTokens: new AttemptTokens({ client: answers, namespace: 'oplab-agents' }),
    status: new StatusWriter({
      ...{ client: answers, log, budgets, logger, bucket: { take: async () => {} } },
      changes: new ChangeBook(log),
      commands,
      guard: new AnchorGuard({ log }),
      tripwires,
      modelTroubles,
      logFailure: () => undefined,
      incident: () => undefined,
      signal: new AbortController().signal,
    }),
    tripwires,
    modelTroubles,
    live: new LiveOutput((text) => text),
    redact: (text) => text,
    inFlight: new InFlight(),
    conversations: { begin: async () => {}, read: async () => [], append: async () => {} },
    commands,
    memory,
    metrics: createGatewayMetrics(registry),
  };
  const door = kubeDoor(context, {
    apiServer: createApiServer({ url, tls: () => ({}) }),
    agentsNamespace: 'oplab-agents',
    audience: 'oplab-sandbox',
    concurrency: new Concurrency(128),
  });
  const server = createServer((request, response) => {
    void serve(context, door, { type: 'request', request, response });
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    void serve(context, door, { type: 'upgrade', request, socket, head });
  });
  const port = await listening(server);
  return {
    entries,
    seen,
    reviews,
    memory,
    metrics: () => registry.metrics(),
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
    /** Sends a request. Without a length, the body is sent in chunks. */
    async send(method: string, path: string, body: string | Buffer = '', headers: Record<string, string> = {}) {
      const request = httpRequest({
        host: '127.0.0.1',
        port,
        method,
        path,
        headers: { authorization: `Bearer ${sandboxToken}`, 'content-type': 'application/json', ...headers },
      });
      request.end(body);
      const [response]: IncomingMessage[] = await once(request, 'response');
      if (response === undefined) throw new Error('no answer');
      return { status: response.statusCode ?? 0, headers: response.headers, body: await buffer(response) };
    },
  };
}
