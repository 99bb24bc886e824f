// Monitors whose expressions are endless, by an author in one namespace: the Monitor of another
// namespace must still notice what happens.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AttackRow, reportAttacks } from '../support/attack-report.ts';
import { eventually } from '../support/eventually.ts';
import { apply, child, kubectl, tryKubectl } from '../support/live.ts';
import { type OperatorHarness, openOperatorHarness } from '../support/operator-harness.ts';

const AUTHOR = 'lab-endless';
const MONITORS = 8;
/** A Monitor that runs its check each second notices a change within this, in milliseconds. */
const NOTICED_MS = 10_000;

const ten = '[0,1,2,3,4,5,6,7,8,9]';
const nest = (depth: number, inner: string, macro: 'all' | 'map' | 'exists_one'): string =>
  depth === 0 ? inner : `${ten}.${macro}(x${depth}, ${nest(depth - 1, inner, macro)})`;
/** Expressions, each with a number that makes it another one for each Monitor. */
const endless: readonly [string, (number: number) => string][] = [
  ['loops in loops', (number) => nest(7, `x1 + ${number} >= 0`, 'all')],
  ['lists of lists', (number) => `size(${nest(7, `x1 + ${number}`, 'map')}) == 10`],
  ['a text that grows', (number) => `size('${number}'${`.replace('', 'abcdefghijklmnop')`.repeat(12)}) > 0`],
  ['a search for the one that is not there', (number) => nest(7, `x1 + ${number} < 0`, 'exists_one')],
];

/** Evaluates with the library alone, as if there were no limit. @returns whether it ends in five seconds */
async function endsWithoutWall(expression: string): Promise<boolean> {
  const program = `import { run } from '@bufbuild/cel'; import { strings } from '@bufbuild/cel/ext'; run(process.argv[1], { object: {} }, { funcs: strings });`;
  const args = ['--input-type=module', '--max-old-space-size=256', '-e', program, expression];
  try {
    return (await child('node', args, { allowFailure: true, timeoutMs: 5000 })).code === 0;
  } catch {
    return false;
  }
}

const monitor = (name: string, namespace: string, configMap: string, cel: string) => ({
  apiVersion: 'oplab.dev/v1alpha1',
  kind: 'Monitor',
  metadata: { name, namespace },
  spec: {
    intervalSeconds: 1,
    clearSeconds: 0,
    forSeconds: 3600,
    check: { kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: configMap, cel } },
    incident: { summary: 'never opened' },
  },
});

describe('an author of endless expressions', () => {
  let lab: OperatorHarness;
  beforeAll(async () => {
    lab = await openOperatorHarness();
    await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: AUTHOR } });
    await apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'any', namespace: AUTHOR } });
    await apply(monitor('honest', lab.namespace, 'patient', "object.data.state == 'well'"));
  });
  afterAll(async () => {
    await lab?.close();
    await tryKubectl('delete', 'namespace', AUTHOR, '--wait=false');
  });

  const state = () => kubectl('-n', lab.namespace, 'get', 'monitor', 'honest', '-o', 'jsonpath={.status.state}');
  /** Changes what the honest Monitor watches. @returns after how long it says so, in milliseconds */
  const notice = async (healthy: boolean) => {
    const data = { state: healthy ? 'well' : 'ill' };
    await apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'patient', namespace: lab.namespace }, data });
    const began = performance.now();
    await eventually(async () => ((await state()) === 'Healthy') === healthy, {
      what: 'the honest Monitor to notice',
      withinMs: 60_000,
      everyMs: 200,
    });
    return Math.round(performance.now() - began);
  };

  it.each(endless)('cannot keep a stranger’s Monitor from noticing: %s', async (name, expression) => {
    await notice(true);
    for (let number = 0; number < MONITORS; number += 1) {
      await apply(monitor(`endless-${number}`, AUTHOR, 'any', expression(number)));
    }
    // Each of them has been evaluated at least once.
    const accepted = async () =>
      (await kubectl('-n', AUTHOR, 'get', 'monitors', '-o', 'jsonpath={range .items[*]}{.status.state} {end}'))
        .split(' ')
        .filter((one) => one !== '').length === MONITORS;
    await eventually(accepted, { what: 'the endless Monitors to be tried', withinMs: 60_000, everyMs: 500 });
    const times = [await notice(false), await notice(true), await notice(false)];
    const restarts = await kubectl(
      ...['-n', 'oplab-system', 'get', 'pods', '-l', 'app.kubernetes.io/component=controller'],
      ...['-o', 'jsonpath={.items[*].status.containerStatuses[*].restartCount}'],
    );
    await kubectl('-n', AUTHOR, 'delete', 'monitors', '--all');
    const row: AttackRow = {
      family: 'verification',
      name: `${MONITORS} Monitors with ${name}`,
      way: 'an author of Monitors in one namespace',
      expected: `a Monitor of another namespace notices a change within ${NOTICED_MS / 1000} s`,
      seen: `noticed after ${times.join(', ')} ms; the controller restarted ${restarts} times`,
      succeeded: Math.max(...times) > NOTICED_MS || !/^[0 ]+$/.test(restarts),
      succeedsWithoutWall: !(await endsWithoutWall(expression(0))),
      trace: 'status.message of the Monitors',
    };
    await reportAttacks([row]);
    expect(row.succeeded, JSON.stringify(row, null, 2)).toBe(false);
    expect(row.succeedsWithoutWall, expression(0)).toBe(true);
  });
});
