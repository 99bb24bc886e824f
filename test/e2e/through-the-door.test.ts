// Any server of the Messages API drives the same loop, and an agent's claim alone is never enough.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { incident } from '../../src/api/incident.ts';
import { findCondition } from '../../src/api/meta.ts';
import type { Entry } from '../../src/audit/entry.ts';
import { eventually } from '../support/eventually.ts';
import { kubectl, oplab, trail } from '../support/live.ts';
import { pairAll } from '../support/nothing-unexplained.ts';
import { type OperatorHarness, openOperatorHarness } from '../support/operator-harness.ts';
import { conclude, readToolResults, shell } from '../support/scripted-model.ts';

const status = (incident: Awaited<ReturnType<OperatorHarness['finished']>>, type: string) =>
  findCondition(incident.status?.conditions, type);
const ofKind = (entries: Entry[], kind: Entry['kind']) => entries.filter((entry) => entry.kind === kind);

describe('a Messages API server outside the cluster, plain HTTP', () => {
  let lab: OperatorHarness;
  let begun: Date;
  beforeAll(async () => {
    lab = await openOperatorHarness();
    begun = new Date();
  });
  afterAll(() => lab?.close());

  it('runs several commands of one answer in order, and records each before it starts', async () => {
    lab.model.play(
      shell('date +%s%3N; echo first', 'date +%s%3N; echo second', 'date +%s%3N; echo third'),
      shell(`kubectl -n ${lab.namespace} patch configmap patient --type=merge -p '{"data":{"state":"well"}}'`),
      conclude('fixed'),
    );
    await lab.open('in-order');
    const incident = await lab.finished('in-order');
    expect(incident.status).toMatchObject({ phase: 'Resolved', claim: { outcome: 'Fixed' } });
    expect(status(incident, 'Succeeded')?.status).toBe('True');

    const seen = readToolResults(lab.model.requests[1]);
    expect(seen).toHaveLength(3);
    expect(seen.map((result) => /first|second|third/.exec(result)?.[0])).toEqual(['first', 'second', 'third']);

    const entries = await trail(lab.namespace, 'in-order');
    const calls = ofKind(entries, 'tool_call').filter((entry) => entry.tool === 'shell');
    const started = seen.map((result) => Number(/\d{13}/.exec(result)?.[0]));
    expect(calls).toHaveLength(4);
    for (const [index, at] of started.entries()) expect(Date.parse(calls[index]?.time ?? '')).toBeLessThanOrEqual(at);

    // The second record: the write as the API server received it, and its answer.
    expect(ofKind(entries, 'kube_intent').map((entry) => entry.params)).toContainEqual(
      expect.objectContaining({ verb: 'patch', resource: 'configmaps', name: 'patient', namespace: lab.namespace }),
    );
    expect(ofKind(entries, 'kube_outcome').length).toBeGreaterThanOrEqual(1);
    expect((await oplab('audit', 'verify', 'in-order', '-n', lab.namespace)).code).toBe(0);
  });

  it('does not succeed when the agent claims a repair and repairs nothing', async () => {
    await kubectl(
      '-n',
      lab.namespace,
      'patch',
      'configmap',
      'patient',
      '--type=merge',
      '-p',
      '{"data":{"state":"ill"}}',
    );
    lab.model.play(conclude('fixed', 'all good, trust me'));
    await lab.open('only-said', { limits: { attempts: 1 } });
    const incident = await lab.finished('only-said', 280);
    expect(incident.status?.phase).toBe('Escalated');
    expect(status(incident, 'RepairClaimed')?.status).toBe('True');
    expect(status(incident, 'Verified')?.status).not.toBe('True');
    expect(status(incident, 'Succeeded')?.status).toBe('False');
    expect(incident.status?.attempts).toMatchObject([{ reason: 'ChecksFailed' }]);
  });

  it('forwards exec, logs -f, cp and port-forward through the kube door', async () => {
    const target = `-n ${lab.namespace} patient`;
    lab.model.play(
      shell(
        `kubectl exec ${target} -- sh -c 'echo out; echo err >&2; exit 3'; echo "exit code $?"`,
        `echo hello > /tmp/file && kubectl cp /tmp/file ${lab.namespace}/patient:/tmp/copied && kubectl exec ${target} -- cat /tmp/copied`,
        `timeout 3 kubectl get configmaps -w -n ${lab.namespace}; true`,
        `KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false kubectl exec ${target} -- echo over spdy`,
        `kubectl exec ${target} -- sh -c 'head -c 20000000 /dev/zero' | wc -c`,
        `kubectl port-forward ${target.replace(' patient', ' pod/patient')} 18080:18080 >/tmp/pf 2>&1 & sleep 2; grep -o 'Forwarding from 127.0.0.1:18080' /tmp/pf`,
      ),
      conclude('cannot_fix'),
    );
    await lab.open('streams');
    await lab.finished('streams');
    const [exec, copied, watched, spdy, bytes, forwarded] = readToolResults(lab.model.requests.at(-1));
    expect(exec).toContain('exit code 3');
    expect(exec).toContain('err');
    expect(copied).toContain('hello');
    expect(watched).toContain('patient');
    expect(spdy).toContain('over spdy');
    expect(bytes).toContain('20000000');
    expect(forwarded).toContain('Forwarding from');
    const intents = ofKind(await trail(lab.namespace, 'streams'), 'kube_intent').map((entry) =>
      JSON.stringify(entry.params),
    );
    expect(intents.filter((params) => params.includes('exec')).length).toBeGreaterThanOrEqual(4);
    expect(intents.some((params) => params.includes('portforward'))).toBe(true);
  });

  it('ends within 10 seconds when the model API refuses the key, after one call, and says what to do', async () => {
    const callsBefore = lab.model.headers.length;
    lab.model.refusal = { type: 'authentication_error', message: 'invalid x-api-key' };
    try {
      await lab.open('wrong-key', { limits: { attempts: 2 } });
      await eventually(() => lab.model.headers.length > callsBefore, { what: 'the first call', withinMs: 120_000 });
      const refused = Date.now();
      const { status: finished } = await lab.finished('wrong-key');
      expect(Date.parse(finished?.finishTime ?? '') - refused).toBeLessThan(10_000);
      expect(finished?.phase).toBe('Escalated');
      expect(finished?.attempts).toMatchObject([{ number: 1, reason: 'ModelFailed' }]);
      const cause = /OPLAB_MODEL_KEY_REFUSED: .*put a valid key into the Secret .*authentication|invalid x-api-key/;
      expect(finished?.attempts?.[0]?.message).toMatch(cause);
      expect(findCondition(finished?.conditions, 'Succeeded')).toMatchObject({ reason: 'ModelFailed' });
      expect((await oplab('incident', 'show', 'wrong-key', '-n', lab.namespace)).stdout).toContain('a valid key');
      expect(finished?.handover?.nextSteps.at(-1)?.what).toContain('the last attempt names');
      const events = await kubectl('-n', lab.namespace, 'get', 'events', '-o', 'jsonpath={.items[*].reason}');
      expect(events).toContain('ModelFailed');
      expect(lab.model.headers.length - callsBefore).toBeLessThanOrEqual(3);
    } finally {
      lab.model.refusal = undefined;
    }
  });

  it('says on the Incident what the agent waits for while the model API is overloaded, and no longer', async () => {
    lab.model.fault = 'overloaded';
    lab.model.play(conclude('cannot_fix', 'overloaded no more'));
    const waiting = async () => {
      const json = await kubectl('-n', lab.namespace, 'get', 'incident', 'overloaded', '-o', 'json');
      return findCondition(incident.parse(JSON.parse(json)).status?.conditions, 'ModelAnswers');
    };
    try {
      await lab.open('overloaded');
      const told = await eventually(waiting, { withinMs: 120_000, everyMs: 1000 });
      expect(told).toMatchObject({ status: 'False', reason: 'Overloaded' });
      expect(told.message).toMatch(/^the model API answers 529: .+ since .+, and the agent asks again$/);
      lab.model.fault = undefined;
      await eventually(async () => (await waiting()) === undefined, { withinMs: 60_000, everyMs: 1000 });
      expect((await lab.finished('overloaded')).status?.claim?.summary).toBe('overloaded no more');
    } finally {
      lab.model.fault = undefined;
    }
  });

  it('ends the attempt when the limit of turns is reached, and names the limit', async () => {
    lab.model.play(shell('echo one'), shell('echo two'), shell('echo three'), shell('echo four'));
    await lab.open('out-of-turns', { limits: { maxTurns: 2, attempts: 1 } });
    const incident = await lab.finished('out-of-turns');
    expect(incident.status?.phase).toBe('Escalated');
    expect(status(incident, 'Succeeded')?.message).toMatch(/turns/);
    expect(incident.status?.usage?.turns).toBe(2);
  });

  it('cuts off a running command when the Incident is cancelled, and removes the pod', async () => {
    lab.model.play(shell(`kubectl get configmaps -w -n ${lab.namespace}`));
    await lab.open('cancelled');
    const pod = await lab.agentPod('cancelled');
    await kubectl('-n', 'oplab-agents', 'wait', '--for=condition=Ready', `pod/${pod}`, '--timeout=60s');
    const cancelledAt = performance.now();
    await kubectl(
      '-n',
      lab.namespace,
      'patch',
      'incident',
      'cancelled',
      '--type=merge',
      '-p',
      '{"spec":{"cancel":true}}',
    );
    const incident = await lab.finished('cancelled', 30);
    expect(performance.now() - cancelledAt).toBeLessThan(30_000);
    expect(incident.status?.phase).toBe('Cancelled');
    await eventually(
      async () => {
        const pods = await kubectl(
          '-n',
          'oplab-agents',
          'get',
          'pods',
          '-l',
          'oplab.dev/incident-name=cancelled',
          '-o',
          'name',
        );
        return pods === '';
      },
      { what: 'the pod to go', withinMs: 20_000, everyMs: 500 },
    );
  });

  it('drives the same loop when it does not stream', async () => {
    lab.model.answers = 'json';
    lab.model.play(
      shell(
        'echo seen',
        `kubectl -n ${lab.namespace} patch configmap patient --type=merge -p '{"data":{"state":"well"}}'`,
      ),
      conclude('fixed'),
    );
    await lab.open('json-only');
    const incident = await lab.finished('json-only');
    lab.model.answers = 'as-asked';
    expect(incident.status?.phase).toBe('Resolved');
    expect(readToolResults(lab.model.requests.at(-1))[0]).toContain('seen');
    expect(incident.status?.usage?.inputTokens).toBeGreaterThan(0);
  });

  it('leaves no write that only one of the two logs has', async () => {
    const { pairs, faults } = await pairAll(begun);
    expect(faults).toEqual([]);
    // Two patches, and the connections to the pod.
    expect(pairs).toBeGreaterThanOrEqual(8);
  });
});
