// Sessions as files: exported from a log, verified, imported into another, shown as a post-mortem.

import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { commandLine, fakeEnvironment, outputTo } from '../../test/support/fake-environment.ts';
import { API_VERSION } from '../api/group.ts';
import { parseExport, type sessionExport, verifyExport } from '../audit/export.ts';
import { canonicalJson, sha256 } from '../audit/hash-chain.ts';
import { openedEntry, outcomeEntry, sealEntry } from '../audit/lifecycle.ts';
import { openAuditLog } from '../audit/store.ts';
import { NotFound } from '../errors.ts';
import { parseIncident } from './parse-incident.ts';
import { openFileReader } from './reader/file-reader.ts';
import { postMortem } from './render/post-mortem.ts';

const uid = '6f1c0f5e-58a2-4c0e-9d1a-2f4f3c0b7a11';
const gateway = { session: uid, attempt: 0, writer: 'gateway' } as const;
const door = { session: uid, attempt: 1, writer: 'gateway' } as const;
const agent = { session: uid, attempt: 1, writer: 'agent' } as const;
const time = '2026-01-01T00:06:00Z';

let directory: string;
let stdout: string;
let stderr: string;
let raw: object | undefined;

const at = (name: string) => path.join(directory, name);
const environment = fakeEnvironment({
  output: outputTo(
    (text) => {
      stdout += text;
    },
    (text) => {
      stderr += text;
    },
  ),
  now: () => new Date('2026-01-01T00:10:00.123Z'),
  incidents: () => ({
    async get(namespace, name) {
      if (raw === undefined || `${namespace}/${name}` !== 'tikv/store-down') throw new NotFound('there is none');
      return { incident: parseIncident(raw, 'test'), raw };
    },
    list: async () => [],
    create: async (wanted) => wanted,
  }),
  namespace: () => 'tikv',
  // The cluster's log is a file here; that it can be read through a gateway is another test's.
  gateway: () => openFileReader(at('audit.db')),
});
const oplab = commandLine(environment);

/** A recorded repair with difficult content: odd keys, a table's bar, Markdown, a long text. */
async function record(options: { sealed: boolean }): Promise<{ entries: number; headHash: string } | undefined> {
  const log = await openAuditLog({ path: at('audit.db') });
  try {
    await log.append(gateway, openedEntry({ namespace: 'tikv', name: 'store-down', uid }, 'Store 4 is *gone*'));
    await log.append(agent, {
      clientKey: '1-1',
      kind: 'reasoning',
      content: 'I look at <b>pods</b> | first.\nThen on.',
    });
    await log.append(agent, {
      clientKey: '1-2',
      kind: 'tool_call',
      tool: 'shell',
      params: JSON.parse('{"command":"kubectl get pods | grep `x`\\necho done","__proto__":{"odd":1}}'),
      content: 'Which are there?',
    });
    await log.append(door, {
      ...{ clientKey: 'k1', kind: 'kube_intent', tool: 'kube', content: '' },
      params: { verb: 'patch', resource: 'statefulsets', subresource: 'scale', namespace: 'tikv', name: 'tikv-tikv' },
      blob: '{"spec":{"replicas":3}}',
    });
    await log.append(door, {
      ...{ clientKey: 'k1:outcome', kind: 'kube_outcome', tool: 'kube', durationMs: 12, params: { status: 200 } },
      content: 'patch statefulsets/scale tikv/tikv-tikv: 200',
    });
    await log.append(agent, {
      ...{ clientKey: '1-3', kind: 'tool_result', tool: 'shell', exitCode: 0, durationMs: 1400 },
      ...{ params: { call: '1-2', timedOut: false }, content: 'two of three', blob: 'tikv-0 ünï 1/1\ntikv-1 1/1\n' },
    });
    await log.append(door, {
      ...{ clientKey: 'm1', kind: 'model_call', tool: 'claude-opus-5-5', content: '' },
      params: { costMicroUSD: 12_345 },
    });
    if (!options.sealed) return undefined;
    await log.append(gateway, outcomeEntry('Resolved', 'all checks have held'));
    return await log.seal(gateway, sealEntry('Resolved'));
  } finally {
    await log.close();
  }
}

