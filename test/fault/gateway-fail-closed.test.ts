// Nothing happens without a record: while the audit log cannot be written, nothing reaches the
// model, the API server or the status.

import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { AuditUnavailable } from '../../src/errors.ts';
import { isNotFound } from '../../src/kube/errors.ts';
import { CONFIG_MAPS } from '../../src/kube/resources.ts';
import { eventually } from '../support/eventually.ts';
import { HELLO, message } from '../support/fake-model-api.ts';
import { type Attempt, TARGET } from '../support/gateway-attempts.ts';
import { type GatewayHarness, startGatewayHarness } from '../support/gateway-harness.ts';

let lab: GatewayHarness;
let attempt: Attempt;
beforeAll(async () => {
  lab = await startGatewayHarness();
  attempt = await lab.open('closed');
});
afterAll(async () => {
  await lab?.close();
});
afterEach(() => {
  vi.restoreAllMocks();
});

const ask = () =>
  lab.ask(attempt, 'POST', '/v1/messages', { model: 'claude-opus-5-5', max_tokens: 100, messages: HELLO });

describe('while the log is down', () => {
  it('forwards no model call, and is not ready', async () => {
    let forwarded = 0;
    lab.model(({ body, response }) => {
      forwarded += 1;
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(message(body.model, { input_tokens: 1, output_tokens: 1 })));
    });
    expect((await ask()).status).toBe(200);
    vi.spyOn(lab.gateway.log, 'failure', 'get').mockReturnValue('disk full');
    const refused = await ask();
    expect([refused.status, refused.json]).toMatchObject([503, { error: { code: 'OPLAB_AUDIT_UNAVAILABLE' } }]);
    expect(forwarded).toBe(1);
    expect(lab.gateway.notReady()).toContain('disk full');
    const read = await lab.kube(attempt, 'GET', `/api/v1/namespaces/${TARGET}/pods`);
    expect([read.status, read.text]).toEqual([503, expect.stringContaining('OPLAB_AUDIT_UNAVAILABLE: ')]);
  });

  it('does not complete an answer whose call could not be recorded', async () => {
    lab.model(({ body, response }) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(message(body.model, { input_tokens: 1, output_tokens: 1 })));
    });
    vi.spyOn(lab.gateway.log, 'append').mockRejectedValue(new AuditUnavailable('disk full'));
    await expect(ask()).rejects.toThrow();
  });

  it('forwards no write to Kubernetes whose intent is not on disk', async () => {
    vi.spyOn(lab.gateway.log, 'append').mockRejectedValue(new AuditUnavailable('disk full'));
    const path = `/api/v1/namespaces/${TARGET}/configmaps`;
    const body = JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'unrecorded' } });
    const refused = await lab.kube(attempt, 'POST', path, { 'content-type': 'application/json' }, body);
    expect(refused.status).toBe(503);
    vi.restoreAllMocks();
    const left = await lab.client
      .get(CONFIG_MAPS, { name: 'unrecorded', namespace: TARGET })
      .catch((error: unknown) => error);
    expect(isNotFound(left)).toBe(true);
  });

  it('refuses a claim, and accepts it when the log is back', async () => {
    const claim = { outcome: 'Fixed', summary: 'done' };
    vi.spyOn(lab.gateway.log, 'append').mockRejectedValue(new AuditUnavailable('disk full'));
    expect((await lab.ask(attempt, 'POST', '/agent/v1/conclude', claim)).status).toBe(503);
    expect((await lab.incident('closed')).status?.claim).toBeUndefined();
    vi.restoreAllMocks();
    expect((await lab.ask(attempt, 'POST', '/agent/v1/conclude', claim)).status).toBe(200);
    await eventually(async () => (await lab.incident('closed')).status?.claim);
  });
});
