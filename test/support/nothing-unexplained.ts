// Compares the audit log of the cluster's API server with all sessions of the gateway's log.

import * as z from 'zod';
import { readAuditLog } from '../../hack/cluster/audit-log.ts';
import { entry } from '../../src/audit/entry.ts';
import { sentDirectly } from './direct-request.ts';
import { eventually } from './eventually.ts';
import { oplab } from './live.ts';
import { type Pairing, pairRequests, parseAuditLog } from './pairing.ts';

const sessions = z.object({ items: z.array(z.looseObject({ session: z.string(), lastAt: z.string() })) });
const trail = z.object({ items: z.array(entry) });

/** The entries of all sessions that were open since then, also of Incidents that no longer exist. */
async function allEntries(since: Date) {
  const listed = await run('audit', 'list', '-A', '-o', 'json');
  const entries = [];
  for (const { session, lastAt } of sessions.parse(listed).items) {
    if (Date.parse(lastAt) < since.getTime()) continue;
    entries.push(...trail.parse(await run('audit', 'show', session, '-o', 'json')).items);
  }
  return entries;
}

async function run(...args: string[]): Promise<unknown> {
  const done = await oplab(...args);
  if (done.code !== 0) throw new Error(`oplab ${args.join(' ')} failed (${done.code}): ${done.stderr}`);
  return JSON.parse(done.stdout);
}

/**
 * Pairs every write of an agent since then. The API server writes an event a moment after its
 * answer, so faults count only if they stay.
 * @throws if the cluster's API server keeps no audit log
 */
export async function pairAll(since: Date): Promise<Pairing> {
  const pair = async () =>
    pairRequests(parseAuditLog(await readAuditLog()), await allEntries(since), { since, own: sentDirectly });
  let last = await pair();
  await eventually(
    async () => {
      if (last.faults.length === 0) return true;
      last = await pair();
      return undefined;
    },
    { what: 'both logs to agree', withinMs: 10_000, everyMs: 2000 },
  ).catch(() => undefined);
  return last;
}
