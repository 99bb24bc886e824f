// The life of an Incident against a real API server. The test plays the kubelet and the gateway,
// and controls the clock.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { FINALIZER } from '../../src/api/group.ts';
import type { Incident } from '../../src/api/incident.ts';
import { findCondition } from '../../src/api/meta.ts';
import {
  EVENTS,
  INCIDENTS,
  NETWORK_POLICIES,
  PODS,
  ROLE_BINDINGS,
  SERVICE_ACCOUNTS,
} from '../../src/kube/resources.ts';
import { AGENTS, type ApiServer, madeFor, startApiServer } from '../support/api-server.ts';
import { eventually } from '../support/eventually.ts';
import { containerStatus, type IncidentProbe, Patient } from '../support/incident-probe.ts';
import { NAMESPACES } from '../support/namespaces.ts';
import { type RunningController, startController } from '../support/running-controller.ts';

const MADE = [PODS, SERVICE_ACCOUNTS, NETWORK_POLICIES, ROLE_BINDINGS];

let server: ApiServer;
let running: RunningController;
/** By how many milliseconds the controller's clock is ahead. */
let ahead = 0;
const now = () => new Date(Date.now() + ahead);
let count = 0;

beforeAll(async () => {
  server = await startApiServer();
  running = await startController(server, { now, sweepEveryMs: 1000 });
});
afterEach(({ task }) => {
  if (task.result?.state === 'fail') console.log(running.log.lines.join('\n'));
  running.log.lines.length = 0;
});
afterAll(async () => {
  await running?.stop();
  await server?.stop();
});

const patient = (state?: string) => {
  count += 1;
  return new Patient(server.client, `patient-${count}`, now).admit(state);
};
const condition = (incident: Incident, type: string) => findCondition(incident.status?.conditions, type);
const last = (incident: Incident) => incident.status?.attempts?.at(-1);

/** Moves the controller's clock forward. */
async function pass(seconds: number, incident: IncidentProbe): Promise<void> {
  ahead += seconds * 1000;
  await incident.poke();
}

describe('a repair that is claimed and holds', () => {
  it('is Resolved, with nothing left behind', async () => {
    const sick = await patient();
    const incident = await sick.report('broken');
    const pod = await incident.findPod(1);
    expect(pod.metadata.namespace).toBe(AGENTS);
    const early = await incident.read();
    expect(early.status?.verification?.[0]).toMatchObject({ passing: false, baseline: 'object.data.state = "bad"' });
    expect(early.metadata.finalizers).toContain(FINALIZER);
    await incident.podRuns(1);
    await sick.become('good');
    await incident.claim(1, 'Fixed');
    await incident.seal();
    const done = await incident.finished();
    expect(done.status).toMatchObject({ phase: 'Resolved', audit: { sealedHeadHash: 'h3' } });
    expect(condition(done, 'Succeeded')).toMatchObject({ status: 'True', reason: 'Verified' });
    expect(condition(done, 'Verified')?.status).toBe('True');
    expect(condition(done, 'AuditSealed')?.status).toBe('True');
    expect(done.status?.attempts).toHaveLength(1);
    expect(await madeFor(server.client, MADE, sick.namespace)).toEqual([]);
    await incident.until('finalizer gone', ({ metadata }) => metadata.finalizers === undefined);
    const wanted = ['Accepted', 'AttemptStarted', 'AttemptEnded', 'RepairClaimed', 'Verified', 'Resolved'];
    await eventually(
      async () => {
        const { items } = await server.client.list(EVENTS, { namespace: sick.namespace });
        const reasons = items.map((event) => event.reason);
        return wanted.every((reason) => reasons.includes(reason));
      },
      { what: 'events' },
    );
  });

  it('has no pod and no rights from the claim on, while the checks still run', async () => {
    const sick = await patient();
    const incident = await sick.report('broken');
    await incident.podRuns(1);
    await incident.claim(1, 'Fixed');
    await incident.until('verifying', ({ status }) => status?.phase === 'Verifying');
    // Only the read rights of the checks are left.
    const left = await eventually(async () => {
      const made = await madeFor(server.client, MADE, sick.namespace);
      return made.length === 1 ? made : undefined;
    });
    expect(left[0]).toMatch(/^RoleBinding patient-\d+\/broken-.*-verify-0$/);
    await incident.delete();
  });

  it('starts its soak again when a check fails for a second', async () => {
    const sick = await patient('good');
    const verify = {
      soakSeconds: 6,
      checks: [
        {
          name: 'good',
          kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'patient', cel: "object.data.state == 'good'" },
        },
      ],
    };
    const incident = await sick.report('flapping', { verify });
    await incident.podRuns(1);
    await incident.claim(1, 'Fixed');
    const first = await incident.until('soaking', ({ status }) => status?.soak?.startTime !== undefined);
    await sick.become('bad');
    await sleep(1000);
    await sick.become('good');
    const again = await incident.until(
      'soaking again',
      ({ status }) => status?.soak?.startTime !== undefined && status.soak.startTime !== first.status?.soak?.startTime,
    );
    expect(again.status?.soak?.restarts).toBe(1);
    await incident.seal();
    const done = await incident.finished();
    expect(done.status?.phase).toBe('Resolved');
    const soaked = Date.parse(done.status?.finishTime ?? '') - Date.parse(again.status?.soak?.startTime ?? '');
    expect(soaked).toBeGreaterThanOrEqual(6000);
  });
});

