// The hand-over: summary, attempts, changes, and next steps with commands that a person can paste.

import { describe, expect, it } from 'vitest';
import { attempt, begun, claim, incident, iso, LIMITS } from '../../../test/support/incident-fixtures.ts';
import { handover as handoverSchema } from '../../api/incident-status.ts';
import { buildHandover, handoverNote } from './handover.ts';

const checks = [
  {
    name: 'stores-up',
    http: { service: 'tikv-pd', port: 2379, path: "/pd/api/v1/stores?state=0&x='1'", cel: 'body.count == 3' },
  },
  {
    name: 'ready',
    kubernetes: { apiVersion: 'apps/v1', kind: 'StatefulSet', name: 'tikv-tikv', cel: 'object.spec.replicas == 3' },
  },
  { name: 'pods', kubernetes: { apiVersion: 'v1', kind: 'Pod', labelSelector: 'app=tikv', cel: 'size(objects) == 3' } },
  {
    name: 'down-peers',
    prometheus: { service: 'prom', scheme: 'https', pathPrefix: '/p', query: 'sum(x{a="b"}) > 0', namespace: 'mon' },
  },
];
const result = (name: string, passing: boolean, observed = `${name} seen`) => ({
  name,
  passing,
  observed,
  observedTime: iso(300),
});
const change = (seq: number) => ({ attempt: 1, seq, plane: 'kubernetes', text: `patch apps/statefulsets t/s${seq}` });

function escalated(more: object = {}, count = 1) {
  return incident({
    spec: { summary: 'a store is down', targetNamespaces: ['tikv', 'mon'], verify: { checks } },
    status: begun(
      [
        attempt(1, { endTime: iso(60), reason: 'ChecksFailed', message: 'the agent claimed Fixed: scaled up' }),
        attempt(2, { startTime: iso(60), endTime: iso(200), reason: 'Claimed', message: 'the agent says: CannotFix' }),
      ],
      {
        claim: { ...claim(2, 'CannotFix', 200), rootCause: 'the disk is gone', actions: ['looked at PD'] },
        verification: [result('stores-up', false), result('ready', true), result('down-peers', false)],
        changes: { count, last: Array.from({ length: Math.min(16, count) }, (_, index) => change(index + 1)) },
        ...more,
      },
    ),
  });
}

