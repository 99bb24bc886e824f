// POST conclude: records the agent's claim and then writes it to the Incident's status, fenced by
// its resourceVersion.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Claim } from '../../../api/incident-status.ts';
import { NoLease, NotAllowed, SessionSealed } from '../../../errors.ts';
import { parseJson, readBody, sendJson } from '../../../net/http-answer.ts';
import { leaseFor } from '../../leases.ts';
import { conclusion } from '../../protocol.ts';
import { type Caller, type GatewayContext, record } from '../door.ts';

/** The event of the lifecycle entry that carries the claim. */
export const CLAIM_EVENT = 'claim';
/** Its text begins with this. */
export const CLAIM_TEXT = 'the agent claims ';

export async function postConclude(
  gateway: GatewayContext,
  { lease, memory }: Caller,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { outcome, summary, rootCause, actions } = parseJson(
    await readBody(request, 256 * 1024, memory.grow),
    conclusion,
  );
  if (lease.class.mode === 'Diagnose' && outcome === 'Fixed') {
    throw new NotAllowed(
      'the AgentClass has mode Diagnose: conclude with CannotFix and the diagnosis, or with NothingWrong',
    );
  }
  try {
    const receipt = await record(gateway, lease, 'gateway', {
      clientKey: `claim:${lease.attempt}`,
      kind: 'lifecycle',
      params: { event: CLAIM_EVENT, attempt: lease.attempt, outcome, rootCause, actions },
      content: `${CLAIM_TEXT}${outcome}: ${summary}`,
    });
    const claim: Claim = { attempt: lease.attempt, outcome, summary, rootCause, actions, time: receipt.time };
    await gateway.status.claim(lease.session, claim, (incident) => {
      // A repeated request whose claim was accepted the first time needs no second write.
      const decision = leaseFor(incident, lease.attempt, lease.podUID, undefined, Date.now());
      if (decision.state === 'live' || decision.state === 'reached') return;
      if (receipt.duplicate && incident.status?.claim?.attempt === lease.attempt) throw new AlreadyAccepted();
      throw new NoLease(decision.message);
    });
    gateway.logger.info({ session: lease.session, attempt: lease.attempt, outcome }, 'the agent has concluded');
    sendJson(response, 200, {});
  } catch (error) {
    if (error instanceof AlreadyAccepted) sendJson(response, 200, {});
    else if (error instanceof SessionSealed) throw new NoLease('the session is sealed');
    else throw error;
  }
}

class AlreadyAccepted extends Error {}
