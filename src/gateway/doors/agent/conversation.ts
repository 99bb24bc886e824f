// GET and POST conversation: what an agent needs to go on after its process was killed. Only the
// attempt itself can read it back, and only its latest process.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { AuditUnavailable } from '../../../errors.ts';
import { parseInput } from '../../../input/parse-input.ts';
import { readBody } from '../../../net/http-answer.ts';
import { MAX_CONVERSATION_BYTES } from '../../conversations.ts';
import { conversationQuery } from '../../protocol.ts';
import type { Caller, GatewayContext } from '../door.ts';

export async function getConversation(
  gateway: GatewayContext,
  { lease, memory }: Caller,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { run } = readQuery(request);
  const records = await gateway.conversations.read(lease, run);
  const body = Buffer.concat(records.flatMap((record) => [record, Buffer.from('\n')]));
  memory.grow(body.length);
  response.writeHead(200, { 'content-type': 'application/x-ndjson', 'content-length': body.length }).end(body);
}

export async function postConversation(
  gateway: GatewayContext,
  { lease, memory }: Caller,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { run, index, whole } = readQuery(request);
  const { failure } = gateway.log;
  // The space that is left on the volume is for the entries that close the sessions.
  if (failure !== undefined) throw new AuditUnavailable(`the audit log cannot be written: ${failure}`);
  const body = await readBody(request, MAX_CONVERSATION_BYTES, memory.grow);
  await gateway.conversations.append(lease, { run, index, isWhole: whole === 'true', body });
  response.writeHead(204).end();
}

function readQuery({ url = '' }: IncomingMessage) {
  const query = Object.fromEntries(new URL(url, 'http://gateway').searchParams);
  return parseInput(conversationQuery, query, 'the query of the conversation is not valid', { values: 'hidden' });
}
