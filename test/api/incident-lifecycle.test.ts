// The life of an Incident against a real API server. The test plays the kubelet and the gateway,
// and controls the clock.

import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { FINALIZER } from '../../src/api/group.ts';
import {
  EVENTS,
  INCIDENTS,
  NETWORK_POLICIES,
  PODS,
  ROLE_BINDINGS,
  SERVICE_ACCOUNTS,
} from '../../src/kube/resources.ts';
import { AGENTS, madeFor } from '../support/api-server.ts';
import { condition, lastAttempt, useController } from '../support/controller-harness.ts';
import { eventually } from '../support/eventually.ts';
import { containerStatus } from '../support/incident-probe.ts';

const MADE = [PODS, SERVICE_ACCOUNTS, NETWORK_POLICIES, ROLE_BINDINGS];

const lab = useController({ sweepEveryMs: 1000 });

describe('a repair that is claimed and holds', () => {
  it('is Resolved, with nothing left behind', async () => {
    const sick = await lab.patient();
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
    expect(await madeFor(lab.server.client, MADE, sick.namespace)).toEqual([]);
    await incident.until('finalizer gone', ({ metadata }) => metadata.finalizers === undefined);
    const wanted = ['Accepted', 'AttemptStarted', 'AttemptEnded', 'RepairClaimed', 'Verified', 'Resolved'];
    await eventually(
      async () => {
        const { items } = await lab.server.client.list(EVENTS, { namespace: sick.namespace });
        const reasons = items.map((event) => event.reason);
        return wanted.every((reason) => reasons.includes(reason));
      },
      { what: 'events' },
    );
  });

  it('has no pod and no rights from the claim on, while the checks still run', async () => {
    const sick = await lab.patient();
    const incident = await sick.report('broken');
    await incident.podRuns(1);
    await incident.claim(1, 'Fixed');
    await incident.until('verifying', ({ status }) => status?.phase === 'Verifying');
    // Only the read rights of the checks are left.
    const left = await eventually(async () => {
      const made = await madeFor(lab.server.client, MADE, sick.namespace);
      return made.length === 1 ? made : undefined;
    });
    expect(left[0]).toMatch(/^RoleBinding patient-\d+\/broken-.*-verify-0$/);
    await incident.delete();
  });

  it('starts its soak again when a check fails for a second', async () => {
    const sick = await lab.patient('good');
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
    const sick = await lab.patient();
    const incident = await sick.report('lie', { limits: { attempts: 2 } });
    await incident.podRuns(1);
    await incident.claim(1, 'Fixed');
    await incident.until('the checks fail', (now) => condition(now, 'Verified')?.reason === 'ChecksFailing');
    await lab.pass(61, incident);
    const second = await incident.findPod(2);
    const between = await incident.read();
    expect(between.status?.attempts?.[0]).toMatchObject({ reason: 'ChecksFailed' });
    expect(between.status?.attempts?.[0]?.message).toContain('patient-good: object.data.state = "bad"');
    expect(second.metadata.name).toMatch(/-2$/);
    await incident.podRuns(2);
    await incident.claim(2, 'NothingWrong');
    await incident.until('verifying', ({ status }) => status?.phase === 'Verifying');
    await lab.pass(61, incident);
    await incident.seal();
    const done = await incident.finished();
    expect(done.status?.phase).toBe('Escalated');
    expect(condition(done, 'Succeeded')).toMatchObject({ status: 'False', reason: 'AttemptsExhausted' });
    expect(condition(done, 'Verified')?.status).toBe('False');
    expect(await madeFor(lab.server.client, MADE, sick.namespace)).toEqual([]);
  });

  it('is Escalated at once when the agent says that it cannot fix it', async () => {
    const incident = await (await lab.patient()).report('hopeless');
    await incident.podRuns(1);
    await incident.claim(1, 'CannotFix');
    await incident.seal();
    expect(condition(await incident.finished(), 'Succeeded')).toMatchObject({
      status: 'False',
      reason: 'AgentEscalated',
    });
  });

  it('does not count when the checks cannot be read', async () => {
    const sick = await lab.patient();
    const verify = {
      soakSeconds: 0,
      checks: [
        {
          name: 'typo',
          kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'patient', cel: 'object.data.nothing == 1' },
        },
        { name: 'gone', kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'absent', cel: 'true' } },
        { name: 'rights', kubernetes: { apiVersion: 'v1', kind: 'LimitRange', name: 'p', cel: 'true' } },
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
    const incident = await (await lab.patient()).report('evicted');
    await incident.podRuns(1);
    const pod = await incident.findPod(1);
    await lab.server.client.delete(PODS, { namespace: AGENTS, name: pod.metadata.name });
    await incident.findPod(2);
    expect((await incident.read()).status?.attempts?.[0]).toMatchObject({ reason: 'Interrupted' });
    await incident.podStatus(2, { phase: 'Failed', reason: 'Evicted', message: 'the node was low on memory' });
    await incident.seal();
    const done = await incident.finished();
    expect(lastAttempt(done)?.message).toContain('Evicted: the node was low on memory');
    expect(condition(done, 'Finished')).toMatchObject({ reason: 'Escalated' });
  });

  it('ends the attempt Interrupted when the agent ends without a claim', async () => {
    const incident = await (await lab.patient()).report('speechless', { limits: { attempts: 1 } });
    await incident.podRuns(1);
    await incident.podStatus(1, { phase: 'Succeeded' });
    await incident.seal();
    expect(lastAttempt(await incident.finished())).toMatchObject({
      reason: 'Interrupted',
      message: 'the agent ended without a conclusion',
    });
  });

  it('ends the attempt StartFailed, with the kubelet’s message, when its image cannot be pulled', async () => {
    const incident = await (await lab.patient()).report('imageless', { limits: { attempts: 1 } });
    const waiting = { waiting: { reason: 'ImagePullBackOff', message: 'no such image' } };
    await incident.podStatus(1, { phase: 'Pending', initContainerStatuses: [containerStatus('sandbox', waiting)] });
    await incident.until(
      'said so',
      ({ status }) => status?.message?.includes('ImagePullBackOff: no such image') ?? false,
    );
    await lab.pass(61, incident);
    await incident.seal();
    expect(lastAttempt(await incident.finished())).toMatchObject({
      reason: 'StartFailed',
      message: 'container sandbox: ImagePullBackOff: no such image',
    });
  });

  it('ends the attempt StartFailed when a target namespace does not exist', async () => {
    const incident = await (await lab.patient()).report('nowhere', {
      targetNamespaces: ['no-such-place'],
      limits: { attempts: 1 },
    });
    await incident.until('said so', ({ status }) => status?.message?.includes('no-such-place') ?? false);
    await lab.pass(61, incident);
    await incident.seal();
    expect(lastAttempt(await incident.finished())?.reason).toBe('StartFailed');
  });
});

