// Whether and when an Incident may start, against a real API server: its class must allow it, and
// no other may come before it.

import { describe, expect, it } from 'vitest';
import { AGENT_CLASSES, ROLE_BINDINGS } from '../../src/kube/resources.ts';
import { agentClass, SYSTEM } from '../support/api-server.ts';
import { condition, useController } from '../support/controller-harness.ts';
import { eventually } from '../support/eventually.ts';

const lab = useController();

describe('the queue', () => {
  it('lets one Incident at a time work on a namespace: by severity, then age', async () => {
    const sick = await lab.patient();
    const first = await sick.report('first', { severity: 'info' });
    await first.podRuns(1);
    const elsewhere = await lab.patient();
    const targets = [sick.namespace];
    const warning = await elsewhere.report('warning', { severity: 'warning', targetNamespaces: targets });
    const critical = await sick.report('critical', { severity: 'critical' });
    const waiting = await warning.until('waits', (now) => condition(now, 'Reconciling')?.reason === 'Queued');
    expect(waiting.status?.message).toContain(`which works on namespace ${sick.namespace}`);
    await critical.until('waits', (now) => condition(now, 'Reconciling')?.reason === 'Queued');
    await first.claim(1, 'CannotFix');
    await first.seal();
    await critical.findPod(1);
    await warning.until('waits for the next', ({ status }) => status?.message?.includes('/critical') ?? false);
    expect((await warning.read()).status?.attempts).toBeUndefined();
    await critical.spec({ cancel: true });
    await critical.seal();
    await warning.findPod(1);
    await warning.delete();
  });

  it('starts only one of many Incidents that are created at once', async () => {
    const sick = await lab.patient();
    const probes = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((name) => sick.report(name)));
    await eventually(async () => {
      const all = await Promise.all(probes.map((probe) => probe.read()));
      return all.every((now) => now.status?.phase === 'Running' || condition(now, 'Reconciling')?.reason === 'Queued');
    });
    const all = await Promise.all(probes.map((probe) => probe.read()));
    expect(all.filter((now) => now.status?.attempts !== undefined)).toHaveLength(1);
    for (const probe of probes) await probe.delete();
  });
});

describe('acceptance', () => {
  it('waits for a class that does not exist yet, and says so', async () => {
    const incident = await (await lab.patient()).report('classless', { agentClassName: 'later' });
    const waiting = await incident.until('stalled', (now) => condition(now, 'Stalled')?.status === 'True');
    expect(condition(waiting, 'Accepted')).toMatchObject({ status: 'False', reason: 'ClassNotFound' });
    await lab.server.client.create(AGENT_CLASSES, agentClass('later'));
    await incident.findPod(1);
    expect(condition(await incident.read(), 'Stalled')?.status).toBe('False');
    await incident.delete();
  });

  it('refuses namespaces that the class does not allow, permanently', async () => {
    await lab.server.client.create(AGENT_CLASSES, agentClass('narrow', { targetNamespaces: ['other'] }));
    const incident = await (await lab.patient()).report('forbidden', { agentClassName: 'narrow' });
    await incident.seal();
    const done = await incident.finished();
    expect(done.status?.phase).toBe('Failed');
    expect(condition(done, 'Succeeded')?.reason).toBe('NamespaceNotAllowed');
    expect(done.status?.attempts).toBeUndefined();
  });

  it("refuses oplab's own namespaces permanently, even if no admission policy refused them", async () => {
    const incident = await (await lab.patient()).report('inside', { targetNamespaces: [SYSTEM] });
    await incident.seal();
    const done = await incident.finished();
    expect(condition(done, 'Succeeded')).toMatchObject({
      reason: 'NamespaceNotAllowed',
      message: expect.stringContaining(`no agent may work in ${SYSTEM}`),
    });
    expect(done.status?.attempts).toBeUndefined();
  });

  it('refuses a check whose CEL does not parse, and says where', async () => {
    const checks = [
      { name: 'c', kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'patient', cel: 'object.data ==' } },
    ];
    const incident = await (await lab.patient()).report('unparsable', { verify: { checks } });
    await incident.seal();
    const done = await incident.finished();
    expect(condition(done, 'Succeeded')).toMatchObject({
      reason: 'InvalidCheck',
      message: expect.stringContaining('check c: cel:'),
    });
  });

  it('binds only the readRoles in mode Diagnose', async () => {
    await lab.server.client.create(AGENT_CLASSES, agentClass('diagnose', { mode: 'Diagnose' }));
    const sick = await lab.patient();
    const incident = await sick.report('diagnosis', { agentClassName: 'diagnose' });
    await incident.findPod(1);
    const bindings = await lab.server.client.list(ROLE_BINDINGS, { namespace: sick.namespace });
    expect(bindings.items.map((binding) => binding.roleRef)).toEqual([
      expect.objectContaining({ name: 'test-read' }),
      expect.objectContaining({ name: 'test-read' }),
    ]);
    await incident.delete();
  });
});
