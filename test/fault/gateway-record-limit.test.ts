// The limits of the record at the doors: an Incident that uses up its share of the audit log ends, and
// a full volume stops new work and says so. The small file system needs root.

import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, rm, statfs, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { findCondition } from '../../src/api/meta.ts';
import { reserveBytes } from '../../src/audit/free-space.ts';
import { readOriginal } from '../../src/audit/original.ts';
import { reachedLimit } from '../../src/controller/incident/reached-limit.ts';
import { EVENTS } from '../../src/kube/resources.ts';
import { eventually } from '../support/eventually.ts';
import { type Attempt, TARGET } from '../support/gateway-attempts.ts';
import { type GatewayHarness, startGatewayHarness } from '../support/gateway-harness.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const VOLUME = 48 * MIB;
const CLAIM = { outcome: 'CannotFix', summary: 'no space', rootCause: '', actions: [] };

let lab: GatewayHarness;
let volume: string;
let attacker: Attempt;
let bystander: Attempt;

beforeAll(async () => {
  lab = await startGatewayHarness(async (dir) => {
    volume = path.join(dir, 'volume');
    await mkdir(volume);
    await run('mount', ['-t', 'tmpfs', '-o', `size=${VOLUME}`, 'tmpfs', volume]);
    return { OPLAB_DATA_DIR: volume, OPLAB_AUDIT_SESSION_BYTES: String(4 * MIB), OPLAB_AUDIT_SESSION_ENTRIES: '500' };
  });
  attacker = await lab.open('attacker');
  bystander = await lab.open('bystander');
  await eventually(async () => ((await note(bystander, 'first')).status === 200 ? true : undefined));
  await eventually(async () => ((await note(attacker, 'first')).status === 200 ? true : undefined));
});
afterAll(async () => {
  await lab?.stopGateway();
  await run('umount', ['-l', volume]);
  await lab?.close();
});

const note = (attempt: Attempt, clientKey: string, more: object = {}) =>
  lab.ask(attempt, 'POST', '/audit/v1/entries', { clientKey, kind: 'tool_result', content: clientKey, ...more });
const write = (attempt: Attempt, name: string) =>
  lab.kube(
    attempt,
    'POST',
    `/api/v1/namespaces/${TARGET}/configmaps`,
    { 'content-type': 'application/json' },
    JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name } }),
  );
const health = async (page: string) => {
  const answer = await fetch(`http://127.0.0.1:${lab.gateway.ports.health}${page}`);
  return { status: answer.status, text: await answer.text() };
};

describe('an Incident that uses up its share of the log', () => {
  it('loses its texts first, and then its lease', async () => {
    let refused = 0;
    for (let n = 0; n < 800 && refused === 0; n += 1) {
      const { status } = await note(attacker, `flood-${n}`, { blob: randomBytes(MIB / 4).toString('base64') });
      if (status === 429) refused = n;
      else expect(status).toBe(200);
    }
    expect(refused).toBeGreaterThan(400);
    const entries = await lab.gateway.log.read(attacker.session, { afterSeq: 400 });
    expect(readOriginal(entries[0]?.params)?.blob).toMatchObject({ omitted: 'session-limit' });
    expect((await statfs(volume)).bfree).toBeGreaterThan((await statfs(volume)).blocks * 0.8);
  });

  it('has the limit in its log and in its status, in words that the controller knows', async () => {
    const { usage, limits } = await eventually(async () => {
      const { status } = await lab.incident('attacker');
      return status?.usage?.limitReached === undefined ? undefined : status;
    });
    expect(usage?.limitReached).toBe('record');
    expect(reachedLimit({ limits, usage }, new Date())).toContain('limit of record');
    const entries = await lab.gateway.log.read(attacker.session, { afterSeq: 400 });
    expect(entries.find(({ clientKey }) => clientKey === 'limit-reached')).toMatchObject({
      writer: 'gateway',
      params: { event: 'limit_reached', limit: 'record' },
    });
  });

  it('can do nothing more, except conclude', async () => {
    // As a Status of the API: kubectl would repeat a 429.
    expect(await write(attacker, 'more')).toMatchObject({
      status: 403,
      text: expect.stringContaining('OPLAB_LIMIT_REACHED'),
    });
    expect((await note(attacker, 'more')).status).toBe(429);
    expect((await lab.ask(attacker, 'POST', '/agent/v1/conclude', CLAIM)).status).toBe(200);
    expect((await lab.incident('attacker')).status?.claim?.outcome).toBe('CannotFix');
  });

  it('does not affect another Incident', async () => {
    expect((await write(bystander, 'fine')).status).toBe(201);
    expect((await note(bystander, 'fine', { blob: 'whole' })).status).toBe(200);
    expect((await lab.incident('bystander')).status?.usage?.limitReached).toBeUndefined();
  });

  it('stays at its limit after a restart of the gateway', async () => {
    await lab.restartGateway();
    const { status } = await eventually(async () => {
      const answer = await note(attacker, 'after');
      return answer.status === 409 || answer.status === 503 ? undefined : answer;
    });
    expect(status).toBe(429);
  });
});

