// POST command-ended: from now on, no request can belong to the command.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { parseJson, readBody } from '../../../net/http-answer.ts';
import { commandEnded } from '../../protocol.ts';
import type { Caller, GatewayContext } from '../door.ts';

const MAX_BODY = 4096;

export async function postCommandEnded(
  gateway: GatewayContext,
  { lease, memory }: Caller,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { callKey } = parseJson(await readBody(request, MAX_BODY, memory.grow), commandEnded);
  await gateway.commands.ended(lease, callKey);
  response.writeHead(204).end();
}
