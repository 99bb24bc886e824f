// A session from opening to seal, as agent, controller and readers see it: task, start, entries,
// claim, lifecycle entries, status, read API.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isTrue } from '../../src/api/meta.ts';
import { verifyChain } from '../../src/audit/hash-chain.ts';
import { lifecycleEvent } from '../../src/audit/lifecycle.ts';
import { startResult, task } from '../../src/gateway/protocol.ts';
import { CONFIG_MAPS, INCIDENTS } from '../../src/kube/resources.ts';
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

const append = (attempt: Attempt, clientKey: string, content: string) =>
  lab.ask(attempt, 'POST', '/audit/v1/entries', { clientKey, kind: 'reasoning', content });
const events = async (attempt: Attempt) => (await lab.entries(attempt)).flatMap((entry) => lifecycleEvent(entry) ?? []);

describe('a session', () => {
  it('gives the agent its task, including the runbook, and starts once', async () => {
    await lab.client.create(CONFIG_MAPS, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'oplab-runbook', namespace: TARGET },
      data: { 'facts.md': 'PD listens on port 2379' },
    });
    const attempt = await lab.open('begins');
    const given = task.parse((await lab.ask(attempt, 'GET', '/agent/v1/task')).json);
    expect(given).toMatchObject({
      session: attempt.session,
      attempt: 1,
      targetNamespaces: [TARGET],
      turnsLeft: 60,
      mode: 'Repair',
    });
    expect(given.runbooks).toMatchObject([
      { namespace: TARGET, text: expect.stringContaining('PD listens on port 2379'), writer: expect.any(String) },
    ]);
    const recorded = (await lab.entries(attempt)).filter((entry) => lifecycleEvent(entry) === 'runbook');
    expect(recorded).toMatchObject([
      { writer: 'gateway', params: { namespace: TARGET, given: true, writer: given.runbooks[0]?.writer } },
    ]);
    expect(given.checks[0]?.text).toContain('object.data.state == "well"');
    expect(Date.parse(given.deadline) - Date.now()).toBeGreaterThan(880_000);

    const start = async (body: object) =>
      startResult.parse((await lab.ask(attempt, 'POST', '/agent/v1/start', body)).json);
    const first = { alreadyStarted: false, restarts: 0, nextKey: 1 };
    expect(await start({ run: 'one' })).toEqual(first);
    // The answer was lost, and the same run asks again.
    expect(await start({ run: 'one' })).toEqual(first);
    expect((await append(attempt, '1-1', 'a thought')).status).toBe(200);
    const again = { alreadyStarted: true, restarts: 1, nextKey: 2 };
    expect(await start({ run: 'two' })).toEqual(again);
    expect(await start({ run: 'two' })).toEqual(again);
    // It died twice before it could say so.
    expect(await start({ run: 'three', restarts: 4 })).toEqual({ ...again, restarts: 4 });
    expect((await start({ run: 'four', restarts: 1 })).restarts).toBe(5);
    const resumed = (await lab.entries(attempt)).filter((entry) => lifecycleEvent(entry) === 'agent_resumed');
    expect(resumed.map(({ writer, params }) => [writer, params])).toMatchObject([
      ['gateway', { number: 1, run: 'two' }],
      ['gateway', { number: 4, run: 'three' }],
      ['gateway', { number: 5, run: 'four' }],
    ]);
    await eventually(async () => (await lab.incident('begins')).status?.usage?.agentRestarts === 5);
  });

  it('ends a loop of an agent that dies again and again without an entry of its own', async () => {
    const attempt = await lab.open('dies');
    const start = async (run: number) =>
      startResult.parse((await lab.ask(attempt, 'POST', '/agent/v1/start', { run: `run-${run}` })).json);
    await eventually(async () => ((await start(0)).alreadyStarted ? undefined : true));
    for (let run = 1; run <= 10; run++) expect((await start(run)).givenUp).toBeUndefined();
    expect((await start(11)).givenUp).toMatch(/died 11 times in a row/);
    await append(attempt, '1-1', 'alive');
    expect((await start(12)).givenUp).toBeUndefined();
  });

  it('accepts an entry once under one key, and refuses entries that only the gateway may write', async () => {
    const attempt = await lab.open('entries');
    const first = await append(attempt, '1-1', 'a thought');
    const again = await append(attempt, '1-1', 'a thought');
    expect(again.json).toEqual({ ...first.json, duplicate: true });
    const other = await append(attempt, '1-1', 'another thought');
    expect([other.status, other.json]).toMatchObject([409, { error: { code: 'OPLAB_AUDIT_CONFLICT' } }]);
    const forged = { clientKey: 'x', kind: 'kube_outcome', content: 'all went well' };
    expect((await lab.ask(attempt, 'POST', '/audit/v1/entries', forged)).status).toBe(400);
    const opened = { clientKey: 'opened', kind: 'lifecycle', params: { event: 'opened' }, content: '' };
    await lab.ask(attempt, 'POST', '/audit/v1/entries', opened);
    const entries = await lab.entries(attempt);
    expect(entries.filter((entry) => entry.clientKey === 'opened').map((entry) => entry.writer)).toEqual([
      'gateway',
      'agent',
    ]);
    expect(
      (await lab.gateway.log.sessions()).find((session) => session.session === attempt.session)?.incident.name,
    ).toBe('entries');
  });

  it('answers 409 until the pod is in the status, and 403 for a pod of another attempt', async () => {
    const first = await lab.open('takeover');
    const attempts = (await lab.incident('takeover')).status?.attempts ?? [];
    const { podUID, ...unentered } = attempts[0] ?? {};
    await lab.setStatus('takeover', { attempts: [unentered] });
    const early = await eventually(async () => {
      const answer = await lab.ask(first, 'GET', '/agent/v1/task');
      return answer.status === 200 ? undefined : answer;
    });
    expect([early.status, early.json]).toMatchObject([409, { error: { code: 'OPLAB_NO_LEASE_YET' } }]);
    await lab.setStatus('takeover', { attempts: [{ ...unentered, podUID }] });
    await eventually(async () => ((await append(first, '1-1', 'alive')).status === 200 ? true : undefined));
    const second = await lab.nextAttempt('takeover');
    await eventually(async () => ((await append(second, '2-1', 'alive')).status === 200 ? true : undefined));
    const late = await append(first, '1-2', 'still here?');
    expect([late.status, late.json]).toMatchObject([403, { error: { code: 'OPLAB_NO_LEASE' } }]);
  });

  it('writes the claim and its condition to the status, and resets the condition when the next attempt begins', async () => {
    const attempt = await lab.open('claims');
    const claim = {
      outcome: 'Fixed',
      summary: 'scaled back',
      rootCause: 'somebody scaled',
      actions: ['kubectl scale'],
    };
    expect((await lab.ask(attempt, 'POST', '/agent/v1/conclude', claim)).status).toBe(200);
    const { status } = await lab.incident('claims');
    expect(status?.claim).toMatchObject({ ...claim, attempt: 1 });
    expect(isTrue(status?.conditions, 'RepairClaimed')).toBe(true);
    expect(status?.conditions?.find(({ type }) => type === 'RepairClaimed')?.reason).toBe('Fixed');
    // The answer was lost. The same claim is accepted again, but a different one is not.
    expect((await lab.ask(attempt, 'POST', '/agent/v1/conclude', claim)).status).toBe(200);
    expect((await lab.ask(attempt, 'POST', '/agent/v1/conclude', { ...claim, outcome: 'CannotFix' })).status).toBe(409);
    await lab.nextAttempt('claims');
    await eventually(async () => {
      const now = await lab.incident('claims');
      return isTrue(now.status?.conditions, 'RepairClaimed') ? undefined : now.status?.claim;
    });
  });

  it('writes no claim for an attempt that has ended in the meantime', async () => {
    const attempt = await lab.open('late');
    await lab.client.patch(INCIDENTS, { name: 'late', namespace: TARGET }, { spec: { cancel: true } });
    const refused = await lab.ask(attempt, 'POST', '/agent/v1/conclude', { outcome: 'Fixed', summary: 'too late' });
    expect(refused.status).toBe(403);
    expect((await lab.incident('late')).status?.claim).toBeUndefined();
  });

  it('does not let an agent of a Diagnose class claim a repair', async () => {
    const attempt = await lab.open('diagnose', {}, { mode: 'Diagnose' });
    const claim = { outcome: 'Fixed', summary: 'looked hard' };
    expect((await lab.ask(attempt, 'POST', '/agent/v1/conclude', claim)).status).toBe(400);
  });

  it('anchors the head and the last entries in the status while it goes on, at most once a second', async () => {
    const attempt = await lab.open('anchored');
    await sleep(1500);
    const before = (await lab.incident('anchored')).metadata.resourceVersion;
    let writes = 0;
    const startedAt = performance.now();
    const watching = new AbortController();
    const watch = (async () => {
      try {
        const options = { namespace: TARGET, resourceVersion: before ?? '', signal: watching.signal };
        for await (const event of lab.client.watch(INCIDENTS, options)) {
          if (event.type === 'modified' && event.object.metadata.name === 'anchored') writes += 1;
        }
      } catch {
        // Ended below.
      }
    })();
    for (let index = 0; index < 60; index += 1) await append(attempt, `1-${index}`, `${index} ${'é'.repeat(600)}`);
    const head = await lab.gateway.log.head(attempt.session);
    const audit = await eventually(async () => {
      const now = (await lab.incident('anchored')).status?.audit;
      return now?.entries === head?.entries ? now : undefined;
    });
    expect(audit).toMatchObject({ sessionID: attempt.session, headHash: head?.headHash });
    expect(audit.tail).toHaveLength(20);
    expect(Math.max(...(audit.tail ?? []).map(({ text }) => Buffer.byteLength(text)))).toBeLessThanOrEqual(512);
    watching.abort();
    await watch;
    // One a second, and one more at each end of the time.
    expect(writes).toBeLessThanOrEqual((performance.now() - startedAt) / 1000 + 2);
  });

  it('records the life of an Incident and seals it on request, without duplicates after a restart', async () => {
    const attempt = await lab.open('life');
    await append(attempt, '1-1', 'a thought');
    await lab.ask(attempt, 'POST', '/agent/v1/conclude', { outcome: 'Fixed', summary: 'done' });
    const time = () => new Date().toISOString();
    const check = (passing: boolean, at: string) => ({
      name: 'well',
      passing,
      observedTime: at,
      ...(passing ? { passingSince: at } : { observed: '{}' }),
    });
    const attempts = (await lab.incident('life')).status?.attempts ?? [];
    await lab.setStatus('life', { attempts: [{ ...attempts[0], endTime: time(), reason: 'Claimed' }] });
    await lab.setStatus('life', { phase: 'Verifying', verification: [check(true, time())] });
    const seen = (wanted: string, times = 1) =>
      eventually(async () =>
        (await events(attempt)).filter((event) => event === wanted).length === times ? true : undefined,
      );
    // The gateway records states, not versions. A state that ends before it can be recorded leaves
    // no entry.
    await seen('check');
    await lab.setStatus('life', { verification: [check(false, time())], soak: { restarts: 1 } });
    await seen('soak_restarted');
    await lab.restartGateway();
    await lab.setStatus('life', { verification: [check(true, time())] });
    await seen('check', 3);
    const condition = (type: string, status: string, reason: string, text = '') => ({
      type,
      status,
      reason,
      message: text,
      lastTransitionTime: time(),
    });
    // Writes as the controller's field manager, so that the condition that the gateway owns is
    // kept.
    const conditions = ((await lab.incident('life')).status?.conditions ?? []).concat();
    await lab.setStatus('life', {
      conditions: [
        ...conditions,
        condition('Verified', 'True', 'ChecksHeld'),
        condition('AuditSealed', 'False', 'SealRequested', 'Resolved'),
      ],
    });
    const sealed = await eventually(async () => (await lab.incident('life')).status?.audit?.finalHeadHash);
    const entries = await lab.entries(attempt);
    expect(await events(attempt)).toEqual([
      ...['opened', 'attempt_started', 'attempt_pod', 'claim', 'attempt_ended'],
      ...['check', 'check', 'soak_restarted', 'check', 'verified', 'outcome', 'sealed'],
    ]);
    expect(entries.at(-1)?.hash).toBe(sealed);
    expect(verifyChain(attempt.session, entries)).toEqual([]);
    expect((await lab.incident('life')).status?.audit?.entries).toBe(entries.length);
    expect((await append(attempt, '1-2', 'one more')).status).toBe(403);
  });

  it('seals the session of an Incident that was deleted while no gateway ran', async () => {
    const attempt = await lab.open('orphan');
    await append(attempt, '1-1', 'alive');
    const restart = lab.restartGateway();
    await lab.client.delete(INCIDENTS, { name: 'orphan', namespace: TARGET });
    await restart;
    await eventually(async () => ((await lab.gateway.log.head(attempt.session))?.sealed ? true : undefined));
    expect((await lab.gateway.log.sessions()).find((session) => session.session === attempt.session)?.outcome).toBe(
      'Deleted',
    );
  });
});

