// The charts in Helm: they lint cleanly, are strict about their values, and pass their own tests.

import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { child } from '../support/live.ts';

const root = path.dirname(path.dirname(import.meta.dirname));
const chart = (name: string) => path.join(root, 'helm', name);
const helm = (...args: string[]) => child('helm', args, { allowFailure: true, timeoutMs: 180_000 });

describe('helm', () => {
  it.each([
    ['oplab', []],
    ['tikv', []],
    ['tikv', ['--values', path.join(chart('tikv'), 'values-local.yaml')]],
  ])('lint finds nothing in %s %j', async (name, values) => {
    const linted = await helm('lint', '--strict', chart(name), ...values);
    expect(linted.stdout + linted.stderr).toContain('0 chart(s) failed');
    expect(linted.code).toBe(0);
  });

  it.each([
    ['oplab', 'gateway.replicas=2', /gateway/],
    ['oplab', 'agentClass.repairRoles={cluster-admin}', /bindableRoles/],
    ['oplab', 'model.baseURL=claude', /baseURL/],
    ['tikv', 'tikv.replicas=many', /replicas/],
  ])('refuses %s with %s, and says where', async (name, value, where) => {
    const rendered = await helm('template', 'x', chart(name), '--set', value);
    expect(rendered.code).not.toBe(0);
    expect(rendered.stderr).toMatch(where);
  });

  it('test passes on the patient: a transaction, and the whole ledger read back', async () => {
    const tested = await helm('test', 'tikv', '--namespace', 'tikv', '--timeout', '2m');
    expect(tested.stdout + tested.stderr).toMatch(/Succeeded/);
    expect(tested.code).toBe(0);
  });

  it('gives the operator no wildcard right', async () => {
    const rendered = await helm('template', 'oplab', chart('oplab'), '--namespace', 'oplab-system');
    const rules = rendered.stdout.split('---').filter((document) => /^kind: (Cluster)?Role$/m.test(document));
    expect(rules.length).toBeGreaterThan(5);
    for (const rule of rules) expect(rule).not.toMatch(/["'[ ]\*["'\], ]/);
  });
});
