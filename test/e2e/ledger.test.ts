// The write ledger can detect a loss: an acknowledged key that is missing from TiKV is counted and
// named, and the patient is unhealthy.

import { describe, expect, it } from 'vitest';
import { checkPatient, ledgerReport } from '../../lab/index.ts';
import { child, KUBECONFIG } from '../support/live.ts';

// The load writes this key only once, so nothing rewrites it in between.
const KEY = 't/oplab-load/p/0003';
const target = { namespace: 'tikv', release: 'tikv', kubeconfig: KUBECONFIG, signal: new AbortController().signal };
const load = (...args: string[]) =>
  child('kubectl', ['-n', 'tikv', 'exec', 'tikv-load-0', '--', '/oplab-load', ...args], { allowFailure: true });

describe('the write ledger', () => {
  it('notices that a client has deleted an acknowledged key', async () => {
    const before = ledgerReport.parse(JSON.parse((await load('verify')).stdout));
    expect(before.ledgerLost).toBe(0);
    expect(before.acknowledged).toBeGreaterThan(0);
    expect((await load('delete', '--key', KEY)).code).toBe(0);
    try {
      const verified = await load('verify');
      const after = ledgerReport.parse(JSON.parse(verified.stdout));
      expect(after.ledgerLost).toBeGreaterThanOrEqual(1);
      expect(after.lostKeys.map(({ key }) => key)).toContain(KEY);
      expect(verified.code).toBe(1);
      expect((await checkPatient(target)).healthy).toBe(false);
    } finally {
      await load('put', '--key', KEY);
    }
    expect(ledgerReport.parse(JSON.parse((await load('verify')).stdout)).ledgerLost).toBe(0);
  });
});