describe('a repair that is claimed but does not hold', () => {
  it('is tried again with the evidence, and then Escalated, but never Succeeded', async () => {
    const sick = await patient();
    const incident = await sick.report('lie', { limits: { attempts: 2 } });
    await incident.podRuns(1);
    await incident.claim(1, 'Fixed');
    await incident.until('the checks fail', (now) => condition(now, 'Verified')?.reason === 'ChecksFailing');
    await pass(61, incident);
    const second = await incident.findPod(2);
    const between = await incident.read();
    expect(between.status?.attempts?.[0]).toMatchObject({ reason: 'ChecksFailed' });
    expect(between.status?.attempts?.[0]?.message).toContain('patient-good: object.data.state = "bad"');
    expect(second.metadata.name).toMatch(/-2$/);
    await incident.podRuns(2);
    await incident.claim(2, 'NothingWrong');
    await incident.until('verifying', ({ status }) => status?.phase === 'Verifying');
    await pass(61, incident);
    await incident.seal();
    const done = await incident.finished();
    expect(done.status?.phase).toBe('Escalated');
    expect(condition(done, 'Succeeded')).toMatchObject({ status: 'False', reason: 'AttemptsExhausted' });
    expect(condition(done, 'Verified')?.status).toBe('False');
    expect(await madeFor(server.client, MADE, sick.namespace)).toEqual([]);
  });

  it('is Escalated at once when the agent says that it cannot fix it', async () => {
    const incident = await (await patient()).report('hopeless');
    await incident.podRuns(1);
    await incident.claim(1, 'CannotFix');
    await incident.seal();
    expect(condition(await incident.finished(), 'Succeeded')).toMatchObject({
      status: 'False',
      reason: 'AgentEscalated',
    });
  });

  it('does not count when the checks cannot be read', async () => {
    const sick = await patient();
    const verify = {
      soakSeconds: 0,
      checks: [
        {
          name: 'typo',
          kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'patient', cel: 'object.data.nothing == 1' },
        },
        { name: 'gone', kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'absent', cel: 'true' } },
        { name: 'rights', kubernetes: { apiVersion: 'v1', kind: 'Pod', name: 'p', cel: 'true' } },
        { name: 'kind', kubernetes: { apiVersion: 'v1', kind: 'Nonsense', name: 'p', cel: 'true' } },
      ],
    };
    const incident = await sick.report('blind', { verify });
    await incident.podRuns(1);
    await incident.claim(1, 'Fixed');
    const seen = await incident.until(
      'failing checks',
      (now) => condition(now, 'Verified')?.reason === 'ChecksFailing',
    );
    const error = (name: string) => seen.status?.verification?.find((check) => check.name === name)?.error;
    expect(error('typo')).toContain('field not found: nothing');
    expect(error('gone')).toContain('does not exist');
    expect(error('rights')).toContain('forbidden');
    expect(error('kind')).toContain('has no kind Nonsense');
    await incident.delete();
  });
});

