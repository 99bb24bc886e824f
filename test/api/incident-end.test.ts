// How an Incident ends or is held before its agent is done: limits, cancel, suspend, deletion. Nothing
// is left behind.

import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { NETWORK_POLICIES, PODS, ROLE_BINDINGS, SERVICE_ACCOUNTS } from '../../src/kube/resources.ts';
import { AGENTS, madeFor } from '../support/api-server.ts';
import { condition, lastAttempt, useController } from '../support/controller-harness.ts';
import { eventually } from '../support/eventually.ts';
import { NAMESPACES } from '../support/namespaces.ts';

const MADE = [PODS, SERVICE_ACCOUNTS, NETWORK_POLICIES, ROLE_BINDINGS];

const lab = useController({ sweepEveryMs: 1000 });

describe('limits', () => {
  it('end the Incident when its time is up', async () => {
    const sick = await lab.patient();
    const incident = await sick.report('slow', { limits: { timeoutSeconds: 30 } });
    const pod = await incident.findPod(1);
    expect(pod.spec).toMatchObject({ activeDeadlineSeconds: expect.any(Number) });
    await incident.podRuns(1);
    await lab.pass(31, incident);
    await incident.seal();
    const done = await incident.finished();
    expect(lastAttempt(done)?.reason).toBe('LimitReached');
    expect(condition(done, 'Succeeded')).toMatchObject({
      reason: 'LimitReached',
      message: 'the time limit of 30 s is reached',
    });
    expect(await madeFor(lab.server.client, MADE, sick.namespace)).toEqual([]);
  });

  it('end the Incident when the gateway reports that one is reached', async () => {
    const incident = await (await lab.patient()).report('costly');
    await incident.podRuns(1);
    const counts = {
      turns: 9,
      modelCalls: 9,
      inputTokens: 1,
      outputTokens: 1,
      cacheReadTokens: 0,
      cacheWriteTokens: 0,
    };
    await incident.gatewayWrites({ usage: { ...counts, costMilliUSD: 5000, limitReached: 'cost' } });
    await incident.seal();
    expect(condition(await incident.finished(), 'Succeeded')?.message).toContain('cost limit of 5000');
  });

  it('of the author never exceed those of the class', async () => {
    const incident = await (await lab.patient()).report('greedy', { limits: { timeoutSeconds: 80_000, maxTurns: 5 } });
    const { status } = await incident.until('accepted', (now) => condition(now, 'Accepted')?.status === 'True');
    expect(status?.limits).toMatchObject({ timeoutSeconds: 900, maxTurns: 5 });
    await incident.delete();
  });
});

describe('cancel', () => {
  it('ends a running attempt and leaves nothing behind', async () => {
    const sick = await lab.patient();
    const incident = await sick.report('stop');
    await incident.podRuns(1);
    await incident.spec({ cancel: true });
    await incident.seal();
    const done = await incident.finished();
    expect(done.status?.phase).toBe('Cancelled');
    expect(lastAttempt(done)?.reason).toBe('Cancelled');
    expect(await madeFor(lab.server.client, MADE, sick.namespace)).toEqual([]);
  });

  it('finishes after a minute without the gateway, and is sealed when the gateway is back', async () => {
    const incident = await (await lab.patient()).report('sealless');
    await incident.findPod(1);
    await incident.spec({ cancel: true });
    await incident.until('asks for the seal', (now) => condition(now, 'AuditSealed')?.reason === 'SealRequested');
    await lab.pass(61, incident);
    const done = await incident.finished();
    expect(condition(done, 'AuditSealed')).toMatchObject({ status: 'False', reason: 'GatewayUnavailable' });
    await incident.gatewayWrites({ audit: { finalHeadHash: 'late' } });
    await incident.until('sealed', ({ status }) => status?.audit?.sealedHeadHash === 'late');
  });
});

describe('suspend', () => {
  it('prevents any start', async () => {
    const incident = await (await lab.patient()).report('held', { suspend: true });
    await incident.until('held', (now) => condition(now, 'Reconciling')?.reason === 'Suspended');
    await sleep(300);
    expect((await incident.read()).status?.attempts).toBeUndefined();
    await incident.spec({ suspend: false });
    await incident.findPod(1);
    await incident.delete();
  });

  it('lets a running attempt continue, but prevents the end', async () => {
    const sick = await lab.patient('good');
    const incident = await sick.report('held-later');
    await incident.podRuns(1);
    await incident.spec({ suspend: true });
    await incident.claim(1, 'Fixed');
    const held = await incident.until(
      'held',
      ({ status }) => status?.message?.startsWith('suspended; otherwise it would be Resolved') ?? false,
    );
    expect(condition(held, 'Finished')).toBeUndefined();
    await incident.spec({ suspend: false });
    await incident.seal();
    expect((await incident.finished()).status?.phase).toBe('Resolved');
  });
});

describe('deletion', () => {
  it('removes pod, account, policy and rights within seconds', async () => {
    const sick = await lab.patient();
    const incident = await sick.report('deleted');
    await incident.podRuns(1);
    expect((await madeFor(lab.server.client, MADE, sick.namespace)).length).toBeGreaterThanOrEqual(5);
    await incident.delete();
    await eventually(async () => !(await incident.exists()), { what: 'the Incident is gone', withinMs: 5000 });
    expect(await madeFor(lab.server.client, MADE, sick.namespace)).toEqual([]);
  });

  it('of the whole namespace does not hang', async () => {
    const sick = await lab.patient();
    const incident = await sick.report('deleted');
    await incident.podRuns(1);
    await lab.server.client.delete(NAMESPACES, { name: sick.namespace });
    await eventually(
      async () =>
        !(await lab.server.client.list(NAMESPACES)).items.some((item) => item.metadata.name === sick.namespace),
      { what: 'the namespace is gone', withinMs: 30_000 },
    );
    expect(await madeFor(lab.server.client, MADE, sick.namespace)).toEqual([]);
  });
});

describe('the orphan sweep', () => {
  it('removes objects that belong to no Incident, and nothing else', async () => {
    const metadata = (name: string, labels: Record<string, string>) => ({ namespace: AGENTS, name, labels });
    const ours = { 'app.kubernetes.io/managed-by': 'oplab', 'oplab.dev/incident-uid': 'gone-for-good' };
    await lab.server.client.create(SERVICE_ACCOUNTS, {
      metadata: metadata('orphan', { ...ours, 'oplab.dev/attempt': '1' }),
    });
    await lab.server.client.create(SERVICE_ACCOUNTS, { metadata: metadata('stranger', {}) });
    const names = async () =>
      (await lab.server.client.list(SERVICE_ACCOUNTS, { namespace: AGENTS })).items.map((item) => item.metadata.name);
    await eventually(async () => !(await names()).includes('orphan'), { what: 'the orphan is gone' });
    expect(await names()).toContain('stranger');
    expect(await names()).toContain('oplab-verify-default');
  });
});