describe('a hand-over', () => {
  it('summarizes the failing checks with their evidence, and the diagnosis of the agent', () => {
    const { summary } = buildHandover(escalated(), 'AgentEscalated');
    expect(summary.split('\n')).toEqual([
      'a store is down',
      `failing at the last observation (${iso(300)}):`,
      '- stores-up: stores-up seen',
      '- down-peers: down-peers seen',
      'the agent of attempt 2 says: CannotFix: did it',
      'cause according to the agent: the disk is gone',
    ]);
  });

  it('lists attempts and changes', () => {
    const { attempts, changes } = buildHandover(escalated(), 'AgentEscalated');
    expect(attempts).toEqual([
      'attempt 1 (60 s): ChecksFailed: the agent claimed Fixed: scaled up',
      'attempt 2 (140 s): Claimed: the agent says: CannotFix; actions: looked at PD',
    ]);
    expect(changes).toEqual(['patch apps/statefulsets t/s1 (attempt 1, entry 1)']);
  });

  it('names the pods in which processes may still run, and how to look at them', () => {
    const last = [
      { namespace: 'tikv', name: 'pd-0', by: ['exec'], seq: 4 },
      { namespace: 'tikv', name: 'pd-1', by: ['exec', 'attach'], seq: 9 },
    ];
    const changes = { count: 20, last: Array.from({ length: 16 }, (_, index) => change(index + 1)) };
    const made = buildHandover(
      escalated({ changes: { ...changes, enteredPods: { count: 2, last } } }),
      'AgentEscalated',
    );
    expect(handoverSchema.parse(made)).toEqual(made);
    expect(made.changes.at(-1)).toBe(
      'processes of the agent may still run in 2 pods: tikv/pd-1 (exec, attach), tikv/pd-0 (exec)',
    );
    expect(made.nextSteps).toContainEqual({
      what: 'pods in tikv in which processes of the agent may still run; delete those that an owner replaces',
      command: ['kubectl', 'get', 'pods', '-n', 'tikv', 'pd-0', 'pd-1'],
    });
  });

  it('gives the commands of the checks that fail or were never observed', () => {
    const { nextSteps } = buildHandover(escalated(), 'AgentEscalated');
    const query = encodeURIComponent('sum(x{a="b"}) > 0');
    const raw = (path: string) => ['kubectl', 'get', '--raw', `/api/v1/namespaces/${path}`];
    expect(nextSteps.slice(0, 3)).toEqual([
      {
        what: 'stores-up must hold (body.count == 3)',
        command: raw('tikv/services/tikv-pd:2379/proxy/pd/api/v1/stores?state=0&x=%271%27'),
      },
      {
        what: 'pods must hold (size(objects) == 3)',
        command: ['kubectl', 'get', 'pod', '-n', 'tikv', '-l', 'app=tikv', '-o', 'yaml'],
      },
      {
        what: expect.stringContaining('down-peers must hold'),
        command: raw(`mon/services/https:prom:9090/proxy/p/api/v1/query?query=${query.replaceAll("'", '%27')}`),
      },
    ]);
    expect(nextSteps).toContainEqual({
      what: 'reasoning, commands and output of the agent',
      command: ['oplab', 'audit', 'show', 'tikv/broken', '--full'],
    });
    expect(JSON.stringify(nextSteps)).not.toContain('tikv-tikv');
  });

  it('says so when the baseline is broken', () => {
    const gone = escalated({ verification: [result('baseline', false, 'StatefulSet tikv/x is gone')] });
    const objects = 'statefulsets,deployments,persistentvolumeclaims';
    expect(buildHandover(gone, 'AttemptsExhausted').nextSteps.slice(0, 2)).toEqual(
      ['tikv', 'mon'].map((namespace) => ({
        what: `baseline: workloads or volumes differ from the recorded ones; those in ${namespace}`,
        command: ['kubectl', 'get', objects, '-n', namespace],
      })),
    );
  });

  it('names the limit that was too low', () => {
    const usage = {
      turns: 60,
      modelCalls: 60,
      inputTokens: 1,
      outputTokens: 1,
      cacheReadTokens: 0,
      cacheWriteTokens: 0,
    };
    const limited = escalated({ usage: { ...usage, costMilliUSD: 1, limitReached: 'turns' } });
    const last = buildHandover(limited, 'LimitReached').nextSteps.at(-1);
    expect(last?.what).toContain('the limit on turns was too low');
    expect(last?.what).toContain(`"maxTurns":${LIMITS.maxTurns}`);
  });

  it('says what is not known', () => {
    const bare = incident({
      status: begun([attempt(1, { endTime: iso(60), reason: 'StartFailed', message: 'no image' })]),
    });
    const { summary, attempts, changes, nextSteps } = buildHandover(bare, 'AttemptsExhausted');
    expect(summary).toContain('the checks were never observed\nno agent reached a diagnosis');
    expect(attempts).toEqual(['attempt 1 (60 s): StartFailed: no image']);
    expect(changes).toEqual(['unknown: the gateway has not reported any count of writes']);
    expect(nextSteps.at(-1)).toEqual({
      what: 'no pod ever started; to find out why',
      command: ['kubectl', 'describe', 'incident', 'broken', '-n', 'tikv'],
    });
  });

  it('fits the schema, however long its parts are', () => {
    const long = 'x'.repeat(4096);
    const attempts = Array.from({ length: 20 }, (_, index) =>
      attempt(index + 1, { endTime: iso(60), reason: 'Interrupted', message: long }),
    );
    const many = Array.from({ length: 16 }, (_, index) => ({
      name: `check-${index}`,
      http: { service: 's', port: 1, path: `/${'p'.repeat(1000)}`, cel: `body == "${long.slice(0, 4000)}"` },
    }));
    const full = incident({
      spec: { summary: long.slice(0, 512), targetNamespaces: 'abcdefgh'.split(''), verify: { checks: many } },
      status: begun(attempts, {
        claim: { ...claim(20, 'CannotFix'), summary: long, rootCause: long, actions: [long.slice(0, 1024)] },
        verification: many.map(({ name }) => result(name, false, long.slice(0, 2048))),
        changes: {
          count: 400,
          last: Array.from({ length: 16 }, (_, index) => ({ ...change(index), text: long.slice(0, 512) })),
        },
      }),
    });
    const made = buildHandover(full, 'LimitReached');
    expect(handoverSchema.parse(made)).toEqual(made);
    expect(made.changes[0]).toBe('400 writes in total; the last 15:');
    expect(handoverNote(made, full).length).toBeLessThanOrEqual(1024);
  });

  it('has no commands of its steps in its event, where they would be cut', () => {
    const note = handoverNote(buildHandover(escalated(), 'AgentEscalated'), escalated());
    expect(note).toContain('next steps: stores-up must hold (body.count == 3); pods must hold');
    expect(note).toContain('commands: oplab incident show tikv/broken');
    expect(note).not.toContain('kubectl');
  });

  it('leaves out a command that is too long to be pasted, and keeps what it would show', () => {
    const check = { name: 'long', prometheus: { service: 'prom', query: `sum(${'"'.repeat(2000)})`, cel: 'true' } };
    const { nextSteps } = buildHandover(incident({ spec: { verify: { checks: [check] } } }), 'AttemptsExhausted');
    expect(nextSteps[0]).toEqual({ what: 'long must hold (true)' });
  });
});
