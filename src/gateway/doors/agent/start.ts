// POST start: records once that the agent starts. A second start means that the first was cut off.

import type { IncomingMessage, ServerResponse } from 'node:http';
import * as z from 'zod';
import { AuditConflict } from '../../../errors.ts';
import { parseJson, readBody, sendJson } from '../../../net/http-answer.ts';
import type { startResult } from '../../protocol.ts';
import { type Caller, type GatewayContext, record } from '../door.ts';

/** `run` names this run of the container, so that a start whose answer was lost can be repeated. */
const startRequest = z.object({ run: z.string().max(64).optional() });

export async function postStart(
  gateway: GatewayContext,
  { lease, memory }: Caller,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { run } = parseJson(await readBody(request, 4096, memory.grow), startRequest);
  try {
    const receipt = await record(gateway, lease, 'gateway', {
      clientKey: `agent-started:${lease.attempt}`,
      kind: 'lifecycle',
      params: { event: 'agent_started', attempt: lease.attempt, podUID: lease.podUID, run: run ?? null },
      content: `the agent of attempt ${lease.attempt} has begun`,
    });
    sendJson(response, 200, { alreadyStarted: receipt.duplicate && run === undefined } satisfies z.infer<
      typeof startResult
    >);
  } catch (error) {
    if (!(error instanceof AuditConflict)) throw error;
    sendJson(response, 200, { alreadyStarted: true } satisfies z.infer<typeof startResult>);
  }
}
