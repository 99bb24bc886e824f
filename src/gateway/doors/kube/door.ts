// The kube door: what a request to the API server becomes. Requests, watches and logs; and exec,
// attach, port-forward and cp over WebSocket or SPDY.

import type { IncomingMessage } from 'node:http';
import type { RawDigest } from '../../../audit/raw-digest.ts';
import { InvalidInput, NoLease, NotAllowed } from '../../../errors.ts';
import { discardBody, readBody } from '../../../net/http-answer.ts';
import type { Concurrency } from '../../concurrency.ts';
import { type Rate, RateLimit } from '../../rate-limit.ts';
import type {
  AnswerPlan,
  Caller,
  Door,
  Exchange,
  ForwardedRequest,
  ForwardPlan,
  GatewayContext,
  Outcome,
} from '../door.ts';
import { requestHeaders, requirePlainConnection, responseHeaders, upgradeHeaders } from '../headers.ts';
import type { ApiServer } from './api-server.ts';
import { AUDIT_ID, createAuditID } from './audit-id.ts';
import { readBefore } from './before.ts';
import { type CanonicalBody, canonicalBody } from './body.ts';
import { type CanarySecret, findCanary, findCanaryInBody } from './canary.ts';
import { classify, type KubeRequest } from './classify.ts';
import { findForbidden } from './forbidden.ts';
import type { KubeStatus } from './forbidden-status.ts';
import { type IntentDetails, recordIntent } from './recording.ts';
import { buildRefusal } from './refusal.ts';
import { Rights } from './rights.ts';

/** What the API server takes itself. */
const MAX_BODY = 3 * 1024 * 1024;
/**
 * Until the head of an answer, in milliseconds. The API server gives up on ordinary requests after
 * 60 s itself.
 */
const ANSWER_MS = 75_000;
/** The same for an upgrade: the upstream may have to reach somebody else first. */
const UPGRADE_ANSWER_MS = 60_000;
/**
 * What one session may use, as a constant: client-go sends 50 requests a second at most, with more
 * at once only for discovery, and waits for `Retry-After`.
 */
const REQUESTS: Rate = { unit: 'requests', perSecond: 50, burst: 100 };
const WRITE_BYTES: Rate = { unit: 'bytes of write bodies', perSecond: 5 * 1024 * 1024, burst: 10 * 1024 * 1024 };
/** What a value of a body costs of the bytes above: its work is that of many bytes of text. */
const BYTES_PER_VALUE = 64;
/** The same for a byte of YAML, which is slow to read even if it is refused in the end. */
const BYTES_PER_YAML_BYTE = 16;
/** What clients of the API change to. */
const PROTOCOLS: ReadonlySet<string> = new Set(['websocket', 'spdy/3.1']);

export interface KubeDoorOptions {
  readonly apiServer: ApiServer;
  /** The namespace of the attempts' service accounts. */
  readonly agentsNamespace: string;
  readonly audience: string;
  readonly concurrency: Concurrency;
}

/** The door for the sandbox's kubectl: each request goes on as the attempt's own account. */
export function kubeDoor(gateway: GatewayContext, options: KubeDoorOptions): Door<KubeRequest> {
  const { apiServer, agentsNamespace, audience, concurrency } = options;
  const rights = new Rights({ apiServer, namespace: agentsNamespace });
  const requests = new RateLimit(REQUESTS);
  const writeBytes = new RateLimit(WRITE_BYTES);
  return {
    name: 'kube',
    audience,
    purpose: 'act',
    requiresAudit: true,
    concurrency,
    read: ({ method = 'GET', url = '' }) => classify(method, url),
    plan: async (caller, wanted, exchange) => {
      requests.take(caller.lease.session);
      const token = await gateway.attemptTokens.token(caller.lease);
      return exchange.type === 'upgrade'
        ? await planUpgrade(gateway, apiServer, { caller, wanted, token, request: exchange.request })
        : await planRequest(
            gateway,
            { apiServer, rights, writeBytes },
            { caller, wanted, token, request: exchange.request },
          );
    },
    refusal: (error, request) => {
      const { status, body, headers } = buildRefusal(error, request.url ?? '');
      return { status, body, headers: { ...headers, connection: 'close' } };
    },
    count: (wanted, status) => {
      const { verb = 'unknown', kind = 'refused' } = wanted ?? {};
      gateway.metrics.kubeRequests.inc({ verb, kind, status });
    },
  };
}

