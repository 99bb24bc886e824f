// The kube door for ordinary requests and for answers that go on: watch, logs -f, and whatever a proxy subresource streams.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { LimitReached, OplabError } from '../../../errors.ts';
import { readBody } from '../../../net/http-answer.ts';
import type { Concurrency } from '../../concurrency.ts';
import { admit, type Caller, type GatewayContext, requireAudit } from '../door.ts';
import { requestHeaders, responseHeaders } from '../headers.ts';
import { reportLimitReached } from '../limit-reached.ts';
import { pass } from '../passage.ts';
import type { ApiServer } from './api-server.ts';
import { classify, type KubeRequest, withBody } from './classify.ts';
import { recordIntent, requireReadable } from './recording.ts';
import { statusOf } from './refusal.ts';

/** What the API server takes itself. */
const MAX_BODY = 3 * 1024 * 1024;
/** Until the head of an answer, in milliseconds. The API server gives up on ordinary requests after 60 s itself. */
const ANSWER_MS = 75_000;

export interface KubeDoor {
  readonly apiServer: ApiServer;
  readonly audience: string;
  readonly concurrency: Concurrency;
}

/** Proves the caller of a kube request and reads what it wants. A spent limit is reported on the way. */
export async function admitKube(
  doors: GatewayContext,
  door: KubeDoor,
  request: IncomingMessage,
): Promise<{ caller: Caller; wanted: KubeRequest; token: string }> {
  const wanted = classify(request.method ?? 'GET', request.url ?? '');
  let caller: Caller;
  try {
    caller = await admit(doors, request, door.audience, 'work');
  } catch (error) {
    if (error instanceof LimitReached) {
      const identity = await doors.identities.prove(request.headers.authorization, door.audience);
      const decision = doors.leases.decide(identity);
      if (decision.state === 'reached') await reportLimitReached(doors, decision.lease, error);
    }
    throw error;
  }
  // Reads stop as well: what the agent sees next could not be put on record either.
  requireAudit(doors.log);
  return { caller, wanted, token: await doors.attemptTokens.token(caller.lease) };
}

/** Answers one request. Never throws. */
export async function forward(
  doors: GatewayContext,
  door: KubeDoor,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let leave = () => {};
  let done = () => {};
  let wanted: KubeRequest | undefined;
  try {
    const admitted = await admitKube(doors, door, request);
    wanted = admitted.wanted;
    const { session } = admitted.caller.lease;
    leave = door.concurrency.enter(session);
    done = doors.inFlight.begin(session);
    await carry(doors, door, admitted, request, response);
  } catch (error) {
    refuse(doors, request, response, error);
  } finally {
    done();
    leave();
    doors.metrics.kubeRequests.inc({
      verb: wanted?.verb ?? 'unknown',
      kind: wanted?.kind ?? 'refused',
      status: response.statusCode,
    });
  }
}

function refuse(doors: GatewayContext, request: IncomingMessage, response: ServerResponse, error: unknown): void {
  const code = error instanceof OplabError ? error.code : 'OPLAB_INTERNAL';
  doors.metrics.refused.inc({ door: 'kube', reason: code });
  if (!(error instanceof OplabError)) doors.logger.error({ error }, 'the kube door failed');
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const { status, body, headers } = statusOf(error, request.url ?? '');
  // What is left of a refused body is not read.
  response.writeHead(status, { ...headers, connection: 'close' }).end(body);
}

/** Reads the body, and takes the request through. */
async function carry(
  doors: GatewayContext,
  door: KubeDoor,
  { caller, wanted: asked, token }: Awaited<ReturnType<typeof admitKube>>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { kind, secrets, follows } = asked;
  const writes = kind === 'write';
  const { method = 'GET', url = '/' } = request;
  const body = kind === 'read' ? Buffer.alloc(0) : await readBody(request, MAX_BODY);
  const contentType = request.headers['content-type'];
  if (writes && body.length > 0) requireReadable(contentType, request.headers['content-encoding']);
  const wanted = withBody(asked, body, contentType);
  const headers = requestHeaders(request.headers);
  if (writes) {
    // The outcome is read from the answer to a write, so it must come plain; clients read what the content type says.
    headers['accept-encoding'] = 'identity';
    if (/protobuf|cbor/i.test(headers.accept?.toString() ?? '')) headers.accept = 'application/json';
  }
  await pass(doors, caller, request, response, {
    upstream: 'the API server',
    writes,
    follows,
    answerMs: ANSWER_MS,
    body,
    record: async () =>
      writes || secrets
        ? await recordIntent(doors, caller, wanted, {
            body,
            contentType: body.length > 0 ? contentType : undefined,
            userAgent: request.headers['user-agent'],
            method,
          })
        : undefined,
    open: () =>
      door.apiServer.request({ method, path: url, headers: { ...headers, 'content-length': body.length }, token }),
    headers: (answer) => responseHeaders(answer.headers),
  });
}