function incidentWith(audit: object, more: object = {}): object {
  return {
    apiVersion: API_VERSION,
    kind: 'Incident',
    metadata: {
      ...{ namespace: 'tikv', name: 'store-down', uid, creationTimestamp: '2026-01-01T00:05:00Z' },
      managedFields: [{ manager: 'oplab-controller' }],
    },
    spec: {
      summary: 'Store 4 is *gone*',
      severity: 'critical',
      verify: { soakSeconds: 30, checks: [{ name: 'up', http: { service: 'pd', port: 2379, cel: 'status == 200' } }] },
    },
    status: {
      phase: 'Resolved',
      startTime: '2026-01-01T00:05:03Z',
      finishTime: '2026-01-01T00:07:00Z',
      claim: { attempt: 1, outcome: 'Fixed', summary: 'scaled up', rootCause: 'scaled down', actions: [], time },
      conditions: [
        {
          type: 'Verified',
          status: 'True',
          reason: 'ChecksHeld',
          message: '',
          lastTransitionTime: '2026-01-01T00:06:50Z',
        },
      ],
      verification: [
        { name: 'up', passing: true, observed: 'body.count = 3', baseline: 'body.count = 2', observedTime: time },
      ],
      audit,
      ...more,
    },
  };
}

/** The export of a sealed session whose Incident is there, and where it was written. */
async function writeExport(): Promise<string> {
  const seal = await record({ sealed: true });
  if (seal === undefined) throw new Error('not sealed');
  const { entries, headHash } = seal;
  raw = incidentWith({ entries, headHash, finalHeadHash: headHash, sealedHeadHash: headHash });
  await oplab('session', 'export', 'store-down', '--to', `${directory}/`);
  return at('tikv-store-down-6f1c0f5e-20260101T001000Z.json');
}

/** The same file with a change and a matching new digest, as a careful attacker would write it. */
async function forged(file: string, change: (content: z.infer<typeof sessionExport>) => void): Promise<string> {
  const content = parseExport(await readFile(file, 'utf8'), file);
  change(content);
  const { digest: _, ...rest } = content;
  await writeFile(at('forged.json'), JSON.stringify({ ...rest, digest: sha256(canonicalJson(rest)) }));
  return at('forged.json');
}

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-session-'));
  stdout = '';
  stderr = '';
  raw = undefined;
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

describe('session export', () => {
  it('writes one file with everything in it, for its owner alone, named by Incident, session and time', async () => {
    const file = await writeExport();
    expect(stdout).toContain(`${file}: tikv/store-down, 9 entries, 2 texts`);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const content = parseExport(await readFile(file, 'utf8'), file);
    expect(content).toMatchObject({
      exportedAt: '2026-01-01T00:10:00.123Z',
      session: { id: uid, outcome: 'Resolved', sealed: true, entries: 9 },
      incident: { metadata: { name: 'store-down' }, status: { phase: 'Resolved' } },
    });
    expect(Object.values(content.blobs)).toContain('tikv-0 ünï 1/1\ntikv-1 1/1\n');
    expect(JSON.stringify(content.incident)).not.toContain('managedFields');
  });

  it('fits the published JSON Schema', async () => {
    const file = await writeExport();
    const schema = JSON.parse(
      await readFile(path.join(import.meta.dirname, '../../schemas/session-export.schema.json'), 'utf8'),
    );
    const published = z.fromJSONSchema(schema);
    const content = JSON.parse(await readFile(file, 'utf8'));
    expect(published.safeParse(content).error).toBeUndefined();
    expect(published.safeParse({ ...content, entries: [{ seq: 1 }] }).success).toBe(false);
    expect(published.safeParse({ ...content, surprise: 1 }).success).toBe(false);
  });

  it('does not overwrite a file without --force', async () => {
    const file = await writeExport();
    await expect(oplab('session', 'export', 'store-down', '--to', file)).rejects.toMatchObject({
      code: 'OPLAB_INVALID_INPUT',
      message: expect.stringContaining('--force'),
    });
    await oplab('session', 'export', 'store-down', '--to', file, '--force');
  });

  it('warns that a session is not sealed, and exports what exists, even without its Incident', async () => {
    await record({ sealed: false });
    await oplab('session', 'export', 'tikv/store-down', '--to', '-');
    const content = parseExport(stdout, 'stdout');
    expect(content).toMatchObject({ incident: null, session: { sealed: false, entries: 7, outcome: null } });
    expect(stderr).toContain('is not sealed');
    expect(verifyExport(content).findings).toEqual([]);
  });

  it('writes one file per session with --all', async () => {
    await record({ sealed: true });
    await oplab('session', 'export', '--all', '--file', at('audit.db'), '--to', at('all'));
    expect(await readdir(at('all'))).toEqual(['tikv-store-down-6f1c0f5e-20260101T001000Z.json']);
    await expect(oplab('session', 'export')).rejects.toMatchObject({ exitCode: 2 });
  });

  it('names a file that cannot be written', async () => {
    await record({ sealed: true });
    await writeFile(at('plain'), '');
    await chmod(at('plain'), 0o400);
    await expect(oplab('session', 'export', 'store-down', '--to', at('plain/x.json'))).rejects.toMatchObject({
      message: expect.stringContaining('plain'),
    });
  });
});

