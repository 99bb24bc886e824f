// The docker door for connections that become streams: attach and exec, which ask to change to "tcp".

import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { InvalidInput, messageOf, OplabError, TooLarge } from '../../../errors.ts';
import type { GatewayContext } from '../door.ts';
import { answerOn, splice } from '../splice.ts';
import { admitDocker, bodyLimit, type DockerDoor, dockerHeaders, judge } from './forward.ts';
import { recordIntent } from './recording.ts';
import { dockerRefusal } from './refusal.ts';
import { type DockerRequest, readRequest } from './route.ts';

/** For a body that was announced, in milliseconds. */
const BODY_MS = 15_000;

/** Answers one request to upgrade. Never throws. */
export async function upgradeDocker(
  doors: GatewayContext,
  door: DockerDoor,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  let leave = () => {};
  let done = () => {};
  let wanted: DockerRequest | undefined;
  let status = 0;
  // Without a listener, a caller that resets its connection would end the process.
  socket.on('error', (error) => doors.logger.debug({ error: messageOf(error) }, 'the caller of an upgrade is gone'));
  try {
    const admitted = await admitDocker(doors, door, request);
    const { caller, host } = admitted;
    leave = door.concurrency.enter(caller.lease.session);
    done = doors.inFlight.begin(caller.lease.session);
    wanted = readRequest(request.method ?? 'GET', request.url ?? '');
    const { route } = wanted;
    const protocol = (request.headers.upgrade ?? '').toLowerCase();
    if (route.hijacks !== true || protocol !== 'tcp') {
      throw new InvalidInput(`upgrade to ${protocol} at ${route.operation}: only attach and exec change, to tcp`);
    }
    const { body, rest } = await takeBody(request, socket, head, bodyLimit(wanted));
    const passing = await judge(admitted, wanted, body);
    const intent = await recordIntent(doors, caller, passing, {
      host: host.name,
      userAgent: request.headers['user-agent'],
      protocol,
    });
    status = await splice(doors, {
      caller,
      upstream: `Docker host ${host.name}`,
      outgoing: host.request({
        method: route.method,
        path: passing.path,
        headers: { ...dockerHeaders(request, passing), connection: 'Upgrade', upgrade: 'tcp' },
        own: true,
      }),
      body: passing.body ?? Buffer.alloc(0),
      socket,
      head: rest,
      intent,
      halfOpen: true,
    });
  } catch (error) {
    const code = error instanceof OplabError ? error.code : 'OPLAB_INTERNAL';
    doors.metrics.refused.inc({ door: 'docker', reason: code });
    if (!(error instanceof OplabError)) doors.logger.error({ error }, 'the docker door failed at an upgrade');
    const refusal = dockerRefusal(error);
    status = refusal.status;
    answerOn(socket, refusal.status, refusal.headers, Buffer.from(refusal.body));
  } finally {
    done();
    leave();
    doors.metrics.dockerRequests.inc({
      operation: wanted?.route.operation ?? 'unknown',
      kind: wanted?.route.kind ?? 'refused',
      status,
    });
  }
}

/**
 * The body of a request to upgrade, which Node leaves on the socket, and what comes after it.
 * @throws InvalidInput, TooLarge
 */
export async function takeBody(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  limit: number,
): Promise<{ body: Buffer; rest: Buffer }> {
  if (request.headers['transfer-encoding'] !== undefined) {
    throw new InvalidInput('a request to upgrade must say how long its body is');
  }
  const announced = request.headers['content-length'] ?? '0';
  if (!/^[0-9]{1,9}$/.test(announced)) throw new InvalidInput('the length of the body cannot be read');
  const length = Number(announced);
  if (length > limit) throw new TooLarge(`the body has ${length} bytes; ${limit} are taken at most`);
  const chunks = [head];
  let size = head.length;
  const until = Date.now() + BODY_MS;
  while (size < length) {
    const chunk = await nextChunk(socket, until - Date.now());
    chunks.push(chunk);
    size += chunk.length;
  }
  const all = Buffer.concat(chunks);
  return { body: all.subarray(0, length), rest: all.subarray(length) };
}

function nextChunk(socket: Duplex, ms: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const finish = (settle: () => void) => {
      clearTimeout(timer);
      socket.off('data', data);
      socket.off('end', gone);
      socket.off('close', gone);
      socket.pause();
      settle();
    };
    const data = (chunk: Buffer) => finish(() => resolve(chunk));
    const gone = () => finish(() => reject(new InvalidInput('the body was cut off')));
    const timer = setTimeout(gone, Math.max(0, ms));
    socket.on('data', data);
    socket.once('end', gone);
    socket.once('close', gone);
    socket.resume();
  });
}
