// The audit log is set back while the gateway is down: the gateway keeps the anchor in the status,
// and stops that Incident only.

import { copyFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { findCondition } from '../../src/api/meta.ts';
import { statusAnchors, verifySession } from '../../src/audit/verify.ts';
import { EVENTS } from '../../src/kube/resources.ts';
import { eventually } from '../support/eventually.ts';
import { type Attempt, TARGET } from '../support/gateway-attempts.ts';
import { type GatewayHarness, startGatewayHarness } from '../support/gateway-harness.ts';

let lab: GatewayHarness;
beforeAll(async () => {
  lab = await startGatewayHarness();
});
afterAll(async () => {
  await lab?.close();
});

const append = (attempt: Attempt, clientKey: string) =>
  lab.ask(attempt, 'POST', '/audit/v1/entries', { clientKey, kind: 'reasoning', content: clientKey });

/** Waits until the status shows the head of the log. */
const anchored = (attempt: Attempt) =>
  eventually(async () => {
    const head = await lab.gateway.log.head(attempt.session);
    const { audit } = (await lab.incident(attempt.name)).status ?? {};
    return head !== undefined && audit?.headHash === head.headHash ? audit : undefined;
  });

const verify = async (attempt: Attempt) => {
  const { metadata, status } = await lab.incident(attempt.name);
  return verifySession({
    session: attempt.session,
    incident: { namespace: TARGET, name: metadata.name },
    entries: await lab.entries(attempt),
    sealed: false,
    anchors: statusAnchors(status?.audit),
  }).findings;
};

describe('a log that was set back by two entries', () => {
  let victim: Attempt;
  let bystander: Attempt;
  const file = () => path.join(lab.dir, 'audit.db');
  const copy = (name: string) => path.join(lab.dir, name);
  let before: Awaited<ReturnType<typeof anchored>>;
  let usage: unknown;

  beforeAll(async () => {
    [victim, bystander] = [await lab.open('victim', {}, { idle: true }), await lab.open('bystander')];
    for (const attempt of [victim, bystander]) {
      await eventually(async () => ((await append(attempt, 'first')).status === 200 ? true : undefined));
      await anchored(attempt);
    }
    await lab.stopGateway();
    await copyFile(file(), copy('old.db'));
    await lab.restartGateway();
    expect((await append(victim, 'second')).status).toBe(200);
    expect((await append(victim, 'third')).status).toBe(200);
    before = await anchored(victim);
    usage = (await lab.incident('victim')).status?.usage;
    await lab.stopGateway();
    await copyFile(file(), copy('new.db'));
    await rm(`${file()}-wal`, { force: true });
    await copyFile(copy('old.db'), file());
    await lab.restartGateway();
  });

  it('the door refuses the Incident with the reason', async () => {
    for (const answer of [await append(victim, 'fourth'), await lab.ask(victim, 'GET', '/agent/v1/task')]) {
      expect([answer.status, answer.json]).toMatchObject([403, { error: { code: 'OPLAB_NO_LEASE' } }]);
      expect(answer.text).toContain('AuditBroken');
    }
    const kube = await lab.kube(victim, 'GET', `/api/v1/namespaces/${TARGET}/configmaps`);
    expect(kube.status).toBe(403);
    expect(kube.text).toContain('AuditBroken');
  });

  it('the Incident has a condition and an event with both heads and the next step', async () => {
    const condition = await eventually(async () =>
      findCondition((await lab.incident('victim')).status?.conditions, 'AuditIntact'),
    );
    expect(condition).toMatchObject({ status: 'False', reason: 'AuditBroken' });
    const entries = before.entries ?? 0;
    expect(condition.message).toContain(`status.audit covers ${entries} entries with the head ${before.headHash}`);
    const head = await lab.gateway.log.head(victim.session);
    expect(condition.message).toContain(`has ${entries - 2} entries with the head ${head?.headHash}`);
    expect(condition.message).toContain('put back the newest audit.db');
    const event = z.looseObject({ reason: z.string(), regarding: z.looseObject({ name: z.string() }) });
    await eventually(async () => {
      const { items } = await lab.client.list(EVENTS, { namespace: TARGET });
      return items
        .map((item) => event.parse(item))
        .find(({ reason, regarding }) => {
          return reason === 'AuditBroken' && regarding.name === 'victim';
        });
    });
    const metrics = await fetch(`http://127.0.0.1:${lab.gateway.ports.health}/metrics`);
    expect(await metrics.text()).toMatch(/^oplab_audit_broken_sessions(\{[^}]*\})? 1$/m);
  });

  it('the anchor and the usage stay, the log gets no entry, and verify reports the missing rows', async () => {
    const entries = (await lab.entries(victim)).length;
    // A change of the Incident would otherwise be recorded and anchored.
    await lab.setStatus('victim', { phase: 'Verifying' });
    await sleep(2500);
    const { status } = await lab.incident('victim');
    expect(status?.audit).toEqual(before);
    expect(status?.usage).toEqual(usage);
    expect(await lab.entries(victim)).toHaveLength(entries);
    expect((await verify(victim)).map(({ message }) => message)).toEqual([
      expect.stringContaining(`rows ${entries + 1} to ${entries + 2} are missing`),
    ]);
  });

  it('another Incident works on', async () => {
    expect((await append(bystander, 'second')).status).toBe(200);
    await anchored(bystander);
    const { conditions } = (await lab.incident('bystander')).status ?? {};
    expect(findCondition(conditions, 'AuditIntact')).toBeUndefined();
    expect(await verify(bystander)).toEqual([]);
  });

  it('the right file, put back, heals the Incident', async () => {
    await lab.stopGateway();
    await copyFile(copy('new.db'), file());
    // The bystander has been anchored past this copy, so that it is the broken one now.
    await lab.restartGateway();
    await eventually(async () => ((await append(victim, 'fourth')).status === 200 ? true : undefined));
    await anchored(victim);
    await eventually(async () => {
      const { conditions } = (await lab.incident('victim')).status ?? {};
      return findCondition(conditions, 'AuditIntact') === undefined ? true : undefined;
    });
    expect(await verify(victim)).toEqual([]);
    expect((await append(bystander, 'third')).status).toBe(403);
  });
});