describe('a full volume', () => {
  const ballast = () => path.join(volume, 'ballast');

  it('stops new work', async () => {
    const { bavail, bsize } = await statfs(volume);
    await writeFile(ballast(), Buffer.alloc(bavail * bsize - reserveBytes(VOLUME) - 100 * 1024));
    expect((await note(bystander, 'refused')).status).toBe(503);
    expect((await write(bystander, 'refused')).status).toBe(503);
  });

  it('is shown in the Incident, in an event, in metrics and in the answers about health', async () => {
    const condition = await eventually(async () =>
      findCondition((await lab.incident('bystander')).status?.conditions, 'AuditWritable'),
    );
    expect(condition).toMatchObject({ status: 'False', reason: 'AuditLogFull' });
    expect(condition.message).toContain('the audit volume is full');
    const event = await eventually(async () =>
      (await lab.client.list(EVENTS, { namespace: TARGET })).items.find(
        (item) => z.looseObject({ reason: z.string() }).parse(item).reason === 'AuditLogFull',
      ),
    );
    expect(event).toMatchObject({ regarding: { kind: 'Incident' } });
    expect((await health('/metrics')).text).toMatch(/^oplab_audit_full\{[^}]*\} 1$/m);
    // Claims come in through the doors, so the gateway stays ready.
    expect(await health('/readyz')).toMatchObject({ status: 200, text: expect.stringContaining('volume is full') });
    expect(await health('/healthz')).toMatchObject({ status: 200, text: expect.stringContaining('volume is full') });
  });

  it('records claims, outcomes and seals nevertheless', async () => {
    expect((await lab.ask(bystander, 'POST', '/agent/v1/conclude', CLAIM)).status).toBe(200);
    await lab.setStatus('bystander', {
      conditions: [
        {
          type: 'AuditSealed',
          status: 'False',
          reason: 'SealRequested',
          message: 'Escalated',
          lastTransitionTime: new Date().toISOString(),
        },
      ],
    });
    const head = await eventually(async () => {
      const found = await lab.gateway.log.head(bystander.session);
      return found?.sealed === true ? found : undefined;
    });
    await eventually(async () =>
      (await lab.incident('bystander')).status?.audit?.finalHeadHash === head.headHash ? true : undefined,
    );
  });

  it('lets everything continue when there is space again', async () => {
    await rm(ballast());
    await eventually(() => lab.gateway.log.failure === undefined);
    const next = await lab.open('next');
    await eventually(async () => ((await note(next, 'first')).status === 200 ? true : undefined));
    expect((await write(next, 'works')).status).toBe(201);
    await eventually(async () =>
      findCondition((await lab.incident('attacker')).status?.conditions, 'AuditWritable') === undefined
        ? true
        : undefined,
    );
    expect(await health('/readyz')).toEqual({ status: 200, text: 'ok\n' });
  });
});
