// A process in a real sandbox acts while no command runs, as one that an attacker left there would.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findCondition } from '../../src/api/meta.ts';
import { reportAttacks } from '../support/attack-report.ts';
import { child, trail, tryKubectl } from '../support/live.ts';
import { pairAll } from '../support/nothing-unexplained.ts';
import { type OperatorHarness, openOperatorHarness } from '../support/operator-harness.ts';
import { conclude, type Move, shell } from '../support/scripted-model.ts';

const ROW = {
  family: 'second witness',
  name: 'a write of a process that belongs to no command',
  way: 'a process in the sandbox that the shell server did not start',
  expected: 'refused; the Incident ends as UnexplainedWrite',
};

describe('a process that belongs to no command', () => {
  let lab: OperatorHarness;
  let begun: Date;
  beforeAll(async () => {
    lab = await openOperatorHarness();
    begun = new Date();
  });
  afterAll(() => lab?.close());

  /** Runs kubectl in the sandbox's container, past the shell server. */
  const write = async (incident: string, name: string) => {
    const where = ['-n', 'oplab-agents', 'exec', await lab.agentPod(incident), '-c', 'sandbox', '--'];
    const command = `export KUBECONFIG=$(ls /home/oplab/.kube/config 2>/dev/null || echo $HOME/.kube/config); kubectl -n ${lab.namespace} create configmap ${name}`;
    return await child('kubectl', [...where, 'bash', '-c', command], { allowFailure: true });
  };
  const exists = async (name: string) => (await tryKubectl('-n', lab.namespace, 'get', 'configmap', name)).code === 0;

  it('cannot write between two commands, and ends the Incident', async () => {
    let attacked: Awaited<ReturnType<typeof write>> | undefined;
    const attack: Move = async (request) => {
      // The grace of the command before.
      await new Promise((resolve) => setTimeout(resolve, 2000));
      attacked = await write('between', 'between');
      return await conclude('fixed')(request);
    };
    lab.model.play(shell(`kubectl -n ${lab.namespace} get pods`), attack);
    await lab.open('between', { limits: { attempts: 3 } });
    const incident = await lab.finished('between');
    const entries = await trail(lab.namespace, 'between');
    const intent = entries.find(({ kind, params }) => kind === 'kube_intent' && Object(params).unexplained === true);
    const isMade = await exists('between');
    const { conditions, phase, attempts } = incident.status ?? {};
    const succeeded = findCondition(conditions, 'Succeeded');

    // Without the witness it would have been possible: as part of a command, the same write is.
    lab.model.play(shell('sleep 15'), conclude('cannot_fix'));
    await lab.open('during', { limits: { attempts: 1 } });
    await expect
      .poll(
        async () => (await trail(lab.namespace, 'during').catch(() => [])).some(({ kind }) => kind === 'tool_call'),
        {
          timeout: 60_000,
        },
      )
      .toBe(true);
    await write('during', 'during');
    await lab.finished('during');
    await reportAttacks([
      {
        ...ROW,
        seen: `${attacked?.stderr.trim()}; Succeeded ${succeeded?.status}, ${succeeded?.reason}`,
        succeeded: isMade || succeeded?.reason !== 'UnexplainedWrite',
        succeedsWithoutWall: await exists('during'),
        trace: intent === undefined ? 'none' : `kube_intent ${intent.seq}`,
      },
    ]);

    expect(attacked?.stderr).toContain('no command of the attempt was running');
    expect(isMade).toBe(false);
    expect(phase).toBe('Escalated');
    expect(succeeded).toMatchObject({ status: 'False', reason: 'UnexplainedWrite' });
    expect(findCondition(conditions, 'WritesExplained')?.message).toContain(`create configmaps ${lab.namespace}`);
    expect(attempts).toMatchObject([{ reason: 'UnexplainedWrite' }]);
    expect(intent?.content).toMatch(/^unexplained: create/);
    expect(await exists('during')).toBe(true);
  });

  it('leaves no write that only one of the two logs has', async () => {
    expect((await pairAll(begun)).faults).toEqual([]);
  });
});
