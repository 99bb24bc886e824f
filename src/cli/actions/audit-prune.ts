// The command `oplab audit prune`.

import { text as readText } from 'node:stream/consumers';
import type { Command } from 'commander';
import * as z from 'zod';
import { AuditDatabase } from '../../audit/database.ts';
import { openForReading } from '../../audit/database-file.ts';
import type { SessionSummary } from '../../audit/log.ts';
import { selectPrunable } from '../../audit/prune.ts';
import { parseDays } from '../../audit/retention.ts';
import { errorMessage, GatewayUnreachable, InvalidInput } from '../../errors.ts';
import { requireFile } from '../../input/file.ts';
import { errorBody } from '../../net/error-body.ts';
import { openRequest } from '../../net/request.ts';
import { connectionFlags, type Environment, parseFlags } from '../environment.ts';
import { sessionList } from '../reader/gateway-reader.ts';
import { entriesText } from '../render/entry.ts';

const flags = connectionFlags.extend({
  output: z.enum(['text', 'json']).default('text'),
  olderThan: z.string(),
  dryRun: z.boolean().default(false),
  file: z.string().optional(),
  socket: z.string(),
});
type Flags = z.infer<typeof flags>;

/** Prints what was deleted, or would be. @throws InvalidInput, GatewayUnreachable, AuditUnavailable */
export async function pruneAudit(environment: Environment, command: Command): Promise<void> {
  const { output } = environment;
  const given = parseFlags(command, flags);
  const before = new Date(environment.now().getTime() - parseDays(given.olderThan, '--older-than'));
  const items = await (given.dryRun ? listOld(environment, given, before) : prune(environment, given, before));
  if (given.output === 'json') {
    output.line(JSON.stringify({ dryRun: given.dryRun, items }, null, 2));
    return;
  }
  const done = given.dryRun ? 'would be pruned' : 'pruned';
  for (const { session, incident, entries, lastAt, headHash } of items) {
    output.line(
      `${incident.namespace}/${incident.name} (${session}): ${done}, ${entriesText(entries)} until ${lastAt.slice(0, 10)}, head ${headHash}`,
    );
  }
  if (items.length === 0) output.line(`No sealed session is older than ${given.olderThan}.`);
}

async function listOld(environment: Environment, given: Flags, before: Date): Promise<SessionSummary[]> {
  const reader = await (given.file === undefined ? environment.gateway(given) : environment.file(given.file));
  try {
    return selectPrunable(await reader.sessions(), before);
  } finally {
    await reader.close();
  }
}

async function prune(environment: Environment, given: Flags, before: Date): Promise<SessionSummary[]> {
  if (given.file !== undefined) return pruneFile(given.file, before, environment.now());
  return await pruneThroughGateway(given);
}

function pruneFile(path: string, before: Date, now: Date): SessionSummary[] {
  // Opening for writing would create a missing file.
  requireFile(path, '--file');
  openForReading(path).close();
  const db = AuditDatabase.openForWriting(path, 1000);
  try {
    const pruned = selectPrunable(db.sessions(), before);
    for (const summary of pruned) db.transaction(() => db.pruning.entomb(summary, now.toISOString()));
    while (db.transaction(() => db.pruning.deleteSome()));
    while (db.pruning.shrinkSome());
    db.checkpoint();
    return pruned;
  } finally {
    db.close();
  }
}

async function pruneThroughGateway({ socket, olderThan }: Flags): Promise<SessionSummary[]> {
  const { status, body } = await post(socket, '/prune', { olderThan });
  if (status === 200) return sessionList.parse(JSON.parse(body)).items;
  const refused = errorBody.safeParse(JSON.parse(body));
  throw new InvalidInput(refused.success ? refused.data.error.message : `the gateway answered ${status}: ${body}`);
}

async function post(socketPath: string, path: string, body: object): Promise<{ status: number; body: string }> {
  const url = new URL('http://gateway');
  const sent = openRequest({ url, socketPath, path, method: 'POST', headers: { 'content-type': 'application/json' } });
  try {
    sent.body.end(JSON.stringify(body));
    const response = await sent.receiveResponse();
    return { status: response.statusCode ?? 0, body: await readText(response) };
  } catch (error) {
    throw new GatewayUnreachable(
      `the gateway's admin socket ${socketPath} cannot be reached (${errorMessage(error)}); run the command in the gateway's pod (kubectl -n oplab-system exec deploy/oplab-gateway -- node /opt/oplab/dist/main.mjs audit prune …), or use --file or --dry-run`,
      error,
    );
  }
}
