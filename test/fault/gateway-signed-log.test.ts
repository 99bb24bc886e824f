// File, ConfigMap and Incidents against each other, with a real API server: a log that contradicts what
// was signed gives no Incident a lease, and a deleted Incident leaves its anchor.

import { copyFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { findCondition } from '../../src/api/meta.ts';
import { parseVerifier } from '../../src/audit/signed-note.ts';
import { isSound, verifyFile } from '../../src/audit/verify.ts';
import { auditAnchor } from '../../src/gateway/protocol.ts';
import { CONFIG_MAPS, EVENTS, INCIDENTS } from '../../src/kube/resources.ts';
import { eventually } from '../support/eventually.ts';
import { type Attempt, TARGET } from '../support/gateway-attempts.ts';
import { type GatewayHarness, SYSTEM, startGatewayHarness } from '../support/gateway-harness.ts';

let lab: GatewayHarness;
beforeAll(async () => {
  lab = await startGatewayHarness();
});
afterAll(async () => {
  await lab?.close();
});

const ref = { name: auditAnchor.name, namespace: SYSTEM };
const file = () => path.join(lab.dir, 'audit.db');
const copy = (name: string) => path.join(lab.dir, name);
const published = async () => {
  const { data } = z
    .looseObject({ data: z.record(z.string(), z.string()).optional() })
    .parse(await lab.client.get(CONFIG_MAPS, ref));
  return data ?? {};
};
const size = async () => Number((await published()).checkpoint?.split('\n')[1]);
const append = (attempt: Attempt, clientKey: string) =>
  lab.ask(attempt, 'POST', '/audit/v1/entries', { clientKey, kind: 'reasoning', content: clientKey });
const recorded = (attempt: Attempt, key: string) =>
  eventually(async () => ((await append(attempt, key)).status === 200 ? true : undefined));
const health = async (what: string) =>
  await (await fetch(`http://127.0.0.1:${lab.gateway.ports.health}/${what}`)).text();
const putBack = async (name: string) => {
  await rm(`${file()}-wal`, { force: true });
  await copyFile(copy(name), file());
};

describe('the checkpoint in the ConfigMap', () => {
  it('covers every session, and the file can be verified with the public key alone', async () => {
    const one = await lab.open('one');
    await recorded(one, 'first');
    await eventually(async () => ((await size()) === 1 ? true : undefined));
    await lab.stopGateway();
    const key = parseVerifier((await published())['public-key']?.trim() ?? '', 'ConfigMap');
    const keys = { verifiers: [key], source: 'ConfigMap', onFirstUse: true };
    const report = verifyFile(file(), { keys });
    expect(report.sessions[0]?.signed?.entries).toBe(report.sessions[0]?.entries);
    expect(isSound(report)).toBe(true);
    await copyFile(file(), copy('early.db'));
    await lab.restartGateway();
  });

  it('keeps the seal of a deleted Incident, so that its session cannot vanish', async () => {
    const gone = await lab.open('gone');
    await recorded(gone, 'first');
    await lab.client.delete(INCIDENTS, { name: 'gone', namespace: TARGET });
    await eventually(async () => ((await lab.gateway.log.head(gone.session))?.sealed ? true : undefined));
    await eventually(async () => ((await size()) === 3 ? true : undefined));
    await lab.stopGateway();
    await copyFile(file(), copy('new.db'));
    const db = new DatabaseSync(file(), { enableForeignKeyConstraints: false });
    for (const { name } of db.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").all()) {
      db.exec(`DROP TRIGGER ${String(name)}`);
    }
    for (const table of ['entries', 'seals', 'log_leaves']) {
      db.prepare(`DELETE FROM ${table} WHERE session = ?`).run(gone.session);
    }
    db.close();
    // Alone, the file shows nothing: no status is left that would.
    expect(verifyFile(file()).sessions.flatMap(({ findings }) => findings)).toEqual([]);
    await lab.restartGateway();
    expect(await health('healthz')).toMatch(/^ok, but the audit log is broken: .* covers 3 openings .* has 1/);
    await lab.stopGateway();
    await putBack('new.db');
    await lab.restartGateway();
    expect(await health('healthz')).toBe('ok\n');
  });
});

describe('a file that was set back to before a session', () => {
  let one: Attempt;
  let before: Record<string, string>;

  beforeAll(async () => {
    one = await lab.open('two');
    await recorded(one, 'first');
    await eventually(async () => ((await size()) === 4 ? true : undefined));
    await lab.stopGateway();
    before = await published();
    await copyFile(file(), copy('newest.db'));
    await putBack('early.db');
    await lab.restartGateway();
  });

  it('gives no Incident a lease', async () => {
    const message = { model: 'claude-opus-5-5', max_tokens: 16, messages: [{ role: 'user', content: 'hello' }] };
    for (const answer of [
      await append(one, 'second'),
      await lab.ask(one, 'GET', '/agent/v1/task'),
      await lab.ask(one, 'POST', '/v1/messages', message),
    ]) {
      expect([answer.status, answer.json]).toMatchObject([403, { error: { code: 'OPLAB_NO_LEASE' } }]);
      expect(answer.text).toContain('set back or replaced');
    }
  });

  it('is told by a condition and an event of each Incident in progress, metric and health', async () => {
    for (const name of ['one', 'two']) {
      const condition = await eventually(async () =>
        findCondition((await lab.incident(name)).status?.conditions, 'AuditIntact'),
      );
      expect(condition).toMatchObject({ status: 'False', reason: 'AuditBroken' });
      expect(condition.message).toContain('kubectl -n oplab-system patch configmap oplab-audit-anchor');
      await eventually(async () => {
        const { items } = await lab.client.list(EVENTS, { namespace: TARGET });
        return items.find((item) => Object(item).reason === 'AuditBroken' && Object(item).regarding.name === name);
      });
    }
    expect(await health('metrics')).toMatch(/^oplab_audit_broken(\{[^}]*\})? 1$/m);
    expect(await health('healthz')).toContain('the audit log is broken');
    expect(await health('readyz')).toMatch(/^ok, but/);
  });

  it('changes neither the log nor the ConfigMap, also when Incidents come and go', async () => {
    const entries = (await lab.gateway.log.sessions()).map(({ entries: count }) => count);
    await lab.open('three');
    await lab.client.delete(INCIDENTS, { name: 'one', namespace: TARGET });
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect((await lab.gateway.log.sessions()).map(({ entries: count }) => count)).toEqual(entries);
    expect(await published()).toEqual(before);
  });

  it('can be replaced by the newest copy', async () => {
    await lab.stopGateway();
    await putBack('newest.db');
    await lab.restartGateway();
    await recorded(one, 'second');
    await eventually(async () => {
      const { conditions } = (await lab.incident('two')).status ?? {};
      return findCondition(conditions, 'AuditIntact') === undefined ? true : undefined;
    });
  });
});