interface Admitted {
  readonly caller: Caller;
  readonly wanted: KubeRequest;
  /** Of the attempt's account. */
  readonly token: string;
  readonly request: Exchange['request'];
}

async function planRequest(
  gateway: GatewayContext,
  {
    apiServer,
    rights,
    writeBytes,
  }: { readonly apiServer: ApiServer; readonly rights: Rights; readonly writeBytes: RateLimit },
  admitted: Admitted,
): Promise<ForwardPlan | AnswerPlan> {
  const { caller, wanted, token, request } = admitted;
  const { kind, secrets, follows } = wanted;
  const writes = kind === 'write';
  const { method = 'GET', url: path = '/' } = request;
  requirePlainConnection(request.headers);
  await requireNoCanary(gateway, caller, wanted, request);
  const count = (size: number) => writeBytes.take(caller.lease.session, size);
  const reason = findForbidden(wanted);
  if (reason !== undefined) {
    const unread = hasBody(request) ? await digestBody(gateway, request, count) : undefined;
    await recordRefused(gateway, caller, request, unread, refusedBy(reason));
    throw new NotAllowed(reason);
  }
  if (writes && hasBody(request)) {
    const refusal = await rights.findRefusal(caller.lease, token, method, wanted);
    if (refusal !== undefined) {
      return await refuse(gateway, caller, request, refusal, await digestBody(gateway, request, count));
    }
  }
  const reserve = (size: number) => {
    count(size);
    caller.memory.grow(size);
  };
  const bytes = kind === 'read' ? Buffer.alloc(0) : await readBody(request, MAX_BODY, reserve);
  const { 'content-type': contentType, 'content-encoding': encoding } = request.headers;
  if (writes && contentType?.toLowerCase().includes('yaml') === true) {
    writeBytes.charge(caller.lease.session, bytes.length * (BYTES_PER_YAML_BYTE - 1));
  }
  // Reviews change nothing and are not recorded, so their bodies are forwarded as they came.
  const read: CanonicalBody = writes
    ? canonicalBody(bytes, contentType, encoding, wanted.resource === 'secrets')
    : { type: 'none' };
  if (read.type === 'json') {
    writeBytes.charge(caller.lease.session, Math.max(0, read.values * BYTES_PER_VALUE - bytes.length));
  }
  const body = read.type === 'none' ? (writes ? Buffer.alloc(0) : bytes) : read.bytes;
  const forwarded: ForwardedRequest = {
    method,
    path,
    headers: {
      ...forwardedHeaders(request, writes),
      ...auditID(wanted),
      ...(read.type === 'none' ? {} : { 'content-type': read.contentType }),
      'content-length': body.length,
    },
    body,
  };
  const canary = canaryFor(gateway, caller);
  const touched = canary === undefined || !writes ? undefined : findCanaryInBody(wanted, read, canary);
  if (touched !== undefined) {
    const [message, intent] = await Promise.all([
      gateway.tripwires.trip(caller.lease, 'secret', touched),
      recordIntent(gateway, caller, forwarded),
    ]);
    await intent.outcome(refusedBy(message));
    throw new NoLease(message);
  }
  return {
    upstream: 'the API server',
    writes,
    follows,
    request: forwarded,
    record: async (sent) =>
      writes || secrets
        ? await recordIntent(gateway, caller, sent, {
            readBefore: (asked) => readBefore({ apiServer, token, memory: caller.memory }, asked),
          })
        : undefined,
    open: (sent) => apiServer.request(sent, { token, limits: { head: ANSWER_MS } }),
    headers: (answer) => responseHeaders(answer.headers),
  };
}

/** Without one, the API server makes its own: for reads that have no entry. */
function auditID({ kind, secrets }: KubeRequest): Record<string, string> {
  if (kind === 'write' || secrets) return { [AUDIT_ID]: createAuditID('entry') };
  return kind === 'review' ? { [AUDIT_ID]: createAuditID('review') } : {};
}

/** The canary Secret and the namespaces that hold it; undefined if there are no tripwires. */
function canaryFor({ tripwires, leases }: GatewayContext, { lease }: Caller): CanarySecret | undefined {
  const name = tripwires.secretName;
  return name === undefined ? undefined : { name, namespaces: leases.canaryNamespaces(lease.podUID) };
}

/**
 * Ends the lease of a caller whose request line touches the canary Secret. The request is on record,
 * and is not forwarded.
 * @throws NoLease
 */
