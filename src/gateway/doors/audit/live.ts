// POST live: passes a chunk of command output to the watchers of the session. Never stored.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { parseJson, readBody } from '../../../net/http-answer.ts';
import { liveChunk } from '../../protocol.ts';
import type { Caller, GatewayContext } from '../door.ts';

const MAX_BODY = 512 * 1024;

export async function postLive(
  gateway: GatewayContext,
  { lease, memory }: Caller,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  gateway.live.publish(lease.session, parseJson(await readBody(request, MAX_BODY, memory.grow), liveChunk));
  response.writeHead(204).end();
}