describe('a pod that fails', () => {
  it('ends the attempt Interrupted, and the next one begins', async () => {
    const incident = await (await patient()).report('evicted');
    await incident.podRuns(1);
    const pod = await incident.findPod(1);
    await server.client.delete(PODS, { namespace: AGENTS, name: pod.metadata.name });
    await incident.findPod(2);
    expect((await incident.read()).status?.attempts?.[0]).toMatchObject({ reason: 'Interrupted' });
    await incident.podStatus(2, { phase: 'Failed', reason: 'Evicted', message: 'the node was low on memory' });
    await incident.seal();
    const done = await incident.finished();
    expect(last(done)?.message).toContain('Evicted: the node was low on memory');
    expect(condition(done, 'Finished')).toMatchObject({ reason: 'Escalated' });
  });

  it('ends the attempt Interrupted when the agent ends without a claim', async () => {
    const incident = await (await patient()).report('speechless', { limits: { attempts: 1 } });
    await incident.podRuns(1);
    await incident.podStatus(1, { phase: 'Succeeded' });
    await incident.seal();
    expect(last(await incident.finished())).toMatchObject({
      reason: 'Interrupted',
      message: 'the agent ended without a conclusion',
    });
  });

  it('ends the attempt StartFailed, with the kubelet’s message, when its image cannot be pulled', async () => {
    const incident = await (await patient()).report('imageless', { limits: { attempts: 1 } });
    const waiting = { waiting: { reason: 'ImagePullBackOff', message: 'no such image' } };
    await incident.podStatus(1, { phase: 'Pending', initContainerStatuses: [containerStatus('sandbox', waiting)] });
    await incident.until(
      'said so',
      ({ status }) => status?.message?.includes('ImagePullBackOff: no such image') ?? false,
    );
    await pass(61, incident);
    await incident.seal();
    expect(last(await incident.finished())).toMatchObject({
      reason: 'StartFailed',
      message: 'container sandbox: ImagePullBackOff: no such image',
    });
  });

  it('ends the attempt StartFailed when a target namespace does not exist', async () => {
    const incident = await (await patient()).report('nowhere', {
      targetNamespaces: ['no-such-place'],
      limits: { attempts: 1 },
    });
    await incident.until('said so', ({ status }) => status?.message?.includes('no-such-place') ?? false);
    await pass(61, incident);
    await incident.seal();
    expect(last(await incident.finished())?.reason).toBe('StartFailed');
  });
});

