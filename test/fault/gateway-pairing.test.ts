// What the API server's own audit log says of an agent is what the gateway has recorded.

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { type Attempt, TARGET } from '../support/gateway-attempts.ts';
import { type GatewayHarness, startGatewayHarness } from '../support/gateway-harness.ts';
import { pairRequests, parseAuditLog } from '../support/pairing.ts';

const CONFIGMAPS = `/api/v1/namespaces/${TARGET}/configmaps`;
let lab: GatewayHarness;
let attempt: Attempt;
beforeAll(async () => {
  lab = await startGatewayHarness();
  attempt = await lab.open('paired');
});
afterAll(() => lab?.close());

const auditLog = async () => {
  const text = await readFile(path.join(lab.dir, 'api-server-audit.log'), 'utf8');
  return parseAuditLog(text.split('\n').filter((line) => line !== ''));
};

it('for writes of all kinds, refusals, reads of Secrets and questions', async () => {
  const run = (...args: string[]) => lab.kubectl(attempt, ...args);
  await run('create', 'configmap', 'paired', '--from-literal=a=b');
  await run('create', 'configmap', 'paired');
  await run('patch', 'configmap', 'paired', '--type=merge', '-p', '{"data":{"a":"c"}}');
  await run('label', 'configmap', 'paired', 'a=b', '--dry-run=server');
  await run('create', 'deployment', 'web', '--image=none');
  await run('scale', 'deployment', 'web', '--replicas=2');
  await run('create', 'secret', 'generic', 'paired', '--from-literal=a=b');
  await run('get', 'secret', 'paired');
  await run('auth', 'can-i', 'delete', 'pods');
  await run('exec', 'no-such-pod', '--', 'true');
  await run('create', 'namespace', 'not-allowed');
  await run('delete', 'deployment,configmap', '--all', '--wait=false');
  await lab.kube(attempt, 'POST', '/logs/x', { 'content-type': 'application/json' }, '{}');
  // One that the caller chooses is not the one that is sent.
  const own = { 'content-type': 'application/json', 'audit-id': 'oplab-review-mine' };
  const body = JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { generateName: 'made-' } });
  expect((await lab.kube(attempt, 'POST', CONFIGMAPS, own, body)).status).toBe(201);

  const pairing = await eventually(
    async () => {
      const found = pairRequests(await auditLog(), await lab.entries(attempt));
      return found.faults.length === 0 ? found : undefined;
    },
    { withinMs: 5000 },
  ).catch(async () => pairRequests(await auditLog(), await lab.entries(attempt)));
  expect(pairing.faults).toEqual([]);
  expect(pairing.pairs).toBeGreaterThanOrEqual(10);
  const events = await auditLog();
  expect(events.some(({ auditID }) => auditID.startsWith('oplab-review-'))).toBe(true);
  expect(events.some(({ auditID }) => auditID.startsWith('oplab-gateway-'))).toBe(true);
  expect(events.some(({ auditID }) => auditID === 'oplab-review-mine')).toBe(false);
  // It fails for each one that is taken out of either log.
  const entries = await lab.entries(attempt);
  const intents = entries.filter(({ kind, params }) => kind === 'kube_intent' && Object(params).auditID !== undefined);
  for (const intent of intents) {
    expect(
      pairRequests(
        events,
        entries.filter((entry) => entry !== intent),
      ).faults,
      intent.content,
    ).not.toEqual([]);
    if (['get', 'list', 'watch'].includes(Object(intent.params).verb)) continue;
    const without = events.filter(({ auditID }) => auditID !== Object(intent.params).auditID);
    expect(pairRequests(without, entries).faults, intent.content).not.toEqual([]);
  }
});
