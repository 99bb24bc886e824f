// The docker door: plans requests to a Docker host (also logs -f, events and pulls), and the
// upgrades of attach and exec to "tcp".

import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { InvalidInput, NotAllowed } from '../../../errors.ts';
import { readBody } from '../../../net/http-answer.ts';
import type { Concurrency } from '../../concurrency.ts';
import type { Caller, Door, Exchange, ForwardedRequest, ForwardPlan, GatewayContext } from '../door.ts';
import { responseHeaders } from '../headers.ts';
import type { DockerHost, DockerHosts } from './docker-host.ts';
import { filterRequest, type Passing } from './filter.ts';
import { recordIntent } from './recording.ts';
import { reduceAnswer } from './reduction.ts';
import { dockerRefusal } from './refusal.ts';
import { type DockerRequest, readRequest } from './route.ts';
import { parseScope } from './scope.ts';
import { takeBody } from './upgrade-body.ts';

/** In bytes. A container specification is small; an archive to copy may be larger. */
const MAX_BODY = { json: 1024 * 1024, tar: 32 * 1024 * 1024, none: 4096 } as const;
/** Until the head of an answer, in milliseconds. A stop may wait as long as its timeout says. */
const ANSWER_MS = 15 * 60_000;
/** The same for an upgrade, for which the Docker host may have to start a process first. */
const UPGRADE_ANSWER_MS = 60_000;

export interface DockerDoorOptions {
  readonly hosts: DockerHosts;
  readonly audience: string;
  readonly concurrency: Concurrency;
}

/** The door for the sandbox's docker command. */
export function dockerDoor(gateway: GatewayContext, options: DockerDoorOptions): Door<DockerRequest> {
  const { hosts, audience, concurrency } = options;
  return {
    name: 'docker',
    audience,
    purpose: 'act',
    requiresAudit: true,
    concurrency,
    read: ({ method = 'GET', url = '' }) => readRequest(method, url),
    plan: async (caller, wanted, exchange) => {
      const { docker, name } = caller.lease.class;
      if (docker === undefined) throw new NotAllowed(`AgentClass ${name} does not allow a Docker host`);
      const host = hosts.get(docker.endpoint);
      return exchange.type === 'upgrade'
        ? await planUpgrade(gateway, { caller, wanted, host }, exchange)
        : await planRequest(gateway, { caller, wanted, host }, exchange.request);
    },
    refusal: (error) => {
      const { status, body, headers } = dockerRefusal(error);
      return { status, body, headers: { ...headers, connection: 'close' } };
    },
    count: (wanted, status) => {
      const { operation = 'unknown', kind = 'refused' } = wanted?.route ?? {};
      gateway.metrics.dockerRequests.inc({ operation, kind, status });
    },
  };
}

interface Admitted {
  readonly caller: Caller;
  readonly wanted: DockerRequest;
  readonly host: DockerHost;
}

async function planRequest(
  gateway: GatewayContext,
  admitted: Admitted,
  request: IncomingMessage,
): Promise<ForwardPlan> {
  const { caller, wanted, host } = admitted;
  const passing = await authorize(admitted, await readBody(request, bodyLimit(wanted), caller.memory.grow));
  const { route } = wanted;
  const { docker } = caller.lease.class;
  const { reduction } = passing;
  const images =
    reduction === 'images' && docker !== undefined ? await host.facts(parseScope(docker)).images() : undefined;
  return {
    upstream: `Docker host ${host.name}`,
    writes: route.kind === 'write',
    follows: route.follows === true,
    request: forwardedRequest(request, passing),
    record: async (forwarded) => {
      const details = { host: host.name, userAgent: request.headers['user-agent'] };
      return route.kind === 'read' ? undefined : await recordIntent(gateway, caller, passing, forwarded, details);
    },
    open: (forwarded) =>
      // The answer ends with its connection, so other requests must not share that connection.
      host.request(forwarded, { limits: { head: ANSWER_MS }, own: route.hijacks === true }),
    headers: (answer) => responseHeaders(answer.headers),
    ...(reduction === undefined || docker === undefined
      ? {}
      : {
          reduce: (body: Buffer) =>
            reduceAnswer(reduction, body, parseScope(docker), images ?? { ids: new Set(), repositories: new Set() }),
        }),
  };
}

async function planUpgrade(
  gateway: GatewayContext,
  admitted: Admitted,
  { request, socket, head }: Extract<Exchange, { type: 'upgrade' }>,
): Promise<ForwardPlan> {
  const { caller, wanted, host } = admitted;
  const { route } = wanted;
  const protocol = (request.headers.upgrade ?? '').toLowerCase();
  if (route.hijacks !== true || protocol !== 'tcp') {
    throw new InvalidInput(
      `upgrade to ${protocol} at ${route.operation}: only attach and exec can be upgraded, to tcp`,
    );
  }
  const { body, rest } = await takeBody(request, socket, head, bodyLimit(wanted), caller.memory.grow);
  const passing = await authorize(admitted, body);
  const details = { host: host.name, userAgent: request.headers['user-agent'], protocol };
  return {
    upstream: `Docker host ${host.name}`,
    writes: true,
    follows: true,
    request: forwardedRequest(request, passing, { connection: 'Upgrade', upgrade: 'tcp' }),
    record: async (forwarded) => await recordIntent(gateway, caller, passing, forwarded, details),
    open: (forwarded) => host.request(forwarded, { limits: { head: UPGRADE_ANSWER_MS }, own: true }),
    headers: (answer) => responseHeaders(answer.headers),
    head: rest,
  };
}

/**
 * Decides whether a request may pass.
 * @throws NotAllowed, NotFound, InvalidInput, UpstreamUnavailable
 */
async function authorize({ caller, wanted, host }: Admitted, body: Buffer): Promise<Passing> {
  const { docker, mode, name } = caller.lease.class;
  if (docker === undefined) throw new NotAllowed(`AgentClass ${name} does not allow a Docker host`);
  return await filterRequest(wanted, body, { access: docker, mode, facts: host.facts(parseScope(docker)) });
}

/** The maximum size of a request's body, in bytes. */
function bodyLimit(wanted: DockerRequest): number {
  return MAX_BODY[wanted.route.body ?? 'none'];
}

/** The filtered request. The only header of the caller that it keeps is `accept`, for a read. */
function forwardedRequest(
  request: IncomingMessage,
  passing: Passing,
  upgrade: OutgoingHttpHeaders = {},
): ForwardedRequest {
  const { accept } = request.headers;
  const { path, contentType, reduction, body = Buffer.alloc(0) } = passing;
  const { method, kind } = passing.request.route;
  return {
    method,
    path,
    headers: {
      ...(accept === undefined || kind === 'write' || reduction !== undefined ? {} : { accept }),
      ...(contentType === undefined ? {} : { 'content-type': contentType }),
      'content-length': body.length,
      'user-agent': 'oplab-gateway',
      ...upgrade,
    },
    body,
  };
}
