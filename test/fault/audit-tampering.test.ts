// `oplab audit verify` detects changes that bypass the gateway, and says what was changed.

import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { API_VERSION } from '../../src/api/group.ts';
import { openedEntry, sealEntry } from '../../src/audit/lifecycle.ts';
import { openAuditLog } from '../../src/audit/store.ts';

const uid = '6f1c0f5e-58a2-4c0e-9d1a-2f4f3c0b7a11';
const main = path.join(import.meta.dirname, '../../src/main.ts');
let directory: string;
let original: string;
let file: string;
let incidentFile: string;

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-tampering-'));
  original = path.join(directory, 'original.db');
  file = path.join(directory, 'audit.db');
  incidentFile = path.join(directory, 'incident.json');
  const log = await openAuditLog({ path: original });
  const gateway = { session: uid, attempt: 0, writer: 'gateway' } as const;
  await log.append(gateway, openedEntry({ namespace: 'tikv', name: 'store-down', uid }, 'a store is down'));
  for (let n = 1; n <= 6; n += 1) {
    await log.append(
      { session: uid, attempt: 1, writer: 'agent' },
      {
        clientKey: `1-${n}`,
        kind: 'tool_result',
        tool: 'shell',
        content: `distinctive result ${n}`,
        blob: `whole output ${n}`,
      },
    );
  }
  const { entries, headHash } = await log.seal(gateway, sealEntry('Resolved'));
  await log.close();
  await writeFile(
    incidentFile,
    JSON.stringify({
      apiVersion: API_VERSION,
      kind: 'Incident',
      metadata: { name: 'store-down', namespace: 'tikv', uid },
      spec: {
        summary: 'a store is down',
        verify: { checks: [{ name: 'x', kubernetes: { apiVersion: 'v1', kind: 'Pod', name: 'p', cel: 'true' } }] },
      },
      status: { audit: { sessionID: uid, entries, headHash, finalHeadHash: headHash, sealedHeadHash: headHash } },
    }),
  );
});
afterAll(() => rm(directory, { recursive: true, force: true }));
beforeEach(async () => {
  await rm(file, { force: true });
  await copyFile(original, file);
});

/** The result of the real command line. */
function verify(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const command = [main, 'audit', 'verify', '--file', file, ...args];
    execFile(process.execPath, command, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : 1, stdout, stderr });
    });
  });
}

/**
 * Changes the file like someone with write access to it: drops the triggers and creates them again
 * afterwards.
 */
function tamper(...statements: string[]): void {
  const db = new DatabaseSync(file, { enableForeignKeyConstraints: false });
  const triggers = db.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").all();
  for (const { name } of triggers) db.exec(`DROP TRIGGER ${String(name)}`);
  for (const statement of statements) db.exec(statement);
  for (const { sql } of triggers) db.exec(String(sql));
  db.close();
}

const anchored = () => verify('--incident-file', incidentFile);

it('finds nothing in an untouched file', async () => {
  const result = await anchored();
  expect(result.stdout).toContain('✓ tikv/store-down');
  expect(result.stdout).toContain('status.audit.sealedHeadHash');
  expect(result).toMatchObject({ code: 0, stderr: '' });
});

it('a flipped byte', async () => {
  const bytes = await readFile(file);
  const at = bytes.indexOf('distinctive result 3');
  expect(at).toBeGreaterThan(0);
  bytes[at] = (bytes[at] ?? 0) ^ 0x01;
  await writeFile(file, bytes);
  const result = await verify();
  expect(result.stdout).toContain('row 4 (tool_result) was changed');
  expect(result.stderr).toContain('OPLAB_VERIFICATION_FAILED');
  expect(result.code).toBe(4);
});

it('a dropped last row, with the seal in the file and with the anchor in the status', async () => {
  tamper('DELETE FROM entries WHERE seq = 8');
  const result = await verify();
  expect(result.stdout).toContain("the end is cut off: row 8 is missing; the file's seal covers 8 entries");
  expect(result.code).toBe(4);
  tamper('DELETE FROM seals');
  expect((await verify()).stdout).toContain('its seal is missing: leaf 1 covers 8 entries');
  tamper("DELETE FROM log_leaves WHERE event = 'sealed'");
  expect((await verify()).code).toBe(0);
  const held = await anchored();
  expect(held.stdout).toContain('row 8 is missing; status.audit.sealedHeadHash covers 8 entries');
  expect(held.code).toBe(4);
});

it('two swapped rows', async () => {
  tamper(
    'UPDATE entries SET seq = -1 WHERE seq = 3'.replace('-1', '1003'),
    'UPDATE entries SET seq = 3 WHERE seq = 6',
    'UPDATE entries SET seq = 6 WHERE seq = 1003',
  );
  const result = await verify();
  expect(result.stdout).toContain('rows 3 and 6 were swapped');
  expect(result.stdout.match(/rows? \d/g)).toHaveLength(1);
  expect(result.code).toBe(4);
});

it('a row removed from the middle', async () => {
  tamper('DELETE FROM entries WHERE seq = 5');
  expect((await verify()).stdout).toContain('row 5 is missing');
});

it('a session that was removed completely, with the anchor', async () => {
  tamper('DELETE FROM entries', 'DELETE FROM seals');
  const result = await anchored();
  expect(result.stdout).toContain('rows 1 to 8 are missing');
  expect(result.code).toBe(4);
});

it('a changed text under a digest, whereas a pruned text is not a fault', async () => {
  tamper(
    `UPDATE blobs SET bytes = CAST('nothing happened' AS BLOB) WHERE CAST(bytes AS TEXT) = 'whole output 2'`,
    `DELETE FROM blobs WHERE CAST(bytes AS TEXT) = 'whole output 4'`,
  );
  const result = await verify();
  expect(result.stdout).toContain('row 3: its stored text does not match its digest');
  expect(result.stdout).not.toContain('row 5');
  expect(result.code).toBe(4);
});

it('triggers that were not restored', async () => {
  const db = new DatabaseSync(file);
  db.exec('DROP TRIGGER entries_no_update');
  db.close();
  const result = await verify();
  expect(result.stdout).toContain('entries_no_update');
  expect(result.code).toBe(4);
});

it('prints the same for programs, with nothing else on stdout', async () => {
  tamper("UPDATE entries SET content = 'x' WHERE seq = 2");
  const result = await verify('-o', 'json');
  expect(JSON.parse(result.stdout)).toMatchObject({
    valid: false,
    sessions: [{ session: uid, findings: [{ kind: 'changed', seq: 2 }] }],
  });
  expect(result.code).toBe(4);
});