describe('audit verify --file with an export', () => {
  it('finds nothing wrong with an intact one, and reports what it was checked against', async () => {
    const file = await writeExport();
    await oplab('audit', 'verify', '--file', file);
    expect(stdout).toContain('✓ tikv/store-down');
    expect(stdout).toContain("the file's own head, the file's status.audit.sealedHeadHash; 2 texts match");
    expect(stdout).toContain('against its own head only; not signed');
  });

  it('finds a changed byte anywhere', async () => {
    const file = await writeExport();
    const text = await readFile(file, 'utf8');
    const broken: [string, string, RegExp][] = [
      ['two of three', 'two of thre3', /row 6 \(tool_result\) was changed/],
      ['ünï', 'unï', /row 6: its stored text does not match its digest/],
      ['"severity": "critical"', '"severity": "warning"', /does not match its digest/],
      ['"outcome": "Resolved"', '"outcome": "Escalated"', /does not match its digest/],
    ];
    for (const [from, to, finding] of broken) {
      expect(text).toContain(from);
      await writeFile(at('broken.json'), text.replace(from, to));
      stdout = '';
      await expect(oplab('audit', 'verify', '--file', at('broken.json')), from).rejects.toMatchObject({ exitCode: 4 });
      expect(stdout).toMatch(finding);
    }
  });

  it('finds tampering even if the digest was recomputed', async () => {
    const file = await writeExport();
    const cut = await forged(file, (content) => void content.entries.pop());
    await expect(oplab('audit', 'verify', '--file', cut)).rejects.toMatchObject({ exitCode: 4 });
    expect(stdout).toContain('row 9 is missing');
    stdout = '';
    const stray = await forged(file, (content) => {
      content.blobs[sha256('planted')] = 'planted';
    });
    await expect(oplab('audit', 'verify', '--file', stray)).rejects.toMatchObject({ exitCode: 4 });
    expect(stdout).toContain('belongs to no entry');
  });

  it('finds a rewritten chain with a status that was saved elsewhere', async () => {
    const file = await writeExport();
    await writeFile(at('incident.json'), JSON.stringify(raw));
    await oplab('audit', 'verify', '--file', file, '--incident-file', at('incident.json'));
    expect(stdout).toContain('checked against status.audit.sealedHeadHash');
    expect(stdout).not.toContain('not signed');
    raw = incidentWith({
      entries: 9,
      headHash: 'e'.repeat(64),
      finalHeadHash: 'e'.repeat(64),
      sealedHeadHash: 'e'.repeat(64),
    });
    await writeFile(at('incident.json'), JSON.stringify(raw));
    await expect(
      oplab('audit', 'verify', '--file', file, '--incident-file', at('incident.json')),
    ).rejects.toMatchObject({ exitCode: 4 });
    expect(stdout).toContain('wrong head');
  });

  it('rejects a file that is not an export', async () => {
    for (const text of [
      '{"format": "oplab.dev/session-export/v1"',
      '{"format": "oplab.dev/session-export/v9"}',
      '{}',
    ]) {
      await writeFile(at('odd.json'), text);
      await expect(oplab('audit', 'verify', '--file', at('odd.json'))).rejects.toMatchObject({
        code: 'OPLAB_INVALID_INPUT',
        message: expect.stringContaining('odd.json is not a session export'),
      });
    }
  });
});

