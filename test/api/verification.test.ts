// What a repair must satisfy in addition to the checks: the baseline, comparisons with earlier
// readings, and the writes that the gateway has recorded.

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Incident } from '../../src/api/incident.ts';
import { findCondition } from '../../src/api/meta.ts';
import {
  AGENT_CLASSES,
  CONFIG_MAPS,
  EVENTS,
  INCIDENTS,
  PERSISTENT_VOLUME_CLAIMS,
  STATEFUL_SETS,
} from '../../src/kube/resources.ts';
import { type ApiServer, agentClass, CLUSTER_ROLES, startApiServer } from '../support/api-server.ts';
import { eventually } from '../support/eventually.ts';
import { Patient } from '../support/incident-probe.ts';
import { type RunningController, startController } from '../support/running-controller.ts';

let server: ApiServer;
let running: RunningController;
/** By how many milliseconds the controller's clock is ahead. */
let ahead = 0;
const now = () => new Date(Date.now() + ahead);
let count = 0;

beforeAll(async () => {
  server = await startApiServer();
  running = await startController(server, { now });
});
afterEach(({ task }) => {
  if (task.result?.state === 'fail') console.log(running.log.lines.join('\n'));
  running.log.lines.length = 0;
});
afterAll(async () => {
  await running?.stop();
  await server?.stop();
});

const condition = (incident: Incident, type: string) => findCondition(incident.status?.conditions, type);
const result = (incident: Incident, name: string) => incident.status?.verification?.find((one) => one.name === name);

/** A patient with a workload and a volume claim that can be taken away. */
async function furnished(): Promise<Patient> {
  count += 1;
  const sick = await new Patient(server.client, `furnished-${count}`, now).admit();
  await makeStore(sick, 3);
  await server.client.create(PERSISTENT_VOLUME_CLAIMS, {
    metadata: { namespace: sick.namespace, name: 'data-store-0' },
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Mi' } } },
  });
  return sick;
}

async function makeStore({ namespace }: Patient, replicas: number): Promise<void> {
  const labels = { app: 'store' };
  await server.client.create(STATEFUL_SETS, {
    metadata: { namespace, name: 'store' },
    spec: {
      replicas,
      serviceName: 'store',
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'store', image: 'none' }] } },
    },
  });
}

