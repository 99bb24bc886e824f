// POST entries: appends an entry of the agent to its session. The answer is sent after the fsync.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { type EntryKind, type NewEntry, newEntry } from '../../../audit/entry.ts';
import { errorMessage, NotAllowed, TooLarge } from '../../../errors.ts';
import { parseJson, readBody, sendJson } from '../../../net/http-answer.ts';
import { findClaimedWrite } from '../../claimed-write.ts';
import type { Lease } from '../../leases.ts';
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

/** The event of the entry about a command that says that it wrote, but did not. */
export const WRITE_NOT_SEEN = 'write_not_seen';

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
  const receipt = await record(gateway, lease, 'agent', entry);
  if (entry.kind === 'tool_result' && entry.exitCode === 0) await noteMissingWrite(gateway, lease, entry.blob ?? '');
  sendJson(response, 200, receipt);
}

/**
 * Adds an entry after a command that says that it wrote, if no door has seen a write of it. A hint
 * for people: never throws.
 */
async function noteMissingWrite(gateway: GatewayContext, lease: Lease, output: string): Promise<void> {
  try {
    const command = await gateway.commands.latest(lease.session);
    if (command === undefined || command.attempt !== lease.attempt || command.writes > 0) return;
    const claimed = findClaimedWrite(command.text, output);
    if (claimed === undefined) return;
    await record(gateway, lease, 'gateway', {
      clientKey: `write-not-seen:${command.seq}`,
      kind: 'lifecycle',
      params: { event: WRITE_NOT_SEEN, attempt: lease.attempt, commandSeq: command.seq, claimed },
      content: `command ${command.seq} runs "${claimed}" and ended with exit code 0, but no door has seen a write of it`,
    });
  } catch (error) {
    const { session } = lease;
    gateway.logger.warn({ session, error: errorMessage(error) }, 'the note about a command could not be recorded');
  }
}

/** The characters of all texts and keys, and a few for everything else. */
function sizeOf(value: NewEntry['params']): number {
  if (typeof value === 'string') return value.length;
  if (value === null || typeof value !== 'object') return 8;
  return Object.entries(value).reduce((sum, [key, member]) => sum + key.length + sizeOf(member), 8);
}
