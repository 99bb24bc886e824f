// POST entries: appends an entry of the agent to its session. The answer is sent after the fsync.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { type EntryKind, newEntry } from '../../../audit/entry.ts';
import { NotAllowed, TooLarge } from '../../../errors.ts';
import { parseJson, readBody, sendJson } from '../../../net/http-answer.ts';
import { type Caller, type GatewayContext, record } from '../door.ts';

/** Enough for a blob of 1 MiB with every character escaped, and the rest of an entry. */
const MAX_BODY = 8 * 1024 * 1024;

/** Of params as JSON, in characters: a command of 65,536 characters with every one escaped. */
const MAX_PARAMS = 512 * 1024;

/** The kinds that the agent may write. The gateway itself records the other kinds. */
const KINDS: readonly EntryKind[] = ['reasoning', 'tool_call', 'tool_result', 'lifecycle'];

export async function postEntry(
  gateway: GatewayContext,
  { lease, memory }: Caller,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const entry = parseJson(await readBody(request, MAX_BODY, memory.grow), newEntry);
  if (!KINDS.includes(entry.kind)) {
    throw new NotAllowed(`only the gateway may write entries of kind ${entry.kind}`);
  }
  const size = entry.params === undefined ? 0 : JSON.stringify(entry.params).length;
  if (size > MAX_PARAMS) {
    throw new TooLarge(`params: ${size} characters of JSON; at most ${MAX_PARAMS} are recorded, put long text in blob`);
  }
  sendJson(response, 200, await record(gateway, lease, 'agent', entry));
}
