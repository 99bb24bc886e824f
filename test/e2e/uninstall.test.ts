// After `helm uninstall`, nothing waits for oplab and nothing is left: no namespace hangs, no
// Incident hangs, no rights remain in a target.

import { describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { child, kubectl, readIncident, tryKubectl } from '../support/live.ts';
import { openOperatorHarness } from '../support/operator-harness.ts';
import { shell } from '../support/scripted-model.ts';

describe('helm uninstall', () => {
  it('in the middle of an attempt leaves no namespace hanging', async () => {
    const lab = await openOperatorHarness();
    lab.model.play(shell('sleep 60'));
    await lab.open('left-behind');
    await eventually(async () => lab.model.requests.length > 0, {
      what: 'the agent to work',
      withinMs: 60_000,
      everyMs: 500,
    });
    expect((await readIncident(lab.namespace, 'left-behind')).metadata.finalizers).toContain('oplab.dev/cleanup');
    expect(
      await kubectl(
        '-n',
        lab.namespace,
        'get',
        'rolebindings',
        '-l',
        'oplab.dev/incident-name=left-behind',
        '-o',
        'name',
      ),
    ).not.toBe('');

    await child('helm', ['uninstall', 'oplab', '--namespace', 'oplab-system', '--wait', '--timeout', '2m'], {
      timeoutMs: 150_000,
    });
    expect((await readIncident(lab.namespace, 'left-behind')).metadata.finalizers ?? []).toEqual([]);
    expect(await kubectl('-n', lab.namespace, 'get', 'rolebindings', '-o', 'name')).toBe('');
    await eventually(async () => (await tryKubectl('get', 'namespace', 'oplab-agents')).code !== 0, {
      what: "the agents' namespace to go",
      withinMs: 60_000,
      everyMs: 500,
    });
    await kubectl('delete', 'namespace', lab.namespace, '--timeout=60s');
    // The record outlives the operator.
    expect(
      await kubectl('-n', 'oplab-system', 'get', 'pvc', 'oplab-gateway-audit', '-o', 'jsonpath={.status.phase}'),
    ).toBe('Bound');
    await lab.model.close();
  });
});
