// The docker door for ordinary requests and for answers that go on: logs -f, events, stats, the progress of a pull.

import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { LimitReached, NotAllowed, OplabError } from '../../../errors.ts';
import { readBody } from '../../../net/http-answer.ts';
import type { Concurrency } from '../../concurrency.ts';
import { admit, type Caller, type GatewayContext, requireAudit } from '../door.ts';
import { responseHeaders } from '../headers.ts';
import { reportLimitReached } from '../limit-reached.ts';
import { pass } from '../passage.ts';
import type { DockerHost, DockerHosts } from './docker-host.ts';
import { filterRequest, type Passing } from './filter.ts';
import { recordIntent } from './recording.ts';
import { reduceAnswer } from './reduction.ts';
import { dockerRefusal } from './refusal.ts';
import { type DockerRequest, readRequest } from './route.ts';
import { scopeOf } from './scope.ts';

/** A container's description is small; an archive that is copied in may be larger. */
const MAX_BODY = { json: 1024 * 1024, tar: 32 * 1024 * 1024, none: 4096 } as const;
/** Until the head of an answer, in milliseconds: a stop may wait for as long as it is told. */
const ANSWER_MS = 15 * 60_000;

export interface DockerDoor {
  readonly hosts: DockerHosts;
  readonly audience: string;
  readonly concurrency: Concurrency;
}

export interface Admitted {
  readonly caller: Caller;
  readonly host: DockerHost;
}

/** Proves the caller, and finds the host that its class opens. @throws NotAllowed where it opens none */
export async function admitDocker(
  doors: GatewayContext,
  door: DockerDoor,
  request: IncomingMessage,
): Promise<Admitted> {
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
  requireAudit(doors.log);
  const { docker, name } = caller.lease.class;
  if (docker === undefined) throw new NotAllowed(`AgentClass ${name} opens no Docker host`);
  return { caller, host: door.hosts.get(docker.endpoint) };
}

/** Decides whether a request passes. @throws NotAllowed, NotFound, InvalidInput, UpstreamUnavailable */
export async function judge({ caller, host }: Admitted, wanted: DockerRequest, body: Buffer): Promise<Passing> {
  const { docker, mode, name } = caller.lease.class;
  if (docker === undefined) throw new NotAllowed(`AgentClass ${name} opens no Docker host`);
  return await filterRequest(wanted, body, { access: docker, mode, facts: host.facts(scopeOf(docker)) });
}

/** The most that a request's body may be, in bytes. */
export function bodyLimit(wanted: DockerRequest): number {
  return MAX_BODY[wanted.route.body ?? 'none'];
}

/** Nothing of the caller's headers goes on but what it can read. */
export function dockerHeaders(request: IncomingMessage, passing: Passing): OutgoingHttpHeaders {
  const { accept } = request.headers;
  return {
    ...(accept === undefined || passing.request.route.kind === 'write' || passing.reduction !== undefined
      ? {}
      : { accept }),
    ...(passing.contentType === undefined ? {} : { 'content-type': passing.contentType }),
    'content-length': passing.body?.length ?? 0,
    'user-agent': 'oplab-gateway',
  };
}

/** Answers one request. Never throws. */
export async function forwardDocker(
  doors: GatewayContext,
  door: DockerDoor,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let leave = () => {};
  let done = () => {};
  let wanted: DockerRequest | undefined;
  try {
    const admitted = await admitDocker(doors, door, request);
    const { session } = admitted.caller.lease;
    leave = door.concurrency.enter(session);
    done = doors.inFlight.begin(session);
    wanted = readRequest(request.method ?? 'GET', request.url ?? '');
    await carry(doors, admitted, wanted, request, response);
  } catch (error) {
    refuse(doors, response, error);
  } finally {
    done();
    leave();
    doors.metrics.dockerRequests.inc({
      operation: wanted?.route.operation ?? 'unknown',
      kind: wanted?.route.kind ?? 'refused',
      status: response.statusCode,
    });
  }
}

async function carry(
  doors: GatewayContext,
  admitted: Admitted,
  wanted: DockerRequest,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { caller, host } = admitted;
  const passing = await judge(admitted, wanted, await readBody(request, bodyLimit(wanted)));
  const { route } = wanted;
  const { docker } = caller.lease.class;
  const { reduction } = passing;
  const images =
    reduction === 'images' && docker !== undefined ? await host.facts(scopeOf(docker)).images() : undefined;
  await pass(doors, caller, request, response, {
    upstream: `Docker host ${host.name}`,
    writes: route.kind === 'write',
    follows: route.follows === true,
    answerMs: ANSWER_MS,
    body: passing.body ?? Buffer.alloc(0),
    record: async () =>
      route.kind === 'read'
        ? undefined
        : await recordIntent(doors, caller, passing, { host: host.name, userAgent: request.headers['user-agent'] }),
    open: () =>
      host.request({
        method: route.method,
        path: passing.path,
        headers: dockerHeaders(request, passing),
        // An answer that ends with its connection must not leave that connection to others.
        own: route.hijacks === true,
      }),
    headers: (answer) => responseHeaders(answer.headers),
    ...(reduction === undefined || docker === undefined
      ? {}
      : {
          reduce: (body: Buffer) =>
            reduceAnswer(reduction, body, scopeOf(docker), images ?? { ids: new Set(), repositories: new Set() }),
        }),
  });
}

function refuse(doors: GatewayContext, response: ServerResponse, error: unknown): void {
  const code = error instanceof OplabError ? error.code : 'OPLAB_INTERNAL';
  doors.metrics.refused.inc({ door: 'docker', reason: code });
  if (!(error instanceof OplabError)) doors.logger.error({ error }, 'the docker door failed');
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const { status, body, headers } = dockerRefusal(error);
  // What is left of a refused body is not read.
  response.writeHead(status, { ...headers, connection: 'close' }).end(body);
}
