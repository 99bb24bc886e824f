// The kube door: what a request to the API server becomes. Requests, watches and logs; and exec,
// attach, port-forward and cp over WebSocket or SPDY.

import type { IncomingMessage } from 'node:http';
import { InvalidInput } from '../../../errors.ts';
import { readBody } from '../../../net/http-answer.ts';
import type { Concurrency } from '../../concurrency.ts';
import type { Caller, Door, Exchange, ForwardPlan, GatewayContext } from '../door.ts';
import { requestHeaders, responseHeaders, upgradeHeaders } from '../headers.ts';
import type { ApiServer } from './api-server.ts';
import { classify, type KubeRequest } from './classify.ts';
import { recordIntent, requireReadable } from './recording.ts';
import { statusOf } from './refusal.ts';

/** What the API server takes itself. */
const MAX_BODY = 3 * 1024 * 1024;
/**
 * Until the head of an answer, in milliseconds. The API server gives up on ordinary requests after
 * 60 s itself.
 */
const ANSWER_MS = 75_000;
/** The same for an upgrade: the upstream may have to reach somebody else first. */
const UPGRADE_ANSWER_MS = 60_000;
/** What clients of the API change to. */
const PROTOCOLS: ReadonlySet<string> = new Set(['websocket', 'spdy/3.1']);

export interface KubeDoorOptions {
  readonly apiServer: ApiServer;
  readonly audience: string;
  readonly concurrency: Concurrency;
}

/** The door for the sandbox's kubectl: each request goes on as the attempt's own account. */
export function kubeDoor(gateway: GatewayContext, options: KubeDoorOptions): Door<KubeRequest> {
  const { apiServer, audience, concurrency } = options;
  return {
    name: 'kube',
    audience,
    purpose: 'act',
    requiresAudit: true,
    concurrency,
    read: ({ method = 'GET', url = '' }) => classify(method, url),
    plan: async (caller, wanted, exchange) => {
      const token = await gateway.attemptTokens.token(caller.lease);
      return exchange.type === 'upgrade'
        ? planUpgrade(gateway, apiServer, { caller, wanted, token, request: exchange.request })
        : await planRequest(gateway, apiServer, { caller, wanted, token, request: exchange.request });
    },
    refusal: (error, request) => {
      const { status, body, headers } = statusOf(error, request.url ?? '');
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

async function planRequest(gateway: GatewayContext, apiServer: ApiServer, admitted: Admitted): Promise<ForwardPlan> {
  const { caller, wanted, token, request } = admitted;
  const { kind, secrets, follows } = wanted;
  const writes = kind === 'write';
  const { method = 'GET', url: path = '/' } = request;
  const body = kind === 'read' ? Buffer.alloc(0) : await readBody(request, MAX_BODY);
  if (writes && body.length > 0) requireReadable(request.headers['content-type'], request.headers['content-encoding']);
  return {
    upstream: 'the API server',
    writes,
    follows,
    request: {
      method,
      path,
      headers: { ...forwardedHeaders(request, writes), 'content-length': body.length },
      body,
    },
    record: async (forwarded) => (writes || secrets ? await recordIntent(gateway, caller, forwarded) : undefined),
    open: (forwarded) => apiServer.request(forwarded, { token, limits: { head: ANSWER_MS } }),
    headers: (answer) => responseHeaders(answer.headers),
  };
}

/** The caller's headers. The outcome is read from the answer to a write, so it must come plain. */
function forwardedHeaders(request: IncomingMessage, writes: boolean) {
  const headers = requestHeaders(request.headers);
  if (!writes) return headers;
  headers['accept-encoding'] = 'identity';
  // Clients read what the content type of the answer says.
  if (/protobuf|cbor/i.test(headers.accept?.toString() ?? '')) headers.accept = 'application/json';
  return headers;
}

function planUpgrade(gateway: GatewayContext, apiServer: ApiServer, admitted: Admitted): ForwardPlan {
  const { caller, wanted, token, request } = admitted;
  const protocol = (request.headers.upgrade ?? '').toLowerCase();
  if (!PROTOCOLS.has(protocol)) {
    throw new InvalidInput(`upgrade to ${protocol} is not supported: use WebSocket or SPDY/3.1`);
  }
  const { method = 'GET', url: path = '/' } = request;
  const writes = wanted.kind === 'write';
  return {
    upstream: 'the API server',
    writes,
    follows: true,
    request: { method, path, headers: upgradeHeaders(request.headers), body: Buffer.alloc(0) },
    record: async (forwarded) =>
      writes || wanted.secrets ? await recordIntent(gateway, caller, forwarded, protocol) : undefined,
    open: (forwarded) => apiServer.request(forwarded, { token, limits: { head: UPGRADE_ANSWER_MS }, own: true }),
    headers: (answer) => responseHeaders(answer.headers),
  };
}