describe('limits', () => {
  it('end the Incident when its time is up', async () => {
    const sick = await patient();
    const incident = await sick.report('slow', { limits: { timeoutSeconds: 30 } });
    const pod = await incident.findPod(1);
    expect(pod.spec).toMatchObject({ activeDeadlineSeconds: expect.any(Number) });
    await incident.podRuns(1);
    await pass(31, incident);
    await incident.seal();
    const done = await incident.finished();
    expect(last(done)?.reason).toBe('LimitReached');
    expect(condition(done, 'Succeeded')).toMatchObject({
      reason: 'LimitReached',
      message: 'the time limit of 30 s is reached',
    });
    expect(await madeFor(server.client, MADE, sick.namespace)).toEqual([]);
  });

  it('end the Incident when the gateway reports that one is reached', async () => {
    const incident = await (await patient()).report('costly');
    await incident.podRuns(1);
    const counts = {
      turns: 9,
      modelCalls: 9,
      inputTokens: 1,
      outputTokens: 1,
      cacheReadTokens: 0,
      cacheWriteTokens: 0,
    };
    await incident.gatewayWrites({ usage: { ...counts, costMilliUSD: 2000, limitReached: 'cost' } });
    await incident.seal();
    expect(condition(await incident.finished(), 'Succeeded')?.message).toContain('cost limit of 2000');
  });

  it('of the author never exceed those of the class', async () => {
    const incident = await (await patient()).report('greedy', { limits: { timeoutSeconds: 80_000, maxTurns: 5 } });
    const { status } = await incident.until('accepted', (now) => condition(now, 'Accepted')?.status === 'True');
    expect(status?.limits).toMatchObject({ timeoutSeconds: 900, maxTurns: 5 });
    await incident.delete();
  });
});

describe('cancel', () => {
  it('ends a running attempt and leaves nothing behind', async () => {
    const sick = await patient();
    const incident = await sick.report('stop');
    await incident.podRuns(1);
    await incident.spec({ cancel: true });
    await incident.seal();
    const done = await incident.finished();
    expect(done.status?.phase).toBe('Cancelled');
    expect(last(done)?.reason).toBe('Cancelled');
    expect(await madeFor(server.client, MADE, sick.namespace)).toEqual([]);
  });

  it('finishes after a minute without the gateway, and is sealed when the gateway is back', async () => {
    const incident = await (await patient()).report('sealless');
    await incident.findPod(1);
    await incident.spec({ cancel: true });
    await incident.until('asks for the seal', (now) => condition(now, 'AuditSealed')?.reason === 'SealRequested');
    await pass(61, incident);
    const done = await incident.finished();
    expect(condition(done, 'AuditSealed')).toMatchObject({ status: 'False', reason: 'GatewayUnavailable' });
    await incident.gatewayWrites({ audit: { finalHeadHash: 'late' } });
    await incident.until('sealed', ({ status }) => status?.audit?.sealedHeadHash === 'late');
  });
});

describe('suspend', () => {
  it('prevents any start', async () => {
    const incident = await (await patient()).report('held', { suspend: true });
    await incident.until('held', (now) => condition(now, 'Reconciling')?.reason === 'Suspended');
    await sleep(300);
    expect((await incident.read()).status?.attempts).toBeUndefined();
    await incident.spec({ suspend: false });
    await incident.findPod(1);
    await incident.delete();
  });

  it('lets a running attempt continue, but prevents the end', async () => {
    const sick = await patient('good');
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
    const sick = await patient();
    const incident = await sick.report('deleted');
    await incident.podRuns(1);
    expect((await madeFor(server.client, MADE, sick.namespace)).length).toBeGreaterThanOrEqual(5);
    await incident.delete();
    await eventually(async () => !(await incident.exists()), { what: 'the Incident is gone', withinMs: 5000 });
    expect(await madeFor(server.client, MADE, sick.namespace)).toEqual([]);
  });

  it('of the whole namespace does not hang', async () => {
    const sick = await patient();
    const incident = await sick.report('deleted');
    await incident.podRuns(1);
    await server.client.delete(NAMESPACES, { name: sick.namespace });
    await eventually(
      async () => !(await server.client.list(NAMESPACES)).items.some((item) => item.metadata.name === sick.namespace),
      { what: 'the namespace is gone', withinMs: 30_000 },
    );
    expect(await madeFor(server.client, MADE, sick.namespace)).toEqual([]);
  });
});

