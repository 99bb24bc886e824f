// The conversation of an attempt at the agents' port: who can keep it, who can read it, and when it is gone.

import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { Attempt } from '../support/gateway-attempts.ts';
import { type GatewayHarness, startGatewayHarness } from '../support/gateway-harness.ts';

let lab: GatewayHarness;
beforeAll(async () => {
  lab = await startGatewayHarness();
});
afterAll(() => lab?.close());

const at = (query: string) => `/agent/v1/conversation?${query}`;
const start = (attempt: Attempt, run: string) => lab.ask(attempt, 'POST', '/agent/v1/start', { run });
const keep = (attempt: Attempt, run: string, index: number, record: unknown) =>
  lab.ask(attempt, 'POST', at(`run=${run}&index=${index}`), record);
const read = (attempt: Attempt, run: string) => lab.ask(attempt, 'GET', at(`run=${run}`));
const files = () => readdir(path.join(lab.dir, 'conversations'));

async function begun(name: string): Promise<Attempt> {
  const attempt = await lab.open(name);
  await eventually(async () => (await start(attempt, 'one')).status === 200);
  return attempt;
}

describe('a conversation', () => {
  it('is read back by the same attempt alone, over a restart of the gateway, and shown by nothing', async () => {
    const mine = await begun('conversation-mine');
    const other = await begun('conversation-other');
    const secret = { thinking: 'the-secret-thought', signature: 'abc\u2028=' };
    expect((await keep(mine, 'one', 0, secret)).status).toBe(204);
    expect((await keep(mine, 'one', 1, { n: 1 })).status).toBe(204);
    expect((await read(other, 'one')).text).toBe('');
    await lab.restartGateway();
    await eventually(async () => (await start(mine, 'two')).status === 200);
    expect((await read(mine, 'two')).text).toBe(`${JSON.stringify(secret)}\n{"n":1}\n`);
    // The process before is dead. What it has sent arrives late.
    expect(await keep(mine, 'one', 2, { n: 2 })).toMatchObject({
      status: 400,
      json: { error: { code: 'OPLAB_NOT_ALLOWED' } },
    });
    expect((await read(mine, 'one')).status).toBe(400);
    for (const query of [
      '',
      'run=',
      `run=two&index=-1`,
      'run=two&index=x',
      'run=two&whole=yes',
      `run=${'x'.repeat(65)}`,
    ]) {
      expect((await lab.ask(mine, 'POST', at(query), {})).status).toBe(400);
    }
    const shown = [
      JSON.stringify(await lab.entries(mine)),
      (await lab.read(`/v1/sessions/${mine.session}`)).text,
      JSON.stringify(await lab.incident('conversation-mine')),
      lab.logLines.join(''),
      ...(await Promise.all(
        ['audit.db', 'audit.db-wal'].map((name) => readFile(path.join(lab.dir, name), 'latin1').catch(() => '')),
      )),
      ...(await Promise.all(
        (await files()).map((name) => readFile(path.join(lab.dir, 'conversations', name), 'latin1')),
      )),
    ];
    for (const text of shown) expect(text).not.toContain('the-secret-thought');
  });

  it('is gone when the attempt ends, when the Incident does, and is refused after that', async () => {
    const attempt = await begun('conversation-ends');
    await keep(attempt, 'one', 0, { n: 0 });
    expect(await files()).toContain(`${attempt.session}.1`);
    const next = await lab.nextAttempt('conversation-ends');
    await eventually(async () => !(await files()).includes(`${attempt.session}.1`));
    expect((await keep(attempt, 'one', 1, { n: 1 })).status).toBe(403);
    await eventually(async () => (await start(next, 'one')).status === 200);
    expect((await read(next, 'one')).text).toBe('');
    await keep(next, 'one', 0, { n: 0 });
    await lab.setStatus('conversation-ends', {
      conditions: [
        {
          ...{ type: 'AuditSealed', status: 'False', reason: 'SealRequested', message: 'it ends' },
          lastTransitionTime: new Date().toISOString(),
        },
      ],
    });
    await eventually(async () => !(await files()).some((name) => name.startsWith(attempt.session)));
  });

  it('has a most', async () => {
    const attempt = await begun('conversation-long');
    const part = 'x'.repeat(15 * 1024 * 1024);
    const sent = async (index: number) =>
      await eventually(async () => {
        const { status } = await keep(attempt, 'one', index, part);
        return status === 429 || status === 503 ? undefined : status;
      });
    expect(await sent(0)).toBe(204);
    expect(await sent(1)).toBe(204);
    expect(await sent(2)).toBe(413);
  });
});
