// What the log knows of an attempt whose agent is started again.

import * as z from 'zod';
import { summaryParams } from '../audit/entry-params.ts';
import { lifecycleEvent } from '../audit/lifecycle.ts';
import type { AuditLog } from '../audit/log.ts';

/** The event of the entry that says that an agent was started again. */
export const AGENT_RESUMED_EVENT = 'agent_resumed';

/** Its params. `number` counts from 1 in each attempt, `run` names the process. */
export const resumedParams = z.looseObject({ attempt: z.number().int(), number: z.number().int(), run: z.string() });

export interface AttemptRecord {
  /** The number of the agent's next entry: `<attempt>-<n>`. */
  readonly nextKey: number;
  /** How often the agent was started again, as far as that is recorded. */
  readonly restarts: number;
  /** The restarts since its last entry. */
  readonly restartsInPlace: number;
  /** The number of each restart, by the run that it began. */
  readonly numbers: ReadonlyMap<string, number>;
}

const PAGE = 1000;

/** @throws AuditUnavailable */
export async function readAttemptRecord(
  log: Pick<AuditLog, 'read'>,
  session: string,
  attempt: number,
): Promise<AttemptRecord> {
  let nextKey = 1;
  let restarts = 0;
  let restartsInPlace = 0;
  const numbers = new Map<string, number>();
  for (let afterSeq = 0; ; ) {
    const page = await log.read(session, { afterSeq, limit: PAGE });
    for (const entry of page) {
      if (entry.attempt !== attempt) continue;
      if (entry.writer === 'agent') {
        const [, text] = /^(\d+)$/.exec(entry.clientKey.slice(`${attempt}-`.length)) ?? [];
        if (text !== undefined) nextKey = Math.max(nextKey, Number(text) + 1);
        // A summary may still arrive from the process that is dead.
        if (!summaryParams.safeParse(entry.params).success) restartsInPlace = 0;
      } else if (lifecycleEvent(entry) === AGENT_RESUMED_EVENT) {
        const { run, number } = resumedParams.safeParse(entry.params).data ?? { run: '', number: 0 };
        numbers.set(run, number);
        restarts = Math.max(restarts, number);
        restartsInPlace++;
      }
    }
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE) break;
    afterSeq = last.seq;
  }
  return { nextKey, restarts, restartsInPlace, numbers };
}
