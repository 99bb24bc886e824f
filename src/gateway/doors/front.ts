// The front of all doors: authenticates, admits, records, forwards, refuses and counts requests.

import type { IncomingMessage } from 'node:http';
import type { AuditLog } from '../../audit/log.ts';
import { AuditUnavailable, errorMessage, InvalidInput, LimitReached, NoLease, OplabError } from '../../errors.ts';
import { endWithResponse } from '../../net/raw-response.ts';
import type { MemoryHold } from '../body-memory.ts';
import { type Lease, requireLease } from '../leases.ts';
import type { AnswerPlan, Caller, Door, Exchange, ForwardPlan, GatewayContext, Refused } from './door.ts';
import { forwardRequest } from './forward.ts';
import { recordOutcome, towardsCaller, whileHeld } from './held-exchange.ts';
import { reportLimitReached } from './limit-reached.ts';
import { splice } from './splice.ts';

/** Why a request is refused that no recorded command explains. */
const UNEXPLAINED = 'no command of the attempt was running';
/** Of a path in what is recorded about a canary, in characters. */
const MAX_PATH = 256;

/**
 * Answers one request, or one request to upgrade. Never throws: nobody waits for the result, so an
 * error would end the gateway.
 */
export async function serve<Wanted>(gateway: GatewayContext, door: Door<Wanted>, exchange: Exchange): Promise<void> {
  try {
    await serveOrThrow(gateway, door, exchange);
  } catch (error) {
    // The refusal itself failed. The caller sees a closed connection.
    gateway.logger.error({ error }, `the ${door.name} door could not refuse a request`);
    (exchange.type === 'request' ? exchange.response : exchange.socket).destroy();
  }
}

async function serveOrThrow<Wanted>(gateway: GatewayContext, door: Door<Wanted>, exchange: Exchange): Promise<void> {
  const { request } = exchange;
  if (exchange.type === 'upgrade') {
    // Without a listener, a caller that resets its connection would end the process.
    exchange.socket.on('error', (error) => {
      gateway.logger.debug({ error: errorMessage(error) }, 'the caller of an upgrade disconnected');
    });
  }
  let lease: Lease | undefined;
  let wanted: Wanted | undefined;
  let leave = () => {};
  let status = 0;
  try {
    await requireNoCanary(gateway, door.name, request);
    const { headers, socket } = request;
    const identity = await gateway.identities.prove(headers.authorization, door.audience, socket.remoteAddress ?? '');
    const decision = gateway.leases.decide(identity);
    if ('lease' in decision) lease = decision.lease;
    const admitted = { identity, lease: requireLease(decision, door.purpose) };
    if (door.requiresAudit) requireAudit(gateway.log);
    const entered = enter(gateway, door, admitted);
    leave = entered.leave;
    const caller = { ...admitted, memory: entered.memory, isGone: () => towardsCaller(exchange).destroyed };
    wanted = door.read(request);
    const plan = await door.plan(caller, wanted, exchange);
    status = 'answer' in plan ? await answer(plan, exchange) : await forward(gateway, caller, exchange, plan);
  } catch (error) {
    // A reached limit is reported here for all doors, whether the lease or the budget found it.
    if (error instanceof LimitReached && lease !== undefined) await reportLimitReached(gateway, lease, error);
    status = refuse(gateway, door, exchange, error);
  } finally {
    leave();
    door.count?.(wanted, status);
  }
}

/**
 * Ends the lease of whoever sends the canary token, in any header or in the path, before anything
 * else is read of the request.
 * @throws NoLease
 */
