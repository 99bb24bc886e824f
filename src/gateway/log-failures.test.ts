// What the gateway says when the audit log accepts no new work: conditions, events, and nothing twice.

import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { API_VERSION } from '../api/group.ts';
import { type Incident, incident as incidentSchema } from '../api/incident.ts';
import type { Head } from '../audit/log.ts';
import type { LogFailure } from '../audit/store-protocol.ts';
import { createLogger } from '../observability/logger.ts';
import { Budgets } from './budget.ts';
import { ChangeBook } from './changes.ts';
import { reportLogFailures } from './log-failures.ts';
import { keepRetention } from './retention.ts';
import { RunningCommands } from './running-commands.ts';
import { StatusWriter } from './status-writer.ts';

const logger = createLogger('gateway', { stream: { write: () => undefined } });
const FULL: LogFailure = { message: 'the audit volume is full', isFull: true, acceptsClosing: true };
const FAILED: LogFailure = { message: 'disk I/O error', isFull: false, acceptsClosing: false };

function incident(uid: string, status: object = {}): Incident {
  return incidentSchema.parse({
    apiVersion: API_VERSION,
    kind: 'Incident',
    metadata: { namespace: 'tikv', name: uid, uid, resourceVersion: '1', creationTimestamp: '2026-01-01T00:00:00Z' },
    spec: {
      summary: 's',
      severity: 'critical',
      verify: { checks: [{ name: 'x', kubernetes: { apiVersion: 'v1', kind: 'Pod', name: 'p', cel: 'true' } }] },
    },
    status,
  });
}
const finished = {
  conditions: [
    { type: 'Finished', status: 'True', reason: 'Resolved', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' },
  ],
};

describe('reportLogFailures', () => {
  it('tells each unfinished Incident once, and touches its status again when the log works', () => {
    let notify: (failure: LogFailure | undefined) => void = () => undefined;
    let failureDetails: LogFailure | undefined;
    const events: unknown[] = [];
    const touched: string[] = [];
    const again = reportLogFailures({
      log: {
        get failureDetails() {
          return failureDetails;
        },
        onFailureChange: (listener) => {
          notify = listener;
          return () => undefined;
        },
      },
      client: {
        create: async (_, event) => {
          events.push(event);
          return { metadata: { name: 'e' } };
        },
      },
      incidents: () => [incident('running'), incident('done', finished)],
      touch: (session) => touched.push(session),
      logger,
    });
    again();
    expect([events, touched]).toEqual([[], []]);
    failureDetails = FULL;
    notify(FULL);
    again();
    expect(events).toMatchObject([{ reason: 'AuditLogFull', regarding: { name: 'running' }, note: FULL.message }]);
    expect(new Set(touched)).toEqual(new Set(['running']));
    failureDetails = undefined;
    notify(undefined);
    notify(FAILED);
    expect(events).toMatchObject([{ reason: 'AuditLogFull' }, { reason: 'AuditLogFailed' }]);
  });
});

describe('StatusWriter', () => {
  async function writes(steps: readonly (LogFailure | undefined)[], head?: Head) {
    let failure: LogFailure | undefined;
    const written: { manager: string; status: unknown }[] = [];
    const log = {
      head: async () => head,
      tail: async () => [],
      read: async () => {
        if (failure?.acceptsClosing === false) throw new Error('the log cannot be read');
        return [];
      },
    };
    const writer = new StatusWriter({
      client: {
        get: () => Promise.reject(new Error('not used')),
        apply: async (_resource, document, { fieldManager }) => {
          const { status } = { status: undefined, ...document };
          written.push({ manager: fieldManager, status });
          return { metadata: { name: 'down' } };
        },
      },
      log,
      budgets: new Budgets(log),
      changes: new ChangeBook(log),
      commands: new RunningCommands({ log }),
      guard: {
        check: async () => {
          if (failure?.acceptsClosing === false) throw new Error('the log cannot be read');
          return undefined;
        },
        reason: () => undefined,
        written: () => undefined,
      },
      tripwires: { condition: () => undefined },
      modelTroubles: { condition: () => undefined },
      logFailure: () => failure,
      // As the watch shows it for a while: without what was written last.
      incident: () => incident('running'),
      bucket: { take: async () => undefined },
      logger,
      signal: new AbortController().signal,
    });
    for (failure of steps) await writer.flush('running').catch(() => undefined);
    return written;
  }
  const guarded = async (steps: readonly (LogFailure | undefined)[]) =>
    (await writes(steps)).filter(({ manager }) => manager === 'oplab-audit-guard').map(({ status }) => status);

  it('sets the condition while the volume is full, and removes it afterwards, once each', async () => {
    expect(await guarded([undefined, FULL, FULL, undefined, undefined])).toMatchObject([
      {
        conditions: [
          {
            type: 'AuditWritable',
            status: 'False',
            reason: 'AuditLogFull',
            message: expect.stringContaining(FULL.message),
          },
        ],
      },
      {},
    ]);
    expect(await guarded([undefined])).toEqual([]);
  });

  it('sets it even if the log cannot be read', async () => {
    expect(await guarded([FAILED])).toMatchObject([{ conditions: [{ reason: 'AuditLogFailed' }] }]);
  });

  it('does not write what a pruned session no longer says', async () => {
    const head: Head = { entries: 3, headHash: 'a', sealed: true };
    expect(await writes([undefined], head)).toHaveLength(1);
    expect(await writes([undefined], { ...head, prunedAt: '2026-01-01T00:00:00Z' })).toEqual([]);
  });
});

describe('keepRetention', () => {
  it('prunes what is older, again and again, and survives a failure', async () => {
    const stop = new AbortController();
    const limits: number[] = [];
    const kept = keepRetention({
      log: {
        prune: async (before) => {
          limits.push(Date.now() - before.getTime());
          if (limits.length === 1) throw new Error('disk full');
          return [];
        },
      },
      keepMs: 90 * 86_400_000,
      isEvidence: () => false,
      intervalMs: 5,
      logger,
      signal: stop.signal,
    });
    while (limits.length < 3) await sleep(5);
    stop.abort();
    await kept;
    for (const limit of limits) expect(Math.abs(limit - 90 * 86_400_000)).toBeLessThan(60_000);
  });

  it('deletes nothing from a log that is evidence', async () => {
    let pruned = 0;
    const stop = new AbortController();
    const kept = keepRetention({
      log: {
        prune: async () => {
          pruned += 1;
          return [];
        },
      },
      keepMs: 1,
      isEvidence: () => true,
      intervalMs: 5,
      logger,
      signal: stop.signal,
    });
    await sleep(50);
    stop.abort();
    await kept;
    expect(pruned).toBe(0);
  });

  it('without a retention deletes nothing, and finishes an interrupted prune once', async () => {
    const limits: Date[] = [];
    await keepRetention({
      log: {
        prune: async (before) => {
          limits.push(before);
          return [];
        },
      },
      keepMs: undefined,
      isEvidence: () => false,
      intervalMs: 5,
      logger,
      signal: new AbortController().signal,
    });
    expect(limits).toEqual([new Date(0)]);
  });
});