describe('the orphan sweep', () => {
  it('removes objects that belong to no Incident, and nothing else', async () => {
    const metadata = (name: string, labels: Record<string, string>) => ({ namespace: AGENTS, name, labels });
    const ours = { 'app.kubernetes.io/managed-by': 'oplab', 'oplab.dev/incident-uid': 'gone-for-good' };
    await server.client.create(SERVICE_ACCOUNTS, {
      metadata: metadata('orphan', { ...ours, 'oplab.dev/attempt': '1' }),
    });
    await server.client.create(SERVICE_ACCOUNTS, { metadata: metadata('stranger', {}) });
    const names = async () =>
      (await server.client.list(SERVICE_ACCOUNTS, { namespace: AGENTS })).items.map((item) => item.metadata.name);
    await eventually(async () => !(await names()).includes('orphan'), { what: 'the orphan is gone' });
    expect(await names()).toContain('stranger');
    expect(await names()).toContain('oplab-verify-default');
  });
});

describe('how long it takes', () => {
  it('from apply to pod created', async () => {
    const times: number[] = [];
    for (let round = 0; round < 5; round += 1) {
      const sick = await patient();
      const begin = performance.now();
      const incident = await sick.report('timed');
      await eventually(async () => {
        const labelSelector = `oplab.dev/incident-namespace=${sick.namespace}`;
        return (await server.client.list(PODS, { namespace: AGENTS, labelSelector })).items.length === 1;
      });
      times.push(performance.now() - begin);
      await incident.delete();
    }
    times.sort((a, b) => a - b);
    console.log(`apply → pod created, ms: ${times.map((time) => time.toFixed(0)).join(' ')}`);
    expect(times[2]).toBeLessThan(2000);
  });
});

describe('a record that cannot be trusted', () => {
  const fault = (type: string, reason: string) => ({
    conditions: [
      { type, status: 'False', reason, message: 'as the test says', lastTransitionTime: now().toISOString() },
    ],
  });

  it('because of a write without a command ends the attempt and the Incident, although all checks hold', async () => {
    const sick = await patient('good');
    const incident = await sick.report('unexplained');
    await incident.podRuns(1);
    await incident.gatewayWrites(fault('WritesExplained', 'UnexplainedWrite'));
    await incident.seal();
    const done = await incident.finished();
    expect(done.status).toMatchObject({ phase: 'Escalated', audit: { sealedHeadHash: 'h3' } });
    expect(done.status?.attempts).toMatchObject([{ reason: 'UnexplainedWrite', message: 'as the test says' }]);
    expect(condition(done, 'Succeeded')).toMatchObject({ status: 'False', reason: 'UnexplainedWrite' });
    expect(condition(done, 'WritesExplained')?.status).toBe('False');
    expect(done.status?.handover?.nextSteps.at(-1)?.what).toContain('without a recorded command');
    expect(await madeFor(server.client, MADE, sick.namespace)).toEqual([]);
  });

  it('because the log is broken ends an Incident that is being verified, without a seal', async () => {
    const sick = await patient();
    const incident = await sick.report('log-broken', { limits: { attempts: 1 } });
    await incident.podRuns(1);
    await incident.claim(1, 'Fixed');
    await incident.until('verifying', ({ status }) => status?.phase === 'Verifying');
    const { name, namespace } = incident.ref;
    const broken = { metadata: { name, namespace }, status: fault('AuditIntact', 'AuditBroken') };
    const options = { fieldManager: 'oplab-audit-guard', force: true, subresource: 'status' } as const;
    await server.client.apply(INCIDENTS, broken, options);
    const done = await incident.finished();
    expect(done.status?.phase).toBe('Escalated');
    expect(condition(done, 'Succeeded')).toMatchObject({ status: 'False', reason: 'AuditBroken' });
    expect(condition(done, 'AuditSealed')).toMatchObject({ status: 'False', reason: 'AuditBroken' });
    expect(done.status?.audit?.sealedHeadHash).toBeUndefined();
    expect(done.status?.handover?.nextSteps.at(-1)?.command?.slice(0, 3)).toEqual(['oplab', 'audit', 'verify']);
  });
});