export async function requireNoCanary(
  { tripwires, leases, inFlight }: Pick<GatewayContext, 'tripwires' | 'leases' | 'inFlight'>,
  door: string,
  { method = 'GET', url = '/', headers, rawHeaders }: IncomingMessage,
): Promise<void> {
  const basic = /^basic +(\S+)/i.exec(headers.authorization ?? '')?.[1] ?? '';
  const text = [url, ...rawHeaders, Buffer.from(basic, 'base64').toString('latin1')].join('\n');
  const attempt = tripwires.findToken(text, leases.attempts());
  if (attempt === undefined) return;
  const done = inFlight.begin(attempt.session);
  try {
    const [path = ''] = url.split('?');
    const what = `the token of a cluster admin, at the ${door} door (${method} ${path.slice(0, MAX_PATH)})`;
    throw new NoLease(await tripwires.trip(attempt, 'token', what));
  } finally {
    done();
  }
}

/**
 * Reads are refused as well as writes, because what the agent does next could not be recorded.
 * @throws AuditUnavailable
 */
function requireAudit(log: Pick<AuditLog, 'failure'>): void {
  if (log.failure !== undefined) throw new AuditUnavailable(`the audit log cannot be written: ${log.failure}`);
}

/**
 * Takes a place, and delays the seal of the session until the request has ended.
 * @throws TooBusy
 */
function enter<Wanted>(
  gateway: GatewayContext,
  door: Door<Wanted>,
  { lease: { session } }: Pick<Caller, 'lease'>,
): { readonly memory: MemoryHold; leave(): void } {
  // Only the first of these can fail, so that nothing is taken that is not given back.
  const leave = door.concurrency.enter(session);
  const done = gateway.inFlight.begin(session);
  // The sandbox and the agent have a share each: what a command sends cannot stop the record of it.
  const memory = gateway.memory.hold(`${session} ${door.audience}`);
  return {
    memory,
    leave() {
      memory.release();
      done();
      leave();
    },
  };
}

async function answer(plan: AnswerPlan, exchange: Exchange): Promise<number> {
  if (exchange.type === 'upgrade') throw new InvalidInput('this door does not support upgrades');
  await plan.answer(exchange.response);
  return exchange.response.statusCode;
}

/**
 * The intent is on disk before anything is sent, and the outcome before the caller sees the end of
 * the answer.
 */
async function forward(
  gateway: GatewayContext,
  caller: Caller,
  exchange: Exchange,
  plan: ForwardPlan,
): Promise<number> {
  const recorded = await plan.record(plan.request);
  if (recorded !== undefined && 'unexplained' in recorded.explanation) {
    // The entry of the intent has ended the lease.
    await recordOutcome(gateway, recorded, { status: 403, ended: `refused by the gateway: ${UNEXPLAINED}` });
    throw new NoLease(`${UNEXPLAINED}, so this request was not forwarded, and the lease has ended`);
  }
  const intent = plan.writes ? recorded : undefined;
  return await whileHeld(gateway, caller, exchange, { intent, explanation: recorded?.explanation }, async (held) =>
    exchange.type === 'upgrade'
      ? await splice(gateway, held, exchange, plan, intent)
      : await forwardRequest({ held, memory: caller.memory, exchange, plan, intent }),
  );
}

/** Refuses in the format that the door's callers expect. @returns the status of the answer */
function refuse<Wanted>(gateway: GatewayContext, door: Door<Wanted>, exchange: Exchange, error: unknown): number {
  const code = error instanceof OplabError ? error.code : 'OPLAB_INTERNAL';
  gateway.metrics.refused.inc({ door: door.name, reason: code });
  if (!(error instanceof OplabError)) gateway.logger.error({ error }, `the ${door.name} door failed`);
  const refused = door.refusal(error, exchange.request);
  if (exchange.type === 'upgrade') {
    endWithResponse(exchange.socket, refused.status, refused.headers, Buffer.from(refused.body));
    return refused.status;
  }
  const { request, response } = exchange;
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return response.statusCode;
  }
  // The rest of a refused body is discarded, or not read if the connection ends.
  if (refused.headers.connection !== 'close') request.resume();
  response.writeHead(refused.status, withLength(refused)).end(refused.body);
  return refused.status;
}

function withLength({ headers, body }: Refused) {
  return { ...headers, 'content-length': Buffer.byteLength(body) };
}
