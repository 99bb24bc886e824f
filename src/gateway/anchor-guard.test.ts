// A log that does not contain what the status says is not anchored again.

import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openLogInThisThread } from '../../test/support/log-in-this-thread.ts';
import type { Incident } from '../api/incident.ts';
import type { AuditStatus } from '../api/incident-status.ts';
import type { Entry } from '../audit/entry.ts';
import type { AuditStore } from '../audit/store.ts';
import { statusAnchors, verifySession } from '../audit/verify.ts';
import { createLogger } from '../observability/logger.ts';
import { AnchorGuard, describeBreak } from './anchor-guard.ts';
import { Budgets } from './budget.ts';
import { ChangeBook } from './changes.ts';
import { RunningCommands } from './running-commands.ts';
import { StatusWriter } from './status-writer.ts';

const session = 'uid-of-the-incident';
let directory: string;
let log: AuditStore;

const open = () => openLogInThisThread({ path: path.join(directory, 'audit.db') });
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-anchor-'));
  log = await open();
});
afterEach(async () => {
  await log.close();
  await rm(directory, { recursive: true, force: true });
});

const append = (key: string, of = session) =>
  log.append({ session: of, attempt: 1, writer: 'agent' }, { clientKey: key, kind: 'reasoning', content: key });
const head = async () => {
  const { entries = 0, headHash = '' } = (await log.head(session)) ?? {};
  return { entries, headHash };
};
const incident = (audit: AuditStatus, uid = session): Incident => ({
  apiVersion: 'oplab.dev/v1alpha1',
  kind: 'Incident',
  metadata: { name: 'down', namespace: 'tikv', uid },
  spec: {
    summary: 'down',
    severity: 'critical',
    agentClassName: 'default',
    verify: { soakSeconds: 0, checks: [] },
    suspend: false,
    cancel: false,
  },
  status: { audit },
});

/** Puts the log back to what it was before `more` was written. */
async function setBack(more: () => Promise<unknown>): Promise<{ entries: number; headHash: string }> {
  await log.close();
  await copyFile(path.join(directory, 'audit.db'), path.join(directory, 'old.db'));
  log = await open();
  await more();
  const published = await head();
  await log.close();
  await copyFile(path.join(directory, 'old.db'), path.join(directory, 'audit.db'));
  log = await open();
  return published;
}

describe('describeBreak', () => {
  it('accepts a pruned session only if its tombstone has the head that the status has', () => {
    const head = { entries: 3, headHash: 'a', prunedAt: '2026-01-01T00:00:00Z' };
    expect(describeBreak({ entries: 3, headHash: 'a' }, { row: undefined, head }, 'status')).toBeUndefined();
    expect(describeBreak({ entries: 3, headHash: 'b' }, { row: undefined, head }, 'status')).toBeDefined();
    expect(describeBreak({ entries: 2, headHash: 'a' }, { row: undefined, head }, 'status')).toBeDefined();
  });
});