async function requireNoCanary(
  gateway: GatewayContext,
  caller: Caller,
  wanted: KubeRequest,
  request: IncomingMessage,
): Promise<void> {
  const canary = canaryFor(gateway, caller);
  const touched = canary === undefined ? undefined : findCanary(wanted, canary);
  if (touched === undefined) return;
  const message = gateway.tripwires.trip(caller.lease, 'secret', touched);
  const unread = hasBody(request) ? await digestBody(gateway, request, () => {}) : undefined;
  await recordRefused(gateway, caller, request, unread, refusedBy(await message));
  throw new NoLease(await message);
}

/** The caller's headers. The outcome is read from the answer to a write, so it must come plain. */
function forwardedHeaders(request: IncomingMessage, writes: boolean) {
  const headers = requestHeaders(request.headers);
  if (!writes) return headers;
  headers['accept-encoding'] = 'identity';
  // Clients read the content type of the answer, whatever they asked for.
  headers.accept = 'application/json';
  return headers;
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** Digests a body as it passes by, without keeping it. */
async function digestBody(
  { log }: Pick<GatewayContext, 'log'>,
  request: IncomingMessage,
  count: (size: number) => void,
): Promise<RawDigest> {
  const digest = log.digester.start();
  await discardBody(request, MAX_BODY, count, digest.update);
  return digest.digest();
}

/** The outcome of a write that no role can allow. */
function refusedBy(reason: string): Outcome {
  return { status: 403, ended: `refused by the gateway: ${reason}` };
}

/**
 * Records a write that is refused whatever its body says.
 * @param unread length and digest of its body. Only these are recorded: parsing it would be work that
 * a caller without rights could cause
 */
async function recordRefused(
  gateway: GatewayContext,
  caller: Caller,
  request: IncomingMessage,
  unread: RawDigest | undefined,
  outcome: Outcome,
): Promise<void> {
  const { method = 'GET', url: path = '/' } = request;
  const forwarded = { method, path, headers: requestHeaders(request.headers), body: Buffer.alloc(0) };
  const details: IntentDetails = unread === undefined ? {} : { unread };
  const intent = await recordIntent(gateway, caller, forwarded, details);
  await intent.outcome(outcome);
}

/** Answers a write for which the attempt's account has no right, as the API server would. */
async function refuse(
  gateway: GatewayContext,
  caller: Caller,
  request: IncomingMessage,
  status: KubeStatus,
  unread: RawDigest,
): Promise<AnswerPlan> {
  const body = Buffer.from(JSON.stringify(status));
  await recordRefused(gateway, caller, request, unread, { status: 403, body });
  return {
    answer: async (response) => {
      response.writeHead(403, { 'content-type': 'application/json', 'content-length': body.length }).end(body);
    },
  };
}

async function planUpgrade(gateway: GatewayContext, apiServer: ApiServer, admitted: Admitted): Promise<ForwardPlan> {
  const { caller, wanted, token, request } = admitted;
  const protocol = (request.headers.upgrade ?? '').toLowerCase();
  if (!PROTOCOLS.has(protocol)) {
    throw new InvalidInput(`upgrade to ${protocol} is not supported: use WebSocket or SPDY/3.1`);
  }
  // Any other upgrade opens a connection that the gateway does not know, such as the console of a
  // virtual machine.
  if (wanted.verb !== 'connect' && wanted.verb !== 'watch') {
    throw new InvalidInput('only exec, attach, portforward, proxy and watch can be upgraded');
  }
  requirePlainConnection(request.headers);
  await requireNoCanary(gateway, caller, wanted, request);
  const { method = 'GET', url: path = '/' } = request;
  const writes = wanted.kind === 'write';
  const forwarded = {
    method,
    path,
    headers: { ...upgradeHeaders(request.headers), ...auditID(wanted) },
    body: Buffer.alloc(0),
  };
  const reason = findForbidden(wanted);
  if (reason !== undefined) {
    await recordRefused(gateway, caller, request, undefined, refusedBy(reason));
    throw new NotAllowed(reason);
  }
  return {
    upstream: 'the API server',
    writes,
    follows: true,
    request: forwarded,
    record: async (sent) =>
      writes || wanted.secrets ? await recordIntent(gateway, caller, sent, { protocol }) : undefined,
    open: (sent) => apiServer.request(sent, { token, limits: { head: UPGRADE_ANSWER_MS }, own: true }),
    headers: (answer) => responseHeaders(answer.headers),
  };
}
