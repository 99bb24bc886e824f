// The commands `oplab audit list`, `show` and `verify`.

import path from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { gateway, incident, uid, useCli } from '../../test/support/cli-harness.ts';
import { openedEntry } from '../audit/lifecycle.ts';
import { VerificationFailed } from '../errors.ts';

const cli = useCli();

describe('audit', () => {
  it('list includes the sessions of deleted Incidents', async () => {
    await cli.recordRepair();
    await cli.oplab('audit', 'list');
    expect(
      cli.stdout
        .split('\n')[1]
        ?.split(/\s{2,}/)
        .slice(0, 6),
    ).toEqual([uid, 'tikv', 'store-down', '9', 'yes', 'Resolved']);
  });

  it('says how much of an entry is not shown', async () => {
    await cli.log.append(
      { session: uid, attempt: 0, writer: 'gateway' },
      openedEntry({ namespace: 'tikv', name: 'store-down', uid }, 's'),
    );
    await cli.log.append(
      { session: uid, attempt: 1, writer: 'agent' },
      { clientKey: 'long', kind: 'reasoning', content: `${'y '.repeat(14_000)}` },
    );
    await cli.oplab('audit', 'show', uid);
    expect(cli.stdout).toContain('(11,616 bytes were redacted or shortened)');
  });

  it('show prints reasoning, commands, results and changes', async () => {
    await cli.recordRepair();
    await cli.oplab('audit', 'show', 'store-down', '-n', 'tikv');
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
      expect(cli.stdout).toContain(text);
    }
    expect(cli.stdout).not.toContain('\u001b');
    expect(cli.stdout).not.toContain('statefulset.apps/tikv-tikv scaled');
  });

  it('show --full adds the output of commands and the bodies of writes', async () => {
    await cli.recordRepair();
    await cli.oplab('audit', 'show', uid, '--full');
    expect(cli.stdout).toContain('| statefulset.apps/tikv-tikv scaled\n      | done\n');
    expect(cli.stdout).toContain('| {"spec":{"replicas":3}}');
  });

  it('show filters by kind and start, and prints one entry per line as NDJSON', async () => {
    await cli.recordRepair();
    await cli.oplab(
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
    const entries = cli.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(entries).toMatchObject([
      { seq: 6, kind: 'tool_result', blob: 'statefulset.apps/tikv-tikv scaled\ndone\n' },
      { seq: 7, kind: 'tool_call' },
    ]);
    cli.stdout = '';
    await cli.oplab('audit', 'show', 'tikv/store-down', '-o', 'json');
    expect(JSON.parse(cli.stdout).items).toHaveLength(9);
  });

  it('show reads a file without a cluster', async () => {
    await cli.recordRepair();
    await cli.log.close();
    await cli.oplab('audit', 'show', 'store-down', '--file', path.join(cli.directory, 'audit.db'));
    expect(cli.stdout).toContain('One replica is missing.');
  });

  it('show fails with exit code 3 for a name unknown to cluster and log', async () => {
    await cli.recordRepair();
    await expect(cli.oplab('audit', 'show', 'nope', '-n', 'tikv')).rejects.toMatchObject({ exitCode: 3 });
  });

  it('show uses the latest of several sessions with the same name, and says so', async () => {
    const second = '7a1c0f5e-58a2-4c0e-9d1a-2f4f3c0b7a22';
    await cli.recordRepair();
    await cli.log.append(
      { ...gateway, session: second },
      openedEntry({ namespace: 'tikv', name: 'store-down', uid: second }, 'again'),
    );
    await cli.oplab('audit', 'show', 'tikv/store-down');
    expect(cli.stdout).toContain(`session ${second}`);
    expect(cli.stderr).toContain(uid);
  });

  it('verify checks the log against the anchors in status', async () => {
    const { entries, headHash } = await cli.recordRepair();
    cli.cluster = [
      incident({ audit: { sessionID: uid, entries, headHash, finalHeadHash: headHash, sealedHeadHash: headHash } }),
    ];
    await cli.oplab('audit', 'verify', 'store-down', '-n', 'tikv');
    expect(cli.stdout).toContain(
      `✓ tikv/store-down (${uid}): 9 entries, sealed\n    checked against status.audit.sealedHeadHash; 2 texts match their digests`,
    );
    expect(cli.stdout).not.toContain('not signed');
    cli.stdout = '';
    cli.cluster = [
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
    await expect(cli.oplab('audit', 'verify', '--all', '-n', 'tikv')).rejects.toThrow(
      '-n: without a name, all sessions',
    );
    await expect(cli.oplab('audit', 'verify', '--all')).rejects.toBeInstanceOf(VerificationFailed);
    expect(cli.stdout).toContain('✗ tikv/store-down');
    expect(cli.stdout).toContain('rows 10 to 11 are missing');
  });

  it('verify through the gateway finds a changed text, and counts a pruned one', async () => {
    const { entries, headHash } = await cli.recordRepair();
    cli.cluster = [incident({ audit: { sessionID: uid, entries, headHash, finalHeadHash: headHash } })];
    const [changed = '', pruned = ''] = (await cli.log.read(uid)).flatMap(({ blobDigest }) => blobDigest ?? []);
    const stored = vi.spyOn(cli.log, 'blob').mockImplementation(async (digest) => {
      return digest === changed ? 'something harmless' : undefined;
    });
    await expect(cli.oplab('audit', 'verify', 'store-down', '-n', 'tikv')).rejects.toMatchObject({ exitCode: 4 });
    expect(cli.stdout).toMatch(/row \d: its stored text does not match its digest/);
    expect(stored.mock.calls.map(([digest]) => digest).sort()).toEqual([changed, pruned].sort());
  });

  it('verify finds a session that the log has lost', async () => {
    cli.cluster = [incident({ audit: { sessionID: uid, entries: 4, headHash: 'f'.repeat(64) } })];
    await expect(cli.oplab('audit', 'verify', 'store-down', '-n', 'tikv')).rejects.toMatchObject({ exitCode: 4 });
    expect(cli.stdout).toContain('rows 1 to 4 are missing');
  });
});

it('audit show has a text that begins with a byte order mark as it is, since its digest covers the mark', async () => {
  await cli.log.append(gateway, openedEntry({ namespace: 'tikv', name: 'marked', uid }, 'x'));
  await cli.log.append(gateway, { clientKey: 'bom', kind: 'lifecycle', content: '', blob: '\ufeffa,b\n' });
  await cli.oplab('audit', 'show', uid, '--full', '-o', 'ndjson');
  expect(JSON.parse(cli.stdout.trim().split('\n')[1] ?? '')).toMatchObject({ blob: '\ufeffa,b\n' });
});
