// A ResourceQuota bounds how many Incidents a namespace has, on a real API server. Nothing of oplab
// enforces it, but the intake must not lose an alarm because of it.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ensureTool } from '../../hack/toolchain/tools.ts';
import { isForbidden } from '../../src/kube/errors.ts';
import { INCIDENTS, type Resource } from '../../src/kube/resources.ts';
import { type ApiServer, startApiServer } from '../support/api-server.ts';
import { eventually } from '../support/eventually.ts';
import { type IntakeHarness, incidentsIn, startIntakeHarness, tokenOf } from '../support/intake-harness.ts';
import { NAMESPACES } from '../support/namespaces.ts';

const HOME = 'bounded';
const COUNT = 'count/incidents.oplab.dev';
const RESOURCE_QUOTAS: Resource = {
  group: '',
  version: 'v1',
  plural: 'resourcequotas',
  kind: 'ResourceQuota',
  namespaced: true,
};
const check = { name: 'patient', kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'p', cel: 'true' } };

let server: ApiServer;
let intake: IntakeHarness;
beforeAll(async () => {
  server = await startApiServer();
  await server.client.create(NAMESPACES, { metadata: { name: HOME } });
  intake = await startIntakeHarness(server, [{ name: 'hook', namespace: HOME, verify: { checks: [check] } }]);
}, 300_000);
afterAll(async () => {
  await intake?.stop();
  await server?.stop();
});

/** What the quota controller of Kubernetes would count, which does not run here. */
const setUsed = (used: number) =>
  server.client.patch(
    RESOURCE_QUOTAS,
    { namespace: HOME, name: 'incidents' },
    { status: { hard: { [COUNT]: '2' }, used: { [COUNT]: String(used) } } },
    { subresource: 'status' },
  );

it('refuses Incidents beyond the quota, and asks the senders of alarms to try again', async () => {
  const alarm = () =>
    fetch(`${intake.url}/webhook/hook`, {
      method: 'POST',
      headers: { authorization: `Bearer ${tokenOf('hook')}` },
      body: JSON.stringify({ summary: 'it is down', fingerprint: 'f', startsAt: '2026-03-01T12:00:00Z' }),
    });
  // As docs/concepts.md has it.
  const kubectl = await ensureTool('kubectl');
  const create = ['-n', HOME, 'create', 'quota', 'incidents', `--hard=${COUNT}=2`];
  await promisify(execFile)(kubectl, ['--kubeconfig', server.kubeconfig, ...create]);
  await setUsed(2);
  // The admission plugin sees the quota after a moment.
  await eventually(() =>
    server.client
      .create(INCIDENTS, {
        metadata: { namespace: HOME, generateName: 'by-hand-' },
        spec: { summary: 'it is down', verify: { checks: [check] } },
      })
      .then(() => false, isForbidden),
  );
  const refused = await alarm();
  expect(refused.status).toBe(503);
  expect(await refused.json()).toMatchObject({
    error: { code: 'OPLAB_INTAKE_UNAVAILABLE', message: expect.stringContaining('exceeded quota: incidents') },
  });

  await setUsed(1);
  await eventually(async () => (await alarm()).status === 200);
  expect((await incidentsIn(server.client, HOME)).filter(({ spec }) => spec.source !== undefined)).toHaveLength(1);
});
