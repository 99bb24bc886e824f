// The kube door: what a request to the API server becomes. Requests, watches and logs; and exec, attach, port-forward and
// cp over WebSocket or SPDY.

import type { IncomingMessage } from 'node:http';
import { InvalidInput, NotAllowed } from '../../../errors.ts';
import { readBody } from '../../../net/http-answer.ts';
import type { Concurrency } from '../../concurrency.ts';
import type { Caller, Door, Exchange, ForwardPlan, GatewayContext } from '../door.ts';
import { requestHeaders, requirePlainConnection, responseHeaders, upgradeHeaders } from '../headers.ts';
import type { ApiServer } from './api-server.ts';
import { type CanonicalBody, canonicalBody } from './body.ts';
import { classify, type KubeRequest, withBody } from './classify.ts';
import { findForbidden } from './forbidden.ts';
import { recordIntent } from './recording.ts';
import { statusOf } from './refusal.ts';

/** What the API server takes itself. */
const MAX_BODY = 3 * 1024 * 1024;
/** Until the head of an answer, in milliseconds. The API server gives up on ordinary requests after 60 s itself. */
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
        ? await planUpgrade(gateway, apiServer, { caller, wanted, token, request: exchange.request })
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
  const { caller, wanted: asked, token, request } = admitted;
  const { kind, secrets, follows } = asked;
  const writes = kind === 'write';
  const { method = 'GET', url = '/' } = request;
  requirePlainConnection(request.headers);
  const bytes = kind === 'read' ? Buffer.alloc(0) : await readBody(request, MAX_BODY);
  const { 'content-type': contentType, 'content-encoding': encoding } = request.headers;
  const canonical: CanonicalBody = writes
    ? canonicalBody(bytes, contentType, encoding, asked.resource === 'secrets')
    : { type: 'none' };
  const wanted = withBody(asked, canonical);
  const details = { body: canonical, userAgent: request.headers['user-agent'], method };
  await refuseForbidden(gateway, caller, wanted, details);
  // A question to the API changes nothing and is not recorded: it goes on as it came.
  const body = canonical.type === 'none' ? (writes ? Buffer.alloc(0) : bytes) : canonical.bytes;
  return {
    upstream: 'the API server',
    writes,
    follows,
    body,
    record: async () => (writes || secrets ? await recordIntent(gateway, caller, wanted, details) : undefined),
    open: () => {
      const headers = {
        ...forwardedHeaders(request, writes),
        ...(canonical.type === 'none' ? {} : { 'content-type': canonical.contentType }),
        'content-length': body.length,
      };
      return apiServer.request({ method, path: url, headers, token, limits: { head: ANSWER_MS } });
    },
    headers: (answer) => responseHeaders(answer.headers),
  };
}

/** The caller's headers. The outcome is read from the answer to a write, so it must come plain. */
function forwardedHeaders(request: IncomingMessage, writes: boolean) {
  const headers = requestHeaders(request.headers);
  if (!writes) return headers;
  headers['accept-encoding'] = 'identity';
  // Clients read what the content type of the answer says, whatever they asked for.
  headers.accept = 'application/json';
  return headers;
}

/** Refuses what no role can grant, on record. @throws NotAllowed */
async function refuseForbidden(
  gateway: GatewayContext,
  caller: Caller,
  wanted: KubeRequest,
  details: Parameters<typeof recordIntent>[3],
): Promise<void> {
  const reason = findForbidden(wanted);
  if (reason === undefined) return;
  const intent = await recordIntent(gateway, caller, wanted, details);
  await intent.outcome({ status: 403, ended: `refused by the gateway: ${reason}` });
  throw new NotAllowed(reason);
}

async function planUpgrade(gateway: GatewayContext, apiServer: ApiServer, admitted: Admitted): Promise<ForwardPlan> {
  const { caller, wanted, token, request } = admitted;
  const protocol = (request.headers.upgrade ?? '').toLowerCase();
  if (!PROTOCOLS.has(protocol)) {
    throw new InvalidInput(`upgrade to ${protocol} is not supported: use WebSocket or SPDY/3.1`);
  }
  // Elsewhere an upgrade opens a way that nothing here knows, such as the console of a virtual machine.
  if (wanted.verb !== 'connect' && wanted.verb !== 'watch') {
    throw new InvalidInput('only exec, attach, portforward, proxy and watches can change the protocol');
  }
  requirePlainConnection(request.headers);
  const { method = 'GET', url = '/' } = request;
  const writes = wanted.kind === 'write';
  const details = { userAgent: request.headers['user-agent'], protocol };
  await refuseForbidden(gateway, caller, wanted, details);
  return {
    upstream: 'the API server',
    writes,
    follows: true,
    body: Buffer.alloc(0),
    record: async () => (writes || wanted.secrets ? await recordIntent(gateway, caller, wanted, details) : undefined),
    open: () =>
      apiServer.request({
        method,
        path: url,
        headers: upgradeHeaders(request.headers),
        token,
        limits: { head: UPGRADE_ANSWER_MS },
        own: true,
      }),
    headers: (answer) => responseHeaders(answer.headers),
  };
}
