// A connection that changes its protocol on the way through a recording door: both sides spliced, counted, cut when the lease dies.

import type { ClientRequest, IncomingMessage } from 'node:http';
import { type Duplex, Transform } from 'node:stream';
import { messageOf, NoLease, UpstreamUnavailable } from '../../errors.ts';
import type { Caller, Exchange, ForwardPlan, GatewayContext, Intent } from './door.ts';
import { responseHeaders } from './headers.ts';

/** More of a refusal is not passed on. */
const MAX_REFUSAL = 64 * 1024;
/** How long a side that has been told of the end may take to go, in milliseconds. */
const LINGER_MS = 2000;

type Answered =
  | { readonly upgraded: true; readonly response: IncomingMessage; readonly socket: Duplex; readonly head: Buffer }
  | { readonly upgraded: false; readonly response: IncomingMessage };

/**
 * Connects both sides until either ends or the lease dies.
 * @param intent what was put on record for a write
 * @returns the status that was answered
 */
export async function splice(
  gateway: Pick<GatewayContext, 'leases' | 'logger'>,
  caller: Caller,
  exchange: Extract<Exchange, { type: 'upgrade' }>,
  plan: ForwardPlan,
  intent: Intent | undefined,
): Promise<number> {
  const { upstream: name, halfOpen = false, head = exchange.head } = plan;
  const { socket } = exchange;
  let ended: string | undefined;
  const ends: { destroy(): unknown }[] = [socket];
  const endAll = (why: string) => {
    ended ??= why;
    for (const end of ends) end.destroy();
  };
  const hold = gateway.leases.hold(caller.identity, 'act', (message) => endAll(`the lease ended: ${message}`));
  const gone = () => endAll('the caller hung up');
  socket.once('close', gone);
  let bytesIn = 0;
  let bytesOut = 0;
  let status: number | null = null;
  try {
    // While the intent was being written, the caller may have hung up, and the lease may have died.
    if (socket.destroyed) endAll('the caller hung up');
    if (ended !== undefined || !hold.alive()) throw new NoLease(ended ?? 'the lease ended');
    // Opened only now, and listened to at once: a request that is destroyed unheard would end the process.
    const outgoing = plan.open();
    ends.push(outgoing);
    const answered = await awaitAnswer(outgoing, plan);
    status = answered.response.statusCode ?? 502;
    if (!answered.upgraded) {
      // The upstream says no: its answer goes back as it is, and the connection ends.
      const body = await collectSome(answered.response);
      await intent?.outcome({ status, body });
      answerOn(socket, status, responseHeaders(answered.response.headers), body);
      return status;
    }
    const upstream = answered.socket;
    ends.push(upstream);
    let over = false;
    upstream.on('error', (error) => {
      // After its last word an upstream may go as it likes: what it said is still on the way.
      if (!over) endAll(`the other side (${name}) failed: ${messageOf(error)}`);
    });
    socket.write(
      statusLine(101, answered.response, { connection: 'Upgrade', upgrade: answered.response.headers.upgrade }),
    );
    // A stream that is cut per chunk, besides the cut when the lease dies: nothing passes in between.
    const gate = (count: (bytes: number) => void) =>
      new Transform({
        transform(chunk: Buffer, _encoding, pass) {
          if (!hold.alive()) {
            endAll('the lease ended');
            pass();
            return;
          }
          count(chunk.length);
          pass(null, chunk);
        },
      });
    const inward = gate((bytes) => {
      bytesIn += bytes;
    });
    const outward = gate((bytes) => {
      bytesOut += bytes;
    });
    if (head.length > 0) inward.write(head);
    if (answered.head.length > 0) outward.write(answered.head);
    // The lease is held until the last byte has left: a gate without one lets nothing through, also not what was said in time.
    const closed = new Promise<void>((resolve) => {
      upstream.once('close', () => {
        if (socket.writableFinished || socket.destroyed) return resolve();
        socket.once('finish', resolve).once('close', () => resolve());
      });
    });
    if (halfOpen) {
      // Who answers decides when it is over; what the caller still has to say is of no use then.
      upstream.once('end', () => {
        over = true;
        upstream.end();
        setTimeout(() => upstream.destroy(), LINGER_MS).unref();
      });
      socket.once('finish', () => setTimeout(() => socket.destroy(), LINGER_MS).unref());
    }
    upstream.once('close', () => {
      ended ??= `ended by ${name}`;
      // What has come through is still delivered.
      outward.end();
    });
    socket.pipe(inward).pipe(upstream);
    upstream.pipe(outward).pipe(socket);
    await closed;
    return status;
  } catch (error) {
    ended ??= messageOf(error);
    if (status === null) {
      await settle(gateway, intent, { status, ended: `${ended}; whether it was done is not known` });
      throw error;
    }
    endAll(ended);
    return status;
  } finally {
    hold.release();
    socket.off('close', gone);
    if (status === 101) await settle(gateway, intent, { status, bytesIn, bytesOut, ended: ended ?? 'ended' });
  }
}

async function settle(
  gateway: Pick<GatewayContext, 'logger'>,
  intent: Intent | undefined,
  outcome: Parameters<Intent['outcome']>[0],
): Promise<void> {
  try {
    await intent?.outcome(outcome);
  } catch (error) {
    gateway.logger.error({ error: messageOf(error) }, 'how a connection ended could not be recorded');
  }
}

/** Waits for the head of the upstream's answer, whichever it is. */
function awaitAnswer(outgoing: ClientRequest, plan: ForwardPlan): Promise<Answered> {
  const { upstream: name, answerMs, body } = plan;
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => outgoing.destroy(new Error('no answer in time')), answerMs);
    outgoing.on('upgrade', (response, socket, head) => {
      clearTimeout(timer);
      resolve({ upgraded: true, response, socket, head });
    });
    outgoing.on('response', (response) => {
      clearTimeout(timer);
      resolve({ upgraded: false, response });
    });
    const failed = (message: string, error?: unknown) => {
      clearTimeout(timer);
      outgoing.destroy();
      reject(new UpstreamUnavailable(`${name} does not answer: ${message}; try again`, error));
    };
    outgoing.on('error', (error) => failed(messageOf(error), error));
    outgoing.on('close', () => failed('the connection was closed'));
    outgoing.end(body);
  });
}

async function collectSome(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  const timer = setTimeout(() => response.destroy(), 10_000);
  try {
    for await (const chunk of response) {
      chunks.push(chunk);
      size += chunk.length;
      if (size > MAX_REFUSAL) break;
    }
  } catch {
    // What came is what is passed on.
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(chunks);
}

/** The head of an answer on a bare socket. Headers were parsed by Node, so they hold no line breaks. */
function statusLine(status: number, response: IncomingMessage, own: Record<string, string | undefined>): string {
  const lines = [`HTTP/1.1 ${status} ${response.statusMessage ?? ''}`];
  const headers = { ...responseHeaders(response.headers), ...own };
  for (const [name, value] of Object.entries(headers)) {
    for (const one of [value ?? []].flat()) lines.push(`${name}: ${one}`);
  }
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** A whole answer on a bare socket, which ends with it. */
export function answerOn(
  socket: Duplex,
  status: number,
  headers: NodeJS.Dict<number | string | string[] | readonly string[]>,
  body: Buffer,
): void {
  if (socket.destroyed) return;
  const lines = [`HTTP/1.1 ${status} `];
  for (const [name, value] of Object.entries({ ...headers, 'content-length': body.length, connection: 'close' })) {
    for (const one of [value ?? []].flat()) lines.push(`${name}: ${one}`);
  }
  socket.end(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), body]));
}
