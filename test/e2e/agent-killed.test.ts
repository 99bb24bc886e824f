// An agent that is killed ten times in one session goes on each time, in the same attempt.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { kubectl, oplab, trail } from '../support/live.ts';
import { type OperatorHarness, openOperatorHarness } from '../support/operator-harness.ts';
import { conclude, type Move, readToolResults, shell } from '../support/scripted-model.ts';

/** Kills every node in the container, and says how many there were. */
const KILL = `for p in /proc/[0-9]*; do
  case "$(tr '\\0' ' ' < $p/cmdline 2>/dev/null)" in "node "*) kill -9 "\${p#/proc/}" && echo killed;; esac
done`;

let lab: OperatorHarness;
beforeAll(async () => {
  lab = await openOperatorHarness();
});
afterAll(() => lab?.close());

it('ten kills: one attempt, nothing lost, doubled or run twice, and the count is right', async () => {
  let pod = '';
  let kills = 0;
  const kill = async () => {
    const killed = await kubectl('-n', 'oplab-agents', 'exec', pod, '-c', 'agent', '--', 'sh', '-c', KILL);
    expect(killed).toBe('killed');
    kills++;
  };
  const failures: unknown[] = [];
  /** While its question is being answered. */
  const killAsking: Move = async () => {
    await kill();
    return [{ type: 'text', text: 'nobody reads this' }];
  };
  /** While its command runs. */
  const killRunning =
    (n: number): Move =>
    (request) => {
      setTimeout(() => kill().catch((error: unknown) => failures.push(error)), 1500);
      return shell(`echo ${n} >> ~/ran; sleep 60; echo ${n} >> ~/ended`)(request);
    };
  lab.model.play(
    shell('echo first'),
    ...[1, 2, 3, 4, 5].flatMap((n): Move[] => [killAsking, killRunning(n)]),
    shell('cat ~/ran; ls ~/ended'),
    shell(`kubectl -n ${lab.namespace} patch configmap patient --type=merge -p '{"data":{"state":"well"}}'`),
    conclude('fixed'),
  );
  await lab.open('killed');
  pod = await lab.agentPod('killed');
  const { status } = await lab.finished('killed', 300);
  expect(failures).toEqual([]);
  expect(kills).toBe(10);
  expect(status).toMatchObject({ phase: 'Resolved', claim: { outcome: 'Fixed' }, usage: { agentRestarts: 10 } });
  expect(status?.attempts).toHaveLength(1);

  const entries = await trail(lab.namespace, 'killed');
  const numbers = entries.flatMap(({ writer, clientKey }) =>
    writer === 'agent' && /^1-\d+$/.test(clientKey) ? [Number(clientKey.slice(2))] : [],
  );
  expect(numbers).toEqual(numbers.map((_, index) => index + 1));
  const results = entries.filter(({ kind }) => kind === 'tool_result');
  expect(results).toHaveLength(9);
  expect(results.filter(({ params }) => JSON.stringify(params).includes('"indeterminate":true'))).toHaveLength(5);
  const resumed = entries.filter(({ clientKey }) => clientKey.startsWith('agent-resumed:'));
  expect(resumed.map(({ params }) => params)).toMatchObject(resumed.map((_, index) => ({ number: index + 1 })));
  expect(resumed).toHaveLength(10);
  // The model was told of each command whose end nobody saw, and each ran once and to no end.
  const told = lab.model.requests.flatMap(readToolResults);
  expect(told.find((text) => text.includes('1\\n2\\n3\\n4\\n5'))).toContain('No such file');
  expect(told.some((text) => text.includes('outcome is not known'))).toBe(true);
  const turns = entries.filter(
    ({ kind, params }) => kind === 'model_call' && JSON.stringify(params).includes('"turn":true'),
  );
  expect(status?.usage?.turns).toBe(turns.length);
  expect(await oplab('audit', 'verify', 'killed', '-n', lab.namespace)).toMatchObject({ code: 0 });
  expect((await oplab('incident', 'show', 'killed', '-n', lab.namespace)).stdout).toContain('agent restarts 10');
});
