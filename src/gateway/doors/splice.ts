// Forwards a request to upgrade: joins both connections, counts their bytes, records the outcome.

import { Transform } from 'node:stream';
import { errorMessage } from '../../errors.ts';
import { readBeginning } from '../../net/answer-body.ts';
import { join } from '../../net/join.ts';
import { endWithResponse, formatResponseHead } from '../../net/raw-response.ts';
import type { Exchange, ForwardPlan, GatewayContext, Intent } from './door.ts';
import { answeredBy, send } from './forward.ts';
import { responseHeaders } from './headers.ts';
import { type Held, recordOutcome } from './held-exchange.ts';

/** The most that is passed on of a refusal, in bytes. */
const MAX_REFUSAL = 64 * 1024;
/** How long the body of a refusal may take, in milliseconds. */
const REFUSAL_MS = 10_000;

/**
 * Connects both sides until either ends or the exchange is cut.
 * @param intent the recorded intent of a write
 * @returns the status of the answer
 */
export async function splice(
  gateway: Pick<GatewayContext, 'logger'>,
  held: Held,
  { socket, head: sent }: Extract<Exchange, { type: 'upgrade' }>,
  plan: ForwardPlan,
  intent: Intent | undefined,
): Promise<number> {
  const { upstream: name, head = sent } = plan;
  const outgoing = send(plan);
  const answered = await answeredBy(plan, outgoing, () => outgoing.receiveHead(held.signal));
  const { response } = answered;
  const status = response.statusCode ?? 502;
  const headers = responseHeaders(response.headers);
  if (answered.type === 'response') {
    // The upstream refuses. The caller gets its answer unchanged, and the connection ends.
    const body = await readBeginning(response, MAX_REFUSAL, REFUSAL_MS);
    await intent?.outcome({ status, body });
    endWithResponse(socket, status, headers, body);
    return status;
  }
  const upstream = answered.socket;
  let failure: string | undefined;
  let ended = `ended by ${name}`;
  upstream.once('close', () => {
    // Fixed now: what later happens on the caller's side is not the reason of the end.
    ended = failure ?? held.cut ?? ended;
  });
  const inward = gate(held);
  const outward = gate(held);
  socket.write(
    formatResponseHead(status, response.statusMessage ?? '', {
      ...headers,
      connection: 'Upgrade',
      upgrade: response.headers.upgrade,
    }),
  );
  if (head.length > 0) inward.stream.write(head);
  if (answered.rest.length > 0) outward.stream.write(answered.rest);
  // The lease is held until the last byte is delivered, because the gates close without it.
  await join(socket, upstream, {
    inward: inward.stream,
    outward: outward.stream,
    signal: held.signal,
    onFailure: (error) => {
      failure = held.cut ?? `the other side (${name}) failed: ${errorMessage(error)}`;
    },
  });
  await recordOutcome(gateway, intent, { status, bytesIn: inward.bytes(), bytesOut: outward.bytes(), ended });
  return status;
}

/**
 * Counts bytes, and checks the lease for each piece: no byte may pass between the end of the lease
 * and the cut.
 */
function gate(held: Held): { readonly stream: Transform; bytes(): number } {
  let bytes = 0;
  const stream = new Transform({
    transform(piece: Buffer, _encoding, pass) {
      if (!held.isAlive()) {
        held.end('the lease ended');
        pass();
        return;
      }
      bytes += piece.length;
      pass(null, piece);
    },
  });
  return { stream, bytes: () => bytes };
}
