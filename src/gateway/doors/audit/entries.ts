// POST entries: appends an entry of the agent to its session. The answer is sent after the fsync.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { type EntryKind, type NewEntry, newEntry } from '../../../audit/entry.ts';
import { NotAllowed, TooLarge } from '../../../errors.ts';
import { parseJson, readBody, sendJson } from '../../../net/http-answer.ts';
import { type Caller, type GatewayContext, record } from '../door.ts';

/** Enough for a blob of 1 MiB with every character escaped, and the rest of an entry. */
const MAX_BODY = 8 * 1024 * 1024;

/**
 * The size of params in characters: twice that of the longest command. They are read again and again,
 * for the status and by everybody who follows the session.
 */
const MAX_PARAMS = 128 * 1024;

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
  const size = sizeOf(entry.params);
  if (size > MAX_PARAMS) {
    throw new TooLarge(`params: the size is ${size}; at most ${MAX_PARAMS} is recorded, put long text into blob`);
  }
  sendJson(response, 200, await record(gateway, lease, 'agent', entry));
}

/** The characters of all texts and keys, and a few for everything else. */
function sizeOf(value: NewEntry['params']): number {
  if (typeof value === 'string') return value.length;
  if (value === null || typeof value !== 'object') return 8;
  return Object.entries(value).reduce((sum, [key, member]) => sum + key.length + sizeOf(member), 8);
}
