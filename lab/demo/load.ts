// Counts the load's acknowledged transactions over a few seconds.

import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import { openSession, type PatientTarget } from '../patient/session.ts';

const ledger = z.object({ acknowledgedTotal: z.number(), acknowledgedKeys: z.number(), p99Milliseconds: z.number() });

export interface LoadSeen {
  readonly total: number;
  readonly perSecond: number;
  readonly p99Milliseconds: number;
}

/** Reads the ledger twice, `seconds` apart. */
export async function measureLoad(target: PatientTarget, seconds: number): Promise<LoadSeen> {
  await using session = await openSession(target);
  const readLedger = () => session.get(session.service('load', '/ledger'), ledger);
  const before = await readLedger();
  const started = performance.now();
  await sleep(seconds * 1000, undefined, { signal: target.signal });
  const after = await readLedger();
  const took = (performance.now() - started) / 1000;
  return {
    total: after.acknowledgedTotal,
    perSecond: Math.round((after.acknowledgedTotal - before.acknowledgedTotal) / took),
    p99Milliseconds: after.p99Milliseconds,
  };
}
