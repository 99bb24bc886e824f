// The kube door for connections that change their protocol: exec, attach, port-forward, cp, over WebSocket or SPDY, spliced as they are.

import type { ClientRequest, IncomingMessage } from 'node:http';
import { type Duplex, Transform } from 'node:stream';
import { InvalidInput, messageOf, NoLease, OplabError, UpstreamUnavailable } from '../../../errors.ts';
import type { Caller, Doors } from '../door.ts';
import type { KubeRequest } from './classify.ts';
import { admitKube, type KubeDoor } from './forward.ts';
import { responseHeaders, upgradeHeaders } from './headers.ts';
import { type Intent, recordIntent } from './recording.ts';
import { statusOf } from './refusal.ts';

/** What clients of the API change to. */
const PROTOCOLS: ReadonlySet<string> = new Set(['websocket', 'spdy/3.1']);
/** Until the API server has answered, in milliseconds: it may have to reach a kubelet first. */
const ANSWER_MS = 60_000;
/** A refusal's body is a metav1.Status; more of it is not passed on. */
const MAX_REFUSAL = 64 * 1024;

/** Answers one request to upgrade. Never throws. */
export async function upgrade(
  doors: Doors,
  door: KubeDoor,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  let leave = () => {};
  let done = () => {};
  let wanted: KubeRequest | undefined;
  let status = 0;
  // Without a listener, a caller that resets its connection would end the process.
  socket.on('error', (error) => doors.logger.debug({ error: messageOf(error) }, 'the caller of an upgrade is gone'));
  try {
    const protocol = (request.headers.upgrade ?? '').toLowerCase();
    if (!PROTOCOLS.has(protocol))
      throw new InvalidInput(`upgrade to ${protocol}: only WebSocket and SPDY/3.1 are known`);
    const admitted = await admitKube(doors, door, request);
    const { caller, token } = admitted;
    wanted = admitted.wanted;
    leave = door.concurrency.enter(caller.lease.session);
    done = doors.inFlight.begin(caller.lease.session);
    const intent =
      wanted.kind === 'write' || wanted.secrets
        ? await recordIntent(doors, caller, wanted, { userAgent: request.headers['user-agent'], protocol })
        : undefined;
    status = await splice(doors, door, {
      caller,
      token,
      request,
      socket,
      head,
      intent: wanted.kind === 'write' ? intent : undefined,
    });
  } catch (error) {
    const code = error instanceof OplabError ? error.code : 'OPLAB_INTERNAL';
    doors.metrics.refused.inc({ door: 'kube', reason: code });
    if (!(error instanceof OplabError)) doors.logger.error({ error }, 'the kube door failed at an upgrade');
    const refusal = statusOf(error, request.url ?? '');
    status = refusal.status;
    answer(socket, refusal.status, refusal.headers, Buffer.from(refusal.body));
  } finally {
    done();
    leave();
    doors.metrics.kubeRequests.inc({ verb: wanted?.verb ?? 'unknown', kind: wanted?.kind ?? 'refused', status });
  }
}

interface Spliced {
  readonly caller: Caller;
  readonly token: string;
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly intent: Intent | undefined;
}

type Answered =
  | { readonly upgraded: true; readonly response: IncomingMessage; readonly socket: Duplex; readonly head: Buffer }
  | { readonly upgraded: false; readonly response: IncomingMessage };

/** Connects both sides until either ends or the lease dies. Resolves with the status of the answer. */
async function splice(doors: Doors, door: KubeDoor, parts: Spliced): Promise<number> {
  const { caller, token, request, socket, head, intent } = parts;
  const { method = 'GET', url = '/' } = request;
  const outgoing = door.apiServer.request({
    method,
    path: url,
    headers: upgradeHeaders(request.headers),
    token,
    own: true,
  });
  let ended: string | undefined;
  const ends: { destroy(): unknown }[] = [outgoing, socket];
  const endAll = (why: string) => {
    ended ??= why;
    for (const end of ends) end.destroy();
  };
  const hold = doors.leases.hold(caller.identity, 'work', (message) => endAll(`the lease ended: ${message}`));
  const gone = () => endAll('the caller hung up');
  socket.once('close', gone);
  let bytesIn = 0;
  let bytesOut = 0;
  let status: number | null = null;
  try {
    if (!hold.alive()) throw new NoLease('the lease ended');
    const answered = await answerOf(outgoing);
    status = answered.response.statusCode ?? 502;
    if (!answered.upgraded) {
      // The API server says no: its answer goes back as it is, and the connection ends.
      const body = await collectSome(answered.response);
      await intent?.outcome({ status, body });
      answer(socket, status, responseHeaders(answered.response.headers), body);
      return status;
    }
    const upstream = answered.socket;
    ends.push(upstream);
    upstream.on('error', (error) => endAll(`the API server's side failed: ${messageOf(error)}`));
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
    const closed = new Promise<void>((resolve) => {
      upstream.once('close', resolve);
    });
    upstream.once('close', () => {
      ended ??= 'ended by the API server';
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
      await settle(doors, intent, { status, ended: `${ended}; whether it was done is not known` });
      throw error;
    }
    endAll(ended);
    return status;
  } finally {
    hold.release();
    socket.off('close', gone);
    if (status === 101) await settle(doors, intent, { status, bytesIn, bytesOut, ended: ended ?? 'ended' });
  }
}

async function settle(
  doors: Doors,
  intent: Intent | undefined,
  outcome: Parameters<Intent['outcome']>[0],
): Promise<void> {
  try {
    await intent?.outcome(outcome);
  } catch (error) {
    doors.logger.error({ error: messageOf(error) }, 'how a connection ended could not be recorded');
  }
}

/** Waits for the head of the API server's answer, whichever it is. */
function answerOf(outgoing: ClientRequest): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => outgoing.destroy(new Error('no answer in time')), ANSWER_MS);
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
      reject(new UpstreamUnavailable(`the API server does not answer: ${message}; try again`, error));
    };
    outgoing.on('error', (error) => failed(messageOf(error), error));
    outgoing.on('close', () => failed('the connection was closed'));
    outgoing.end();
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

function answer(
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
