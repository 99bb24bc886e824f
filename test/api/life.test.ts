// The life of an Incident against a real API server; the test plays kubelet and gateway.

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { FINALIZER } from '../../src/api/group.ts';
import { findCondition } from '../../src/api/meta.ts';
import { EVENTS, NETWORK_POLICIES, PODS, ROLE_BINDINGS, SERVICE_ACCOUNTS } from '../../src/kube/resources.ts';
import {
  type ApiServer,
  eventually,
  madeFor,
  Patient,
  type RunningController,
  startApiServer,
  startController,
} from '../support/api-server.ts';

const MADE = [PODS, SERVICE_ACCOUNTS, NETWORK_POLICIES, ROLE_BINDINGS];

let server: ApiServer;
let running: RunningController | undefined;
let count = 0;

beforeAll(async () => {
  server = await startApiServer();
});
afterAll(() => server?.stop());
afterEach(async () => {
  await running?.stop();
  running = undefined;
});

const patient = () => {
  count += 1;
  return new Patient(server.client, `patient-${count}`);
};

describe('an Incident whose repair is claimed and holds', () => {
  it('is Resolved, with nothing left behind', async () => {
    running = await startController(server);
    const sick = await patient().admit();
    const incident = await sick.report('broken');
    const pod = await incident.podOf(1);
    expect(pod.metadata.namespace).toBe('oplab-agents');
    const early = await incident.read();
    expect(early.status?.verification?.[0]).toMatchObject({ passing: false, baseline: 'object.data.state = "bad"' });
    expect(early.metadata.finalizers).toContain(FINALIZER);
    await incident.podRuns(1);
    await sick.become('good');
    await incident.claim(1, 'Fixed');
    await incident.seal();
    const done = await incident.finished();
    expect(done.status).toMatchObject({ phase: 'Resolved', audit: { sealedHeadHash: 'h3' } });
    expect(findCondition(done.status?.conditions, 'Succeeded')).toMatchObject({ status: 'True', reason: 'Verified' });
    expect(findCondition(done.status?.conditions, 'Verified')?.status).toBe('True');
    expect(findCondition(done.status?.conditions, 'AuditSealed')?.status).toBe('True');
    expect(done.status?.attempts).toHaveLength(1);
    expect(await madeFor(server.client, MADE, sick.namespace)).toEqual([]);
    await incident.until('finalizer gone', ({ metadata }) => metadata.finalizers === undefined);
    const events = await eventually(async () => {
      const { items } = await server.client.list(EVENTS, { namespace: sick.namespace });
      const reasons = items.map((event) => event.reason);
      return reasons.includes('Resolved') ? reasons : undefined;
    });
    expect(events).toEqual(
      expect.arrayContaining(['Accepted', 'AttemptStarted', 'AttemptEnded', 'RepairClaimed', 'Verified']),
    );
  });
});
