// POST start: records that the agent starts, and each time that it is started again in the same pod.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { AuditConflict } from '../../../errors.ts';
import { parseJson, readBody, sendJson } from '../../../net/http-answer.ts';
import { AGENT_RESUMED_EVENT, readAttemptRecord } from '../../attempt-record.ts';
import { recordAuditEvent } from '../../audit-event.ts';
import type { Lease } from '../../leases.ts';
import { type StartResult, startRequest } from '../../protocol.ts';
import { type Caller, type GatewayContext, record } from '../door.ts';

/** How often an agent may be started again without any entry of its own in between. */
const MAX_RESTARTS_IN_PLACE = 10;

type Client = Parameters<typeof recordAuditEvent>[0];

export async function postStart(
  gateway: GatewayContext,
  client: Client,
  { lease, memory }: Caller,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { run, restarts = 0 } = parseJson(await readBody(request, 4096, memory.grow), startRequest);
  // What an earlier process still sends is refused from here on, so what is read below is its last word.
  await gateway.conversations.begin(lease, run);
  sendJson(
    response,
    200,
    (await startFirst(gateway, lease, run)) ?? (await startAgain(gateway, client, lease, run, restarts)),
  );
}

/** Undefined if another process has started before. */
async function startFirst(gateway: GatewayContext, lease: Lease, run: string): Promise<StartResult | undefined> {
  try {
    await record(gateway, lease, 'gateway', {
      clientKey: `agent-started:${lease.attempt}`,
      kind: 'lifecycle',
      params: { event: 'agent_started', attempt: lease.attempt, podUID: lease.podUID, run },
      content: `the agent of attempt ${lease.attempt} has begun`,
    });
    return { alreadyStarted: false, restarts: 0, nextKey: 1 };
  } catch (error) {
    if (error instanceof AuditConflict) return undefined;
    throw error;
  }
}

/** @param told how often the agent says that it was started again: more than the gateway has seen, if it died before it could say so */
async function startAgain(
  gateway: GatewayContext,
  client: Client,
  lease: Lease,
  run: string,
  told: number,
): Promise<StartResult> {
  const { session, attempt } = lease;
  const before = await readAttemptRecord(gateway.log, session, attempt);
  const { nextKey } = before;
  const number = before.numbers.get(run) ?? Math.max(before.restarts + 1, told);
  const { duplicate } = await record(gateway, lease, 'gateway', {
    clientKey: `agent-resumed:${attempt}:${run}`,
    kind: 'lifecycle',
    params: { event: AGENT_RESUMED_EVENT, attempt, number, run },
    content: `the agent of attempt ${attempt} was started again (restart ${number})`,
  });
  if (!duplicate) {
    (await gateway.budgets.of(session)).restarted(attempt, number);
    gateway.status.touch(session);
    const incident = gateway.leases.incident(session);
    const note = `the agent of attempt ${attempt} died and goes on where it was (restart ${number})`;
    if (incident !== undefined) recordAuditEvent(client, gateway.logger, incident, 'AgentRestarted', note);
  }
  const inPlace = before.restartsInPlace + (duplicate ? 0 : 1);
  const isStuck = inPlace > MAX_RESTARTS_IN_PLACE;
  return {
    alreadyStarted: true,
    restarts: number,
    nextKey,
    ...(isStuck ? { givenUp: `the agent died ${inPlace} times in a row without recording anything in between` } : {}),
  };
}