describe('the baseline', () => {
  it('must be kept: a patient that is scaled away is not repaired', async () => {
    const sick = await furnished();
    const store = { namespace: sick.namespace, name: 'store' };
    const incident = await sick.report('quiet');
    await incident.podRuns(1);
    await server.client.patch(STATEFUL_SETS, store, { spec: { replicas: 0 } });
    await sick.become('good');
    await incident.claim(1, 'Fixed');
    const broken = await incident.until('seen', (now) => condition(now, 'Verified')?.reason === 'BaselineBroken');
    expect(result(broken, 'baseline')?.observed).toContain('requests 0 replicas, but 3 before the first command');
    await server.client.patch(STATEFUL_SETS, store, { spec: { replicas: 3 } });
    await incident.seal();
    expect(condition(await incident.finished(), 'Succeeded')).toMatchObject({ status: 'True', reason: 'Verified' });
  });

  it('must be kept: a deleted volume claim is noticed', async () => {
    const sick = await furnished();
    const incident = await sick.report('wipe');
    await incident.podRuns(1);
    const claim = { namespace: sick.namespace, name: 'data-store-0' };
    // As with the claim protection finalizer: deleted, but present as long as a pod uses it.
    await server.client.patch(PERSISTENT_VOLUME_CLAIMS, claim, { metadata: { finalizers: ['oplab.dev/test'] } });
    await server.client.delete(PERSISTENT_VOLUME_CLAIMS, claim);
    await sick.become('good');
    await incident.claim(1, 'Fixed');
    const broken = await incident.until('seen', (now) => condition(now, 'Verified')?.reason === 'BaselineBroken');
    expect(result(broken, 'baseline')?.observed).toContain('data-store-0 no longer exists or is being deleted');
    await server.client.patch(PERSISTENT_VOLUME_CLAIMS, claim, { metadata: { finalizers: null } });
    await incident.delete();
  });

  it('is available to CEL for comparison', async () => {
    const sick = await furnished();
    const map = { namespace: sick.namespace, name: 'patient' };
    await server.client.patch(CONFIG_MAPS, map, { data: { count: '3' } });
    const cel = 'int(object.data.count) > int(baseline.object.data.count)';
    const checks = [{ name: 'more', kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'patient', cel } }];
    const incident = await sick.report('compare', { verify: { soakSeconds: 1, checks } });
    await incident.podRuns(1);
    const early = await incident.read();
    expect(early.status?.baseline?.readings).toEqual([{ check: 'more', json: '{"object":{"data":{"count":"3"}}}' }]);
    await incident.claim(1, 'Fixed');
    await incident.until('no more than before', (now) => condition(now, 'Verified')?.reason === 'ChecksFailing');
    await server.client.patch(CONFIG_MAPS, map, { data: { count: '4' } });
    await incident.seal();
    const done = await incident.finished();
    expect(condition(done, 'Succeeded')?.status).toBe('True');
    expect(result(done, 'more')?.observed).toBe('object.data.count = "4"; baseline.object.data.count = "3"');
  });

  it('prevents any start if it cannot be read, and the message names the missing right', async () => {
    const rules = [{ apiGroups: [''], resources: ['configmaps'], verbs: ['get'] }];
    await server.client.create(CLUSTER_ROLES, { metadata: { name: 'test-blind' }, rules });
    await server.client.create(AGENT_CLASSES, agentClass('blind', { readRoles: [{ name: 'test-blind' }] }));
    const sick = await furnished();
    const incident = await sick.report('unseen', { agentClassName: 'blind' });
    const stuck = await incident.until('a reason', ({ status }) => status?.message?.includes('readRoles') ?? false);
    expect(stuck.status?.message).toContain('the readRoles of AgentClass blind must allow listing statefulsets');
    expect(stuck.status?.attempts?.[0]?.podUID).toBeUndefined();
    await incident.delete();
  });

  it('is a reserved name that no check may have', async () => {
    const kubernetes = { apiVersion: 'v1', kind: 'ConfigMap', name: 'patient', cel: 'true' };
    const refused = server.client.create(INCIDENTS, {
      metadata: { namespace: 'default', name: 'taken' },
      spec: { summary: 's', verify: { checks: [{ name: 'baseline', kubernetes }] } },
    });
    await expect(refused).rejects.toThrow('baseline is reserved');
  });
});

describe('a false alarm', () => {
  it.each([
    ['NothingToRepair', { count: 0, last: [] }],
    ['HealthyButChanged', { count: 1, last: [{ attempt: 1, seq: 7, plane: 'kubernetes', text: 'patch pods x/y' }] }],
  ])('is Resolved with reason %s', async (reason, changes) => {
    const sick = await furnished();
    await sick.become('good');
    const incident = await sick.report('false-alarm');
    await incident.podRuns(1);
    await incident.gatewayWrites({ changes });
    await incident.claim(1, 'NothingWrong');
    await incident.seal();
    const done = await incident.finished();
    expect(done.status?.phase).toBe('Resolved');
    expect(condition(done, 'Succeeded')).toMatchObject({ status: 'True', reason });
    expect(done.status?.changes).toEqual(changes);
  });
});