describe('session import', () => {
  it('creates a file that reads and verifies like the original; importing again changes nothing', async () => {
    const file = await writeExport();
    await oplab('session', 'import', file, '--into', at('cases.db'));
    expect(stdout).toContain('9 entries added');
    await oplab('audit', 'verify', '--file', at('cases.db'));
    expect(stdout).toContain('against its own head only; not signed');
    expect(stdout).toContain("checked against the file's seal; 2 texts match");
    stdout = '';
    await oplab('audit', 'show', 'store-down', '--file', at('audit.db'), '--full', '-o', 'json');
    const first = stdout;
    stdout = '';
    await oplab('audit', 'show', 'store-down', '--file', at('cases.db'), '--full', '-o', 'json');
    expect(stdout).toBe(first);
    stdout = '';
    await oplab('session', 'import', file, '--into', at('cases.db'));
    expect(stdout).toContain('already imported');
    // Out of the copy again: the same session, to the byte.
    await oplab('session', 'export', 'store-down', '--file', at('cases.db'), '--to', at('again.json'));
    const again = parseExport(await readFile(at('again.json'), 'utf8'), 'again');
    const original = parseExport(await readFile(file, 'utf8'), 'original');
    expect([again.entries, again.blobs]).toEqual([original.entries, original.blobs]);
  });

  it('completes a session whose beginning was imported from an earlier export', async () => {
    await record({ sealed: false });
    await oplab('session', 'export', 'store-down', '--to', at('early.json'));
    const log = await openAuditLog({ path: at('audit.db') });
    await log.seal(gateway, sealEntry('Resolved'));
    await log.close();
    await oplab('session', 'export', 'store-down', '--to', at('late.json'));
    await oplab('session', 'import', at('early.json'), at('late.json'), '--into', at('cases.db'));
    expect(stdout).toContain('1 entry added');
    await oplab('audit', 'verify', '--file', at('cases.db'));
    expect(stdout).toContain('8 entries, sealed');
    // The early one says nothing new any more.
    await oplab('session', 'import', at('early.json'), '--into', at('cases.db'));
  });

  it('rejects files that fail verification, and another session with the same id', async () => {
    const file = await writeExport();
    const cut = await forged(file, (content) => void content.entries.pop());
    await expect(oplab('session', 'import', file, cut, '--into', at('cases.db'))).rejects.toMatchObject({
      exitCode: 4,
    });
    await expect(stat(at('cases.db'))).rejects.toThrow();

    await oplab('session', 'import', file, '--into', at('cases.db'));
    await rm(at('audit.db'));
    raw = undefined;
    const log = await openAuditLog({ path: at('audit.db') });
    await log.append(gateway, openedEntry({ namespace: 'tikv', name: 'store-down', uid }, 'another story'));
    await log.close();
    await oplab('session', 'export', 'store-down', '--to', at('other.json'));
    await expect(oplab('session', 'import', at('other.json'), '--into', at('cases.db'))).rejects.toMatchObject({
      message: expect.stringContaining('row 1 differs'),
    });
  });
});

describe('session post-mortem', () => {
  it('reports what was wrong, claimed, verified, changed and run, and that the record is intact', async () => {
    const file = await writeExport();
    stdout = '';
    await oplab('session', 'post-mortem', 'store-down', '--file', file);
    for (const text of [
      '# Post-mortem: tikv/store-down',
      '> Store 4 is \\*gone\\*',
      '| Outcome | Resolved |',
      '| Claimed after | 1m00s |',
      '| Verified after | 1m50s |',
      '| Cost | $0.012 |',
      '**Root cause, according to the agent:** scaled down',
      'The checks held for 30 s without interruption: **verified**',
      '| up | yes | `body.count = 2` | `body.count = 3` |',
      '| 4 | ',
      '`patch statefulsets/scale tikv/tikv-tikv` | `200` |',
      '``kubectl get pods \\| grep `x` ⏎ echo done``',
      '| 0 in 1.4 s | two of three |',
      'I look at \\<b\\>pods\\</b\\> \\| first. Then on.',
      'The hash chain is intact.',
    ]) {
      expect(stdout).toContain(text);
    }
    const printed = stdout;
    stdout = '';
    await oplab('session', 'export', 'store-down', '--file', file, '--format', 'markdown', '--to', '-');
    expect(stdout).toBe(printed);
  });

  it('reports a broken record, a write without a response, and the hand-over of an escalated Incident', async () => {
    const file = await writeExport();
    const content = parseExport(await readFile(file, 'utf8'), file);
    const entries = content.entries.filter(({ kind }) => kind !== 'kube_outcome');
    const handover = {
      summary: 'PD has no quorum',
      attempts: ['a restart'],
      changes: [],
      nextSteps: [{ what: 'look at `pd-0`', command: ['kubectl', 'get', '``` x  y'] }, { what: 'go on' }],
    };
    const text = postMortem(
      {
        ...content,
        entries,
        incident: z.record(z.string(), z.json()).parse(incidentWith({}, { handover, conditions: [] })),
      },
      verifyExport({ ...content, entries }),
    );
    expect(text).toContain('indeterminate');
    expect(text).toContain('**The record failed verification:**');
    expect(text).toContain('row 5 is missing');
    expect(text).toContain('**Not verified**');
    expect(text).toContain(
      "**Next steps**\n\n- look at \\`pd-0\\`:\n\n  ````sh\n  kubectl get '``` x  y'\n  ````\n\n- go on",
    );
  });
});
