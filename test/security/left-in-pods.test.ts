// What an agent starts in a pod of its target lives on after its lease. Nothing prevents that, so the
// pods have to be named to whoever takes over.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { child, kubectl, oplab } from '../support/live.ts';
import { type OperatorHarness, openOperatorHarness } from '../support/operator-harness.ts';
import { conclude, shell } from '../support/scripted-model.ts';

let lab: OperatorHarness;
beforeAll(async () => {
  lab = await openOperatorHarness();
});
afterAll(() => lab?.close());

it('a process that an agent left in a pod outlives the lease, and status, hand-over and command line name the pod', async () => {
  const left = 'setsid sleep 7531 >/dev/null 2>&1 </dev/null & echo left';
  lab.model.play(
    shell(`kubectl -n ${lab.namespace} exec patient -- bash -c '${left}'`),
    shell(`kubectl -n ${lab.namespace} exec no-such-pod -- true`),
    conclude('cannot_fix'),
  );
  await lab.open('leaves', { limits: { attempts: 1 } });
  const { status } = await lab.finished('leaves');
  const where = ['-n', lab.namespace, 'exec', 'patient', '--', 'bash', '-c'];
  const commands = await child('kubectl', [...where, 'cat /proc/[0-9]*/cmdline | tr "\\0" " "']);
  expect(commands.stdout).toContain('sleep 7531');

  const pod = { namespace: lab.namespace, name: 'patient', by: ['exec'] };
  expect(status?.changes?.enteredPods).toMatchObject({ count: 1, last: [pod] });
  expect(status?.handover?.changes.at(-1)).toContain(`${lab.namespace}/patient (exec)`);
  const command = ['kubectl', 'get', 'pods', '-n', lab.namespace, 'patient'];
  expect(status?.handover?.nextSteps.map((step) => step.command)).toContainEqual(command);
  expect(await kubectl(...command.slice(1))).toContain('Running');
  const shown = await oplab('incident', 'show', 'leaves', '-n', lab.namespace);
  expect(shown.stdout).toContain(`${lab.namespace}/patient (exec, entry `);
}, 300_000);