describe('an escalation', () => {
  it('is handed over: observed once more, with commands, and as an event', async () => {
    const sick = await furnished();
    const incident = await sick.report('beyond');
    await incident.podRuns(1);
    await incident.gatewayWrites({
      changes: { count: 1, last: [{ attempt: 1, seq: 7, plane: 'kubernetes', text: 'patch pods x/y' }] },
    });
    // Not what was observed before the first command.
    await server.client.patch(
      CONFIG_MAPS,
      { namespace: sick.namespace, name: 'patient' },
      { data: { state: 'worse' } },
    );
    await incident.claim(1, 'CannotFix');
    await incident.seal();
    const done = await incident.finished();
    const { handover } = done.status ?? {};
    expect(handover?.summary).toContain('patient-good: object.data.state = "worse"');
    expect(handover?.summary).toContain('the agent says CannotFix');
    expect(handover?.attempts).toHaveLength(1);
    expect(handover?.changes).toEqual(['patch pods x/y (attempt 1, entry 7)']);
    expect(handover?.nextSteps[0]?.command?.join(' ')).toBe(
      `kubectl get configmap patient -n ${sick.namespace} -o yaml`,
    );
    await eventually(
      async () => {
        const { items } = await server.client.list(EVENTS, { namespace: sick.namespace });
        const event = items.find((one) => one.reason === 'HandedOver');
        return String(event?.note).includes('object.data.state = "worse"');
      },
      { what: 'an event with the hand-over' },
    );
  });
});

describe('deletion while an agent runs', () => {
  it('is recorded as the end of the attempt before the object is removed', async () => {
    const sick = await furnished();
    const incident = await sick.report('unwanted');
    await incident.podRuns(1);
    // Keeps the object, so that its last state can be read.
    const { metadata } = await incident.read();
    await server.client.patch(INCIDENTS, incident.ref, {
      metadata: { finalizers: [...(metadata.finalizers ?? []), 'oplab.dev/test'] },
    });
    await incident.delete();
    const last = await incident.until('ended', ({ status }) => status?.attempts?.[0]?.reason === 'Deleted');
    expect(last.status?.attempts?.[0]?.endTime).toBeDefined();
    await incident.until('freed', (now) => now.metadata.finalizers?.join() === 'oplab.dev/test');
    await server.client.patch(INCIDENTS, incident.ref, { metadata: { finalizers: null } });
  });
});

// Last, because it moves the clock, and claims contain the real time.
describe('the baseline over several attempts', () => {
  it('is that of the first: a deleted patient is not repaired, but one that is restored is', async () => {
    const sick = await furnished();
    const store = { namespace: sick.namespace, name: 'store' };
    const incident = await sick.report('cure', { limits: { attempts: 2 } });
    await incident.podRuns(1);
    const before = await incident.read();
    expect(before.status?.baseline).toMatchObject({
      workloads: [{ kind: 'StatefulSet', ...store, replicas: 3 }],
      volumeClaims: [{ namespace: sick.namespace, name: 'data-store-0' }],
    });
    expect(result(before, 'baseline')).toMatchObject({ passing: true });

    await server.client.delete(STATEFUL_SETS, store);
    await sick.become('good');
    await incident.claim(1, 'Fixed');
    const broken = await incident.until('seen', (now) => condition(now, 'Verified')?.reason === 'BaselineBroken');
    expect(result(broken, 'patient-good')).toMatchObject({ passing: true });
    expect(result(broken, 'baseline')).toMatchObject({
      passing: false,
      observed: `StatefulSet ${sick.namespace}/store no longer exists; it had 3 replicas`,
      baseline: expect.stringContaining(`StatefulSet ${sick.namespace}/store: 3 replicas`),
    });
    ahead += 61_000;
    await incident.poke();
    await incident.podRuns(2);
    const between = await incident.read();
    expect(between.status?.attempts?.[0]).toMatchObject({
      reason: 'ChecksFailed',
      message: expect.stringContaining('store no longer exists; it had 3 replicas'),
    });
    // The baseline is what existed before the first attempt, not what exists now.
    expect(between.status?.baseline).toEqual(before.status?.baseline);

    await makeStore(sick, 3);
    await incident.claim(2, 'Fixed');
    await incident.seal();
    const done = await incident.finished();
    expect(condition(done, 'Succeeded')).toMatchObject({ status: 'True', reason: 'Verified' });
    expect(done.status?.handover).toBeUndefined();
  });
});
