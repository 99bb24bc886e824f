// Sessions as files: exported from a log, verified, imported into another, shown as a post-mortem.

import { chmod, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { gateway, uid } from '../../test/support/cli-harness.ts';
import { openLogInThisThread } from '../../test/support/log-in-this-thread.ts';
import { incidentWith, useSessionFiles } from '../../test/support/session-files.ts';
import { parseExport, verifyExport } from '../audit/export.ts';
import { sha256 } from '../audit/hash-chain.ts';
import { openedEntry, sealEntry } from '../audit/lifecycle.ts';
import { postMortem } from './render/post-mortem.ts';

const files = useSessionFiles();

describe('session export', () => {
  it('writes one file with everything in it, for its owner alone, named by Incident, session and time', async () => {
    const file = await files.writeExport();
    expect(files.stdout).toContain(`${file}: tikv/store-down, 9 entries, 2 texts`);
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
    const file = await files.writeExport();
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
    const file = await files.writeExport();
    await expect(files.oplab('session', 'export', 'store-down', '--to', file)).rejects.toMatchObject({
      code: 'OPLAB_INVALID_INPUT',
      message: expect.stringContaining('--force'),
    });
    await files.oplab('session', 'export', 'store-down', '--to', file, '--force');
  });

  it('warns that a session is not sealed, and exports what exists, even without its Incident', async () => {
    await files.record({ sealed: false });
    await files.oplab('session', 'export', 'tikv/store-down', '--to', '-');
    const content = parseExport(files.stdout, 'stdout');
    expect(content).toMatchObject({ incident: null, session: { sealed: false, entries: 7, outcome: null } });
    expect(files.stderr).toContain('is not sealed');
    expect(verifyExport(content).findings).toEqual([]);
  });

  it('writes one file per session with --all', async () => {
    await files.record({ sealed: true });
    await files.oplab('session', 'export', '--all', '--file', files.at('audit.db'), '--to', files.at('all'));
    expect(await readdir(files.at('all'))).toEqual(['tikv-store-down-6f1c0f5e-20260101T001000Z.json']);
    await expect(files.oplab('session', 'export')).rejects.toMatchObject({ exitCode: 2 });
  });

  it('writes several sessions into a folder only', async () => {
    await files.record({ sealed: true });
    const file = files.at('one.json');
    await writeFile(file, '');
    await expect(files.oplab('session', 'export', '--all', '--to', file)).rejects.toThrow(
      `--to: ${file} is a file; with --all, name a folder`,
    );
  });

  it('names a file that cannot be written', async () => {
    await files.record({ sealed: true });
    await writeFile(files.at('plain'), '');
    await chmod(files.at('plain'), 0o400);
    await expect(
      files.oplab('session', 'export', 'store-down', '--to', files.at('plain/x.json')),
    ).rejects.toMatchObject({
      message: expect.stringContaining('plain'),
    });
  });
});

describe('audit verify --file with an export', () => {
  it('finds nothing wrong with an intact one, and reports what it was checked against', async () => {
    const file = await files.writeExport();
    await files.oplab('audit', 'verify', '--file', file);
    expect(files.stdout).toContain('✓ tikv/store-down');
    expect(files.stdout).toContain("the file's own head, the file's status.audit.sealedHeadHash; 2 texts match");
    expect(files.stdout).toContain('against its own head only; not signed');
  });

  it('finds a changed byte anywhere', async () => {
    const file = await files.writeExport();
    const text = await readFile(file, 'utf8');
    const broken: [string, string, RegExp][] = [
      ['two of three', 'two of thre3', /row 6 \(tool_result\) was changed/],
      ['ünï', 'unï', /row 6: its stored text does not match its digest/],
      ['"severity": "critical"', '"severity": "warning"', /does not match its digest/],
      ['"outcome": "Resolved"', '"outcome": "Escalated"', /does not match its digest/],
    ];
    for (const [from, to, finding] of broken) {
      expect(text).toContain(from);
      await writeFile(files.at('broken.json'), text.replace(from, to));
      files.stdout = '';
      await expect(files.oplab('audit', 'verify', '--file', files.at('broken.json')), from).rejects.toMatchObject({
        exitCode: 4,
      });
      expect(files.stdout).toMatch(finding);
    }
  });

  it('finds tampering even if the digest was recomputed', async () => {
    const file = await files.writeExport();
    const cut = await files.forged(file, (content) => void content.entries.pop());
    await expect(files.oplab('audit', 'verify', '--file', cut)).rejects.toMatchObject({ exitCode: 4 });
    expect(files.stdout).toContain('row 9 is missing');
    files.stdout = '';
    const stray = await files.forged(file, (content) => {
      content.blobs[sha256('planted')] = 'planted';
    });
    await expect(files.oplab('audit', 'verify', '--file', stray)).rejects.toMatchObject({ exitCode: 4 });
    expect(files.stdout).toContain('belongs to no entry');
  });

  it('finds a rewritten chain with a status that was saved elsewhere', async () => {
    const file = await files.writeExport();
    await writeFile(files.at('incident.json'), JSON.stringify(files.raw));
    await files.oplab('audit', 'verify', '--file', file, '--incident-file', files.at('incident.json'));
    expect(files.stdout).toContain('checked against status.audit.sealedHeadHash');
    expect(files.stdout).not.toContain('not signed');
    files.raw = incidentWith({
      entries: 9,
      headHash: 'e'.repeat(64),
      finalHeadHash: 'e'.repeat(64),
      sealedHeadHash: 'e'.repeat(64),
    });
    await writeFile(files.at('incident.json'), JSON.stringify(files.raw));
    await expect(
      files.oplab('audit', 'verify', '--file', file, '--incident-file', files.at('incident.json')),
    ).rejects.toMatchObject({ exitCode: 4 });
    expect(files.stdout).toContain('wrong head');
  });

  it('rejects a file that is not an export', async () => {
    for (const text of [
      '{"format": "oplab.dev/session-export/v1"',
      '{"format": "oplab.dev/session-export/v9"}',
      '{}',
    ]) {
      await writeFile(files.at('odd.json'), text);
      await expect(files.oplab('audit', 'verify', '--file', files.at('odd.json'))).rejects.toMatchObject({
        code: 'OPLAB_INVALID_INPUT',
        message: expect.stringContaining('odd.json is not a session export'),
      });
    }
  });
});

describe('session import', () => {
  it('creates a file that reads and verifies like the original; importing again changes nothing', async () => {
    const file = await files.writeExport();
    await files.oplab('session', 'import', file, '--into', files.at('cases.db'));
    expect(files.stdout).toContain('9 entries added');
    expect((await stat(files.at('cases.db'))).mode & 0o777).toBe(0o600);
    await files.oplab('audit', 'verify', '--file', files.at('cases.db'));
    expect(files.stdout).toContain('against its own head only; not signed');
    expect(files.stdout).toContain("checked against the file's seal; 2 texts match");
    files.stdout = '';
    await files.oplab('audit', 'show', 'store-down', '--file', files.at('audit.db'), '--full', '-o', 'json');
    const first = files.stdout;
    files.stdout = '';
    await files.oplab('audit', 'show', 'store-down', '--file', files.at('cases.db'), '--full', '-o', 'json');
    expect(files.stdout).toBe(first);
    files.stdout = '';
    await files.oplab('session', 'import', file, '--into', files.at('cases.db'));
    expect(files.stdout).toContain('already imported');
    // Out of the copy again: the same session, to the byte.
    await files.oplab(
      'session',
      'export',
      'store-down',
      '--file',
      files.at('cases.db'),
      '--to',
      files.at('again.json'),
    );
    const again = parseExport(await readFile(files.at('again.json'), 'utf8'), 'again');
    const original = parseExport(await readFile(file, 'utf8'), 'original');
    expect([again.entries, again.blobs]).toEqual([original.entries, original.blobs]);
  });

  it('completes a session whose beginning was imported from an earlier export', async () => {
    await files.record({ sealed: false });
    await files.oplab('session', 'export', 'store-down', '--to', files.at('early.json'));
    const log = await openLogInThisThread({ path: files.at('audit.db') });
    await log.seal(gateway, sealEntry('Resolved'));
    await log.close();
    await files.oplab('session', 'export', 'store-down', '--to', files.at('late.json'));
    await files.oplab(
      'session',
      'import',
      files.at('early.json'),
      files.at('late.json'),
      '--into',
      files.at('cases.db'),
    );
    expect(files.stdout).toContain('1 entry added');
    await files.oplab('audit', 'verify', '--file', files.at('cases.db'));
    expect(files.stdout).toContain('8 entries, sealed');
    // The early one says nothing new any more.
    await files.oplab('session', 'import', files.at('early.json'), '--into', files.at('cases.db'));
  });

  it('rejects files that fail verification, and another session with the same id', async () => {
    const file = await files.writeExport();
    const cut = await files.forged(file, (content) => void content.entries.pop());
    await expect(files.oplab('session', 'import', file, cut, '--into', files.at('cases.db'))).rejects.toMatchObject({
      exitCode: 4,
    });
    await expect(stat(files.at('cases.db'))).rejects.toThrow();

    await files.oplab('session', 'import', file, '--into', files.at('cases.db'));
    await rm(files.at('audit.db'));
    files.raw = undefined;
    const log = await openLogInThisThread({ path: files.at('audit.db') });
    await log.append(gateway, openedEntry({ namespace: 'tikv', name: 'store-down', uid }, 'another story'));
    await log.close();
    await files.oplab('session', 'export', 'store-down', '--to', files.at('other.json'));
    await expect(
      files.oplab('session', 'import', files.at('other.json'), '--into', files.at('cases.db')),
    ).rejects.toMatchObject({
      message: expect.stringContaining('row 1 differs'),
    });
  });
});

describe('session post-mortem', () => {
  it('reports what was wrong, claimed, verified, changed and run, and that the record is intact', async () => {
    const file = await files.writeExport();
    files.stdout = '';
    await files.oplab('session', 'post-mortem', 'store-down', '--file', file);
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
      expect(files.stdout).toContain(text);
    }
    const printed = files.stdout;
    files.stdout = '';
    await files.oplab('session', 'export', 'store-down', '--file', file, '--format', 'markdown', '--to', '-');
    expect(files.stdout).toBe(printed);
  });

  it('reports a broken record, a write without a response, and the hand-over of an escalated Incident', async () => {
    const file = await files.writeExport();
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