describe('how long it takes', () => {
  it('from apply to pod created', async () => {
    const times: number[] = [];
    for (let round = 0; round < 5; round += 1) {
      const sick = await lab.patient();
      const begin = performance.now();
      const incident = await sick.report('timed');
      await eventually(async () => {
        const labelSelector = `oplab.dev/incident-namespace=${sick.namespace}`;
        return (await lab.server.client.list(PODS, { namespace: AGENTS, labelSelector })).items.length === 1;
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
      { type, status: 'False', reason, message: 'as the test says', lastTransitionTime: lab.now().toISOString() },
    ],
  });

  it('because of a write without a command ends the attempt and the Incident, although all checks hold', async () => {
    const sick = await lab.patient('good');
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
    expect(await madeFor(lab.server.client, MADE, sick.namespace)).toEqual([]);
  });

  it('because the log is broken ends an Incident that is being verified, without a seal', async () => {
    const sick = await lab.patient();
    const incident = await sick.report('log-broken', { limits: { attempts: 1 } });
    await incident.podRuns(1);
    await incident.claim(1, 'Fixed');
    await incident.until('verifying', ({ status }) => status?.phase === 'Verifying');
    const { name, namespace } = incident.ref;
    const broken = { metadata: { name, namespace }, status: fault('AuditIntact', 'AuditBroken') };
    const options = { fieldManager: 'oplab-audit-guard', force: true, subresource: 'status' } as const;
    await lab.server.client.apply(INCIDENTS, broken, options);
    const done = await incident.finished();
    expect(done.status?.phase).toBe('Escalated');
    expect(condition(done, 'Succeeded')).toMatchObject({ status: 'False', reason: 'AuditBroken' });
    expect(condition(done, 'AuditSealed')).toMatchObject({ status: 'False', reason: 'AuditBroken' });
    expect(done.status?.audit?.sealedHeadHash).toBeUndefined();
    expect(done.status?.handover?.nextSteps.at(-1)?.command?.slice(0, 3)).toEqual(['oplab', 'audit', 'verify']);
  });
});
