// The agents' port (8443): routes to the audit, agent and model doors, and says no in the way that each door's callers understand.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { LimitReached, OplabError } from '../../errors.ts';
import type { KubeClient } from '../../kube/client.ts';
import { refusalOf, retryHeaders, sendJson, sendRefusal } from '../../net/http-answer.ts';
import type { Concurrency } from '../concurrency.ts';
import { paths } from '../protocol.ts';
import { postConclude } from './agent/conclude.ts';
import { postStart } from './agent/start.ts';
import { getTask } from './agent/task.ts';
import { postEntry } from './audit/entries.ts';
import { postLive } from './audit/live.ts';
import type { Caller, GatewayContext } from './door.ts';
import { reportLimitReached } from './limit-reached.ts';
import { type ModelDoor, postMessages } from './model/messages.ts';

export interface AgentPort {
  readonly audience: string;
  readonly client: Pick<KubeClient, 'withToken'>;
  readonly model: ModelDoor;
  /** For everything but the model, which counts its own. */
  readonly concurrency: Concurrency;
}

interface Route {
  readonly door: 'audit' | 'agent' | 'model';
  readonly method: 'GET' | 'POST';
  readonly purpose: 'work' | 'testimony';
  readonly handle: (caller: Caller, request: IncomingMessage, response: ServerResponse, beta: boolean) => Promise<void>;
}

/** The request listener of the agents' port. */
export function agentPort(
  doors: GatewayContext,
  port: AgentPort,
): (request: IncomingMessage, response: ServerResponse) => void {
  const routes = new Map<string, Route>([
    [
      paths.task,
      {
        door: 'agent',
        method: 'GET',
        purpose: 'work',
        handle: (caller, _, response) => getTask(doors, port.client, caller, response),
      },
    ],
    [
      paths.start,
      {
        door: 'agent',
        method: 'POST',
        purpose: 'work',
        handle: (caller, request, response) => postStart(doors, caller, request, response),
      },
    ],
    [
      paths.conclude,
      {
        door: 'agent',
        method: 'POST',
        purpose: 'testimony',
        handle: (caller, request, response) => postConclude(doors, caller, request, response),
      },
    ],
    [
      paths.entries,
      {
        door: 'audit',
        method: 'POST',
        purpose: 'testimony',
        handle: (caller, request, response) => postEntry(doors, caller, request, response),
      },
    ],
    [
      paths.live,
      {
        door: 'audit',
        method: 'POST',
        purpose: 'testimony',
        handle: (caller, request, response) => postLive(doors, caller, request, response),
      },
    ],
    [
      paths.messages,
      {
        door: 'model',
        method: 'POST',
        purpose: 'work',
        handle: (caller, request, response, beta) => postMessages(doors, port.model, caller, request, response, beta),
      },
    ],
  ]);

  async function answer(
    route: Route,
    request: IncomingMessage,
    response: ServerResponse,
    beta: boolean,
  ): Promise<void> {
    const identity = await doors.identities.prove(request.headers.authorization, port.audience);
    let caller: Caller;
    try {
      caller = { identity, lease: doors.leases.require(identity, route.purpose) };
    } catch (error) {
      const decision = doors.leases.decide(identity);
      if (error instanceof LimitReached && decision.state === 'reached')
        await reportLimitReached(doors, decision.lease, error);
      throw error;
    }
    const leave = route.door === 'model' ? () => {} : port.concurrency.enter(caller.lease.session);
    try {
      await route.handle(caller, request, response, beta);
    } finally {
      leave();
    }
  }

  return (request, response) => {
    const [path = '', query = ''] = (request.url ?? '').split('?');
    const route = routes.get(path);
    if (route === undefined || request.method !== route.method) {
      request.resume();
      sendJson(response, 404, {
        error: { code: 'OPLAB_NOT_FOUND', message: `there is no ${request.method} ${path} here` },
      });
      return;
    }
    answer(route, request, response, query === 'beta=true').catch((error: unknown) => {
      const code = error instanceof OplabError ? error.code : 'OPLAB_INTERNAL';
      doors.metrics.refused.inc({ door: route.door, reason: code });
      if (!(error instanceof OplabError)) doors.logger.error({ error, path }, 'a door failed');
      request.resume();
      if (route.door === 'model') sendModelRefusal(response, error);
      else sendRefusal(response, error);
    });
  };
}

const MODEL_ERROR_TYPES: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  409: 'api_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  502: 'api_error',
  503: 'api_error',
};

/** A refusal in the shape of the Messages API, with our code in it. */
function sendModelRefusal(response: ServerResponse, error: unknown): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const { status, code, message, retry } = refusalOf(error);
  // The model API not answering is a bad gateway; the gateway itself not being able to serve is 503.
  const shown = code === 'OPLAB_UPSTREAM_UNAVAILABLE' ? 502 : status;
  const body = { type: 'error', error: { type: MODEL_ERROR_TYPES[shown] ?? 'api_error', code, message } };
  sendJson(response, shown, body, retryHeaders(retry, error));
}
