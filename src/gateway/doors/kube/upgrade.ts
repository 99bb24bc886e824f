// The kube door for connections that change their protocol: exec, attach, port-forward, cp, over WebSocket or SPDY, spliced as they are.

import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { InvalidInput, messageOf, OplabError } from '../../../errors.ts';
import type { GatewayContext } from '../door.ts';
import { upgradeHeaders } from '../headers.ts';
import { answerOn, splice } from '../splice.ts';
import type { KubeRequest } from './classify.ts';
import { admitKube, type KubeDoor } from './forward.ts';
import { recordIntent } from './recording.ts';
import { statusOf } from './refusal.ts';

/** What clients of the API change to. */
const PROTOCOLS: ReadonlySet<string> = new Set(['websocket', 'spdy/3.1']);
/** Answers one request to upgrade. Never throws. */
export async function upgrade(
  doors: GatewayContext,
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
    const { method = 'GET', url = '/' } = request;
    status = await splice(doors, {
      caller,
      upstream: 'the API server',
      outgoing: door.apiServer.request({
        method,
        path: url,
        headers: upgradeHeaders(request.headers),
        token,
        own: true,
      }),
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
    answerOn(socket, refusal.status, refusal.headers, Buffer.from(refusal.body));
  } finally {
    done();
    leave();
    doors.metrics.kubeRequests.inc({ verb: wanted?.verb ?? 'unknown', kind: wanted?.kind ?? 'refused', status });
  }
}
