// The agents' port (8443): maps paths to doors and defines the form of each door's refusals.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { KubeClient } from '../../kube/client.ts';
import { describeRefusal, retryHeaders, sendJson } from '../../net/http-answer.ts';
import type { Concurrency } from '../concurrency.ts';
import { paths } from '../protocol.ts';
import { postConclude } from './agent/conclude.ts';
import { getConversation, postConversation } from './agent/conversation.ts';
import { postStart } from './agent/start.ts';
import { getTask } from './agent/task.ts';
import { postCommandEnded } from './audit/command-ended.ts';
import { postEntry } from './audit/entries.ts';
import { postLive } from './audit/live.ts';
import type { Caller, Door, GatewayContext, Refused } from './door.ts';
import { requireNoCanary, serve } from './front.ts';
import { type ModelDoor, postMessages } from './model/messages.ts';

export interface AgentPort {
  readonly audience: string;
  readonly client: Pick<KubeClient, 'withToken' | 'create'>;
  readonly model: ModelDoor;
  /** For all doors except the model door, which has its own limit. */
  readonly concurrency: Concurrency;
}

type Handle = (caller: Caller, request: IncomingMessage, response: ServerResponse) => Promise<void>;

/** The request listener of the agents' port. */
export function agentPort(
  gateway: GatewayContext,
  port: AgentPort,
): (request: IncomingMessage, response: ServerResponse) => void {
  const { audience, concurrency, client, model } = port;
  const door = (
    name: 'agent' | 'audit' | 'model',
    purpose: Door<undefined>['purpose'],
    handle: Handle,
  ): Door<undefined> => ({
    name,
    audience,
    purpose,
    // The other doors append an entry, or read something that needs no record.
    requiresAudit: name === 'model',
    concurrency: name === 'model' ? model.concurrency : concurrency,
    read: () => undefined,
    plan: async (caller, _, { request }) => ({ answer: (response) => handle(caller, request, response) }),
    refusal: name === 'model' ? modelRefusal : gatewayRefusal,
  });
  const routes = new Map<string, Door<undefined>>([
    [`GET ${paths.task}`, door('agent', 'act', (caller, _, response) => getTask(gateway, client, caller, response))],
    [
      `POST ${paths.start}`,
      door('agent', 'act', (caller, request, response) => postStart(gateway, client, caller, request, response)),
    ],
    [
      `GET ${paths.conversation}`,
      door('agent', 'report', (caller, request, response) => getConversation(gateway, caller, request, response)),
    ],
    [
      `POST ${paths.conversation}`,
      door('agent', 'report', (caller, request, response) => postConversation(gateway, caller, request, response)),
    ],
    [
      `POST ${paths.conclude}`,
      door('agent', 'report', (caller, request, response) => postConclude(gateway, caller, request, response)),
    ],
    [
      `POST ${paths.entries}`,
      door('audit', 'report', (caller, request, response) => postEntry(gateway, caller, request, response)),
    ],
    [
      `POST ${paths.live}`,
      door('audit', 'report', (caller, request, response) => postLive(gateway, caller, request, response)),
    ],
    [
      `POST ${paths.commandEnded}`,
      door('audit', 'report', (caller, request, response) => postCommandEnded(gateway, caller, request, response)),
    ],
    [
      `POST ${paths.messages}`,
      door('model', 'act', (caller, request, response) => postMessages(gateway, model, caller, request, response)),
    ],
  ]);
  return (request, response) => {
    const [path = ''] = (request.url ?? '').split('?');
    const route = routes.get(`${request.method} ${path}`);
    if (route === undefined) {
      request.resume();
      // The answer is the same for everybody.
      requireNoCanary(gateway, 'agent', request).catch(() => {});
      sendJson(response, 404, {
        error: { code: 'OPLAB_NOT_FOUND', message: `${request.method} ${path} is not an endpoint of this port` },
      });
      return;
    }
    void serve(gateway, route, { type: 'request', request, response });
  };
}

/** A refusal in the gateway's own format. */
function gatewayRefusal(error: unknown): Refused {
  const { status, code, message, retry } = describeRefusal(error);
  return jsonRefusal(status, { error: { code, message } }, retryHeaders(retry, error));
}

function jsonRefusal(status: number, body: object, headers: Record<string, string>): Refused {
  return {
    status,
    headers: { 'content-type': 'application/json; charset=utf-8', ...headers },
    body: JSON.stringify(body),
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

/** A refusal in the format of the Messages API, with the OPLAB code in it. */
function modelRefusal(error: unknown): Refused {
  const { status, code, message, retry } = describeRefusal(error);
  // 502 if the model API does not answer; 503 if the gateway itself cannot serve.
  const shown = code === 'OPLAB_UPSTREAM_UNAVAILABLE' ? 502 : status;
  const body = { type: 'error', error: { type: MODEL_ERROR_TYPES[shown] ?? 'api_error', code, message } };
  return jsonRefusal(shown, body, retryHeaders(retry, error));
}
