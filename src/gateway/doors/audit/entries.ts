// POST entries: the agent puts something on record. The answer comes after the fsync.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { type EntryKind, newEntry } from '../../../audit/entry.ts';
import { NotAllowed } from '../../../errors.ts';
import { parseJson, readBody, sendJson } from '../../../net/http-answer.ts';
import { type Caller, type GatewayContext, record } from '../door.ts';

/** A blob of 1 MiB in JSON's worst escape, and the rest of an entry. */
const MAX_BODY = 8 * 1024 * 1024;

/** What the gateway itself is the witness of cannot be put on record by the agent. */
const KINDS: readonly EntryKind[] = ['reasoning', 'tool_call', 'tool_result', 'lifecycle'];

export async function postEntry(
  gateway: GatewayContext,
  { lease }: Caller,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const entry = parseJson(await readBody(request, MAX_BODY), newEntry);
  if (!KINDS.includes(entry.kind)) {
    throw new NotAllowed(`entries of kind ${entry.kind} are written by the gateway alone`);
  }
  sendJson(response, 200, await record(gateway, lease, 'agent', entry));
}