describe('AnchorGuard', () => {
  it('accepts a log that ends at the anchor, has grown past it, or was never anchored', async () => {
    const guard = new AnchorGuard({ log });
    expect(await guard.check(incident({}))).toBeUndefined();
    await append('1');
    const first = await head();
    expect(await guard.check(incident(first))).toBeUndefined();
    await append('2');
    expect(await guard.check(incident(first))).toBeUndefined();
    expect(await guard.check(incident(await head()))).toBeUndefined();
  });

  it.each([
    ['cut', async () => {}, 'has 1 entries with the head'],
    [
      'set back and continued to the same length',
      async () => void (await append('other')),
      'but row 2 of the audit log',
    ],
    [
      'set back and continued past the anchor',
      async () => {
        await append('other');
        await append('another');
      },
      'but row 2 of the audit log',
    ],
  ])('finds a log that was %s, and reports it once', async (_, then, text) => {
    await append('1');
    const published = await setBack(() => append('2'));
    await then();
    const reported: string[] = [];
    const guard = new AnchorGuard({ log, onBroken: (_incident, message) => reported.push(message) });
    const message = await guard.check(incident(published));
    expect(message).toContain(`covers 2 entries with the head ${published.headHash}`);
    expect(message).toContain(text);
    expect(await guard.check(incident(published))).toBe(message);
    expect(reported).toEqual([message]);
    expect([guard.reason(session), guard.reason('another')]).toEqual([message, undefined]);
    expect(guard.brokenSessions).toEqual([session]);
  });

  it('finds a lost log and the log of another session', async () => {
    await append('1', 'another');
    const other = await log.head('another');
    const guard = new AnchorGuard({ log });
    expect(await guard.check(incident({ entries: 1, headHash: other?.headHash }))).toContain('has no entries');
    expect(await guard.check(incident({ entries: 1, headHash: other?.headHash }, 'another'))).toBeUndefined();
  });

  it('finds a log that lacks what this process has written, even if the watch lags behind', async () => {
    await append('1');
    const first = await head();
    const guard = new AnchorGuard({ log });
    guard.written(session, { entries: 2, headHash: 'f'.repeat(64) });
    expect(await guard.check(incident(first))).toContain('the last status that was written covers 2 entries');
  });

  it('finds a row whose fields do not match its hash', async () => {
    await append('1');
    const [row] = await log.read(session);
    const changed: Entry[] = row === undefined ? [] : [{ ...row, content: 'harmless' }];
    const guard = new AnchorGuard({
      log: { failure: undefined, head: (of) => log.head(of), read: async () => changed },
    });
    expect(await guard.check(incident(await head()))).toContain('the fields of row 1 no longer match its hash');
  });
});

describe('StatusWriter with a log that was set back', () => {
  /** What is in the status after the writer has run, with or without the guard. */
  async function written(check: AnchorGuard['check'] | undefined) {
    await append('1');
    const published = await setBack(() => append('2'));
    // What the gateway itself would add next.
    await append('other');
    let audit: AuditStatus = published;
    let guarded: unknown;
    const guard = new AnchorGuard({ log });
    const writer = new StatusWriter({
      client: {
        get: () => Promise.reject(new Error('not used')),
        apply: async (_resource, document, { fieldManager }) => {
          const { status } = { status: undefined, ...document };
          if (fieldManager === 'oplab-audit-guard') guarded = status;
          else ({ audit } = status ?? { audit });
          return { metadata: { name: 'down' } };
        },
      },
      log,
      budgets: new Budgets(log),
      changes: new ChangeBook(log),
      commands: new RunningCommands({ log }),
      guard: { check: check ?? ((of) => guard.check(of)), reason: () => undefined, written: () => {} },
      logFailure: () => undefined,
      tripwires: { condition: () => undefined },
      modelTroubles: { condition: () => undefined },
      incident: () => incident(published),
      bucket: { take: async () => {} },
      logger: createLogger('gateway', { stream: { write: () => {} } }),
      signal: new AbortController().signal,
    });
    await writer.flush(session);
    const { findings } = verifySession({
      session,
      incident: { namespace: 'tikv', name: 'down' },
      entries: await log.read(session),
      sealed: false,
      anchors: statusAnchors(audit),
    });
    return { published, audit, guarded, findings };
  }

  it('keeps the anchor and sets the condition, so that verify still finds the fault', async () => {
    const { published, audit, guarded, findings } = await written(undefined);
    expect(audit).toEqual(published);
    expect(guarded).toMatchObject({ conditions: [{ type: 'AuditIntact', status: 'False', reason: 'AuditBroken' }] });
    expect(findings).toMatchObject([{ kind: 'wrong-head', seq: 2 }]);
  });

  it('would anchor the log again without the check, and verify would find nothing', async () => {
    const { published, audit, findings } = await written(async () => undefined);
    expect(audit.headHash).not.toBe(published.headHash);
    expect(findings).toEqual([]);
  });
});