describe('a ConfigMap that was changed while the gateway runs', () => {
  it('closes the doors, and an administrator can accept the log', async () => {
    const four = await lab.open('four');
    await recorded(four, 'first');
    const before = await eventually(async () => ((await size()) >= 6 ? await published() : undefined));
    await lab.client.patch(CONFIG_MAPS, ref, { data: { checkpoint: 'mine' } });
    const five = await lab.open('five');
    const refused = await eventually(async () => {
      const answer = await append(four, `more-${crypto.randomUUID()}`);
      return answer.status === 403 ? answer : undefined;
    });
    expect(refused.text).toContain('was changed by somebody else than the gateway while the gateway was running');
    expect((await published()).checkpoint).toBe('mine');
    await lab.restartGateway();
    const told = await health('healthz');
    const accept = /"accept":"(?<state>[^"]+)"/.exec(told)?.groups?.state ?? '';
    expect(accept).toMatch(/^\d+ \S{44}$/);
    await lab.client.patch(CONFIG_MAPS, ref, { data: { accept } });
    await lab.restartGateway();
    expect(await health('healthz')).toBe('ok\n');
    await recorded(five, 'first');
    await eventually(async () => ((await size()) > Number(before.checkpoint?.split('\n')[1]) - 1 ? true : undefined));
    expect(await published()).not.toHaveProperty('accept');
  });
});