describe('the read API', () => {
  it('serves sessions, entries and blobs, and streams entries and live output', async () => {
    const attempt = await lab.open('readers');
    await lab.ask(attempt, 'POST', '/audit/v1/entries', {
      clientKey: '1-1',
      kind: 'tool_result',
      tool: 'shell',
      content: 'ok',
      blob: 'full text',
    });
    expect((await lab.read(`/api/v1/sessions/${attempt.session}`)).json).toMatchObject({
      session: attempt.session,
      sealed: false,
    });
    const page = await lab.read(`/api/v1/sessions/${attempt.session}/entries?afterSeq=1&limit=1`);
    expect(page.json).toMatchObject({ items: [{ seq: 2 }] });
    const result = (await lab.entries(attempt)).find((entry) => entry.kind === 'tool_result');
    expect((await lab.read(`/api/v1/blobs/${result?.blobDigest}`)).text).toBe('full text');
    expect((await lab.read('/api/v1/sessions/nobody')).status).toBe(404);
    expect((await lab.read(`/api/v1/sessions/${attempt.session}/entries?limit=x`)).status).toBe(400);

    const stop = new AbortController();
    const response = await fetch(
      `http://127.0.0.1:${lab.gateway.ports.read}/api/v1/sessions/${attempt.session}/stream?afterSeq=1`,
      { signal: stop.signal },
    );
    let text = '';
    const reading = (async () => {
      try {
        for await (const chunk of response.body ?? []) text += Buffer.from(chunk).toString('utf8');
      } catch {
        // Aborted below.
      }
    })();
    await eventually(() => (text.includes('"tool_result"') ? true : undefined));
    await lab.ask(attempt, 'POST', '/audit/v1/live', {
      callKey: '1-2',
      stream: 'stdout',
      text: 'half a line, key sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789',
    });
    // The line is held back until the command ends.
    await lab.ask(attempt, 'POST', '/audit/v1/entries', {
      clientKey: '1-3',
      kind: 'tool_result',
      params: { call: '1-2' },
      content: 'and then',
    });
    await eventually(() => (text.includes('and then') ? true : undefined));
    expect(text).toMatch(/event: live\ndata: .*half a line/);
    expect(text).not.toContain('sk-ant-api03');
    expect(text).not.toMatch(/^id: 1$/m);
    await lab.client.delete(INCIDENTS, { name: 'readers', namespace: TARGET });
    await eventually(() => (text.includes('event: sealed') ? true : undefined));
    stop.abort();
    await reading;
  });

  it('does not answer a web page of another origin', async () => {
    const http = await import('node:http');
    const status = await new Promise((resolve) => {
      http.get(
        {
          host: '127.0.0.1',
          port: lab.gateway.ports.read,
          path: '/api/v1/sessions',
          headers: { host: 'evil.example' },
        },
        (response) => {
          response.resume();
          resolve(response.statusCode);
        },
      );
    });
    expect(status).toBe(403);
  });

  it('is ready, and counts its work', async () => {
    const get = async (path: string) =>
      await (await fetch(`http://127.0.0.1:${lab.gateway.ports.health}${path}`)).text();
    expect(await get('/readyz')).toBe('ok\n');
    const metrics = await get('/metrics');
    expect(metrics).toMatch(/oplab_audit_appends_total\{kind="lifecycle",process="gateway"\} \d+/);
    expect(metrics).toMatch(/oplab_status_writes_total\{result="written",process="gateway"\} \d+/);
  });
});
