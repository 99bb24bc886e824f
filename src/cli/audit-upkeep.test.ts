// The commands that keep the log in order, with a real log: search, backup and prune.

import { mkdtemp, rm, stat } from 'node:fs/promises';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CapturedOutput, commandLine, fakeEnvironment } from '../../test/support/fake-environment.ts';
import { openLogInThisThread } from '../../test/support/log-in-this-thread.ts';
import { API_VERSION } from '../api/group.ts';
import { openedEntry, sealEntry } from '../audit/lifecycle.ts';
import type { AuditStore } from '../audit/store.ts';
import { verifyFile } from '../audit/verify.ts';
import { GatewayUnreachable, InvalidInput, VerificationFailed } from '../errors.ts';
import { startAdminServer } from '../gateway/admin-socket.ts';
import { LiveOutput } from '../gateway/live-output.ts';
import { createReadApi } from '../gateway/read-api/server.ts';
import { createLogger } from '../observability/logger.ts';
import { openGatewayReader } from './reader/gateway-reader.ts';

const OLD = '6f1c0f5e-58a2-4c0e-9d1a-000000000001';
const OPEN = '6f1c0f5e-58a2-4c0e-9d1a-000000000002';
const YEAR_MS = 365 * 86_400_000;
const gateway = (session: string) => ({ session, attempt: 0, writer: 'gateway' }) as const;
const agent = (session: string) => ({ session, attempt: 1, writer: 'agent' }) as const;
const logger = createLogger('gateway', { stream: { write: () => undefined } });

let directory: string;
let log: AuditStore;
let servers: Server[];
const captured = new CapturedOutput();
let headHash: string;
let anchor: string | undefined;
/** Later than the sessions by this much. */
let elapsedMs = 0;

const backup = () => path.join(directory, 'backup.db');
const socket = () => path.join(directory, 'admin.sock');
const environment = fakeEnvironment({
  output: captured.output,
  now: () => new Date(Date.now() + elapsedMs),
  incidents: () => ({
    get: () => Promise.reject(new Error('not used')),
    create: () => Promise.reject(new Error('not used')),
    list: async () => [
      {
        apiVersion: API_VERSION,
        kind: 'Incident',
        metadata: { namespace: 'tikv', name: 'old', uid: OLD },
        spec: {
          summary: 's',
          verify: { checks: [{ name: 'x', kubernetes: { apiVersion: 'v1', kind: 'Pod', name: 'p', cel: 'true' } }] },
        },
        status: {
          audit: { sessionID: OLD, entries: 4, headHash: anchor ?? headHash, sealedHeadHash: anchor ?? headHash },
        },
      },
    ],
  }),
  gateway: () => {
    const address = servers[0]?.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    return openGatewayReader({
      connect: async () => ({ url: `http://127.0.0.1:${port}`, close: async () => undefined }),
      retryMs: 50,
    });
  },
});
const oplab = commandLine(environment);

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-upkeep-'));
  log = await openLogInThisThread({ path: path.join(directory, 'audit.db') });
  const read = createReadApi({
    log,
    publicKey: '',
    live: new LiveOutput((text) => text),
    logger,
    signal: new AbortController().signal,
  });
  await new Promise<void>((resolve) => read.listen(0, '127.0.0.1', resolve));
  servers = [read, await startAdminServer({ log, logger, path: socket() })];
  captured.clear();
  [elapsedMs, anchor] = [0, undefined];
  for (const [session, name] of [
    [OLD, 'old'],
    [OPEN, 'open'],
  ] as const) {
    await log.append(gateway(session), openedEntry({ namespace: 'tikv', name, uid: session }, 's'));
    await log.append(agent(session), {
      clientKey: '1',
      kind: 'tool_call',
      tool: 'shell',
      params: { command: `echo "Needle ${name}"` },
      content: 'why',
    });
    await log.append(agent(session), {
      clientKey: '2',
      kind: 'tool_result',
      tool: 'shell',
      content: 'done',
      blob: `the needle of ${name} in a haystack`,
    });
  }
  headHash = (await log.seal(gateway(OLD), sealEntry('Resolved'))).headHash;
});
afterEach(async () => {
  for (const server of servers) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
  await log.close();
  await rm(directory, { recursive: true, force: true });
});

describe('audit search', () => {
  const lines = () => captured.stdout.trim().split('\n');

  it('finds a text in params, whatever its case, in all sessions', async () => {
    await oplab('audit', 'search', 'echo "needle');
    expect(lines()).toHaveLength(2);
    expect(lines()[0]).toMatch(/tikv\/old 2 {2}tool_call shell {2}echo "Needle old"/);
  });

  it('searches full texts if it is asked to', async () => {
    await oplab('audit', 'search', 'haystack');
    expect([captured.stdout, captured.stderr]).toEqual(['', 'No entries found.\n']);
    await oplab('audit', 'search', 'haystack', '--full', '-o', 'ndjson');
    expect(lines().map((line) => JSON.parse(line).seq)).toEqual([3, 3]);
  });

  it('finds by kind, tool, namespace and age', async () => {
    await oplab('audit', 'search', '--kind', 'lifecycle');
    expect(lines()).toHaveLength(3);
    for (const args of [
      ['--tool', 'kube'],
      ['-n', 'elsewhere'],
      ['--since', '1h'],
    ]) {
      captured.stdout = '';
      elapsedMs = 2 * 3_600_000;
      await oplab('audit', 'search', ...args);
      expect(captured.stdout, args.join(' ')).toBe('');
    }
    elapsedMs = 0;
    await oplab('audit', 'search', '--since', '1h', '--tool', 'shell', '-n', 'tikv');
    expect(lines()).toHaveLength(4);
  });
});

describe('audit backup', () => {
  it('makes a file that only its owner may read, as the gateway keeps the log', async () => {
    await oplab('audit', 'backup', backup());
    expect((await stat(backup())).mode & 0o777).toBe(0o600);
  });

  it('copies the log of a running gateway, and verifies the copy against the anchors', async () => {
    await oplab('audit', 'backup', backup());
    expect(captured.stdout).toContain('2 sessions, 7 entries added');
    expect(captured.stdout).toContain('verified');
    const report = verifyFile(backup());
    expect(report.sessions.map(({ entries, sealed, findings }) => [entries, sealed, findings])).toEqual([
      [4, true, []],
      [3, false, []],
    ]);
    expect(report.sessions.map(({ blobs }) => blobs.checked)).toEqual([1, 1]);
  });

  it('adds only what is new when it is repeated', async () => {
    await oplab('audit', 'backup', backup());
    await log.append(agent(OPEN), { clientKey: '3', kind: 'reasoning', content: 'more' });
    captured.stdout = '';
    await oplab('audit', 'backup', backup());
    expect(captured.stdout).toContain('2 sessions, 1 entry added');
  });

  it('keeps the entries of a session that was pruned since, and the tombstone of one that was pruned before', async () => {
    await oplab('audit', 'backup', backup());
    await log.prune(new Date(Date.now() + 1000));
    await oplab('audit', 'backup', backup());
    expect(verifyFile(backup()).sessions[0]).toMatchObject({ entries: 4, findings: [] });
    expect(verifyFile(backup()).sessions[0]).not.toHaveProperty('pruned');
    const other = path.join(directory, 'other.db');
    await oplab('audit', 'backup', other);
    expect(verifyFile(other).sessions.find(({ session }) => session === OLD)).toMatchObject({ pruned: { headHash } });
  });

  it('fails if the log contradicts an anchor', async () => {
    anchor = 'f'.repeat(64);
    await expect(oplab('audit', 'backup', backup())).rejects.toBeInstanceOf(VerificationFailed);
    expect(captured.stdout).toContain('wrong head');
  });

  it('refuses a file that has another session under the same id', async () => {
    const other = await openLogInThisThread({ path: backup() });
    await other.append(gateway(OPEN), openedEntry({ namespace: 'x', name: 'y', uid: OPEN }, 'other'));
    await other.close();
    await expect(oplab('audit', 'backup', backup())).rejects.toThrow(InvalidInput);
  });
});

describe('audit prune', () => {
  it('lists what it would delete, through the read API', async () => {
    elapsedMs = YEAR_MS;
    await oplab('audit', 'prune', '--older-than', '90d', '--dry-run');
    expect(captured.stdout).toContain(`tikv/old (${OLD}): would be pruned, 4 entries`);
    expect(captured.stdout).not.toContain('tikv/open');
    expect(await log.read(OLD)).toHaveLength(4);
  });

  it('asks the gateway at its admin socket, whose clock counts', async () => {
    await oplab('audit', 'prune', '--older-than', '1d', '--socket', socket());
    expect(captured.stdout).toContain('No sealed session is older than 1d.');
    expect(await log.read(OLD)).toHaveLength(4);
  });

  it('prunes a file, and then list, show and verify know it', async () => {
    const file = path.join(directory, 'audit.db');
    await log.close();
    elapsedMs = YEAR_MS;
    await oplab('audit', 'prune', '--older-than', '90d', '--file', file);
    expect(captured.stdout).toContain(`tikv/old (${OLD}): pruned, 4 entries`);
    captured.stdout = '';
    await oplab('audit', 'list', '--file', file);
    expect(captured.stdout).toMatch(/old +4 +pruned +Resolved/);
    await expect(oplab('audit', 'show', OLD, '--file', file)).rejects.toThrow(/were pruned on .* head was/);
    captured.stdout = '';
    await oplab('audit', 'verify', '--file', file);
    expect(captured.stdout).toMatch(
      new RegExp(`✓ tikv/old .*: pruned on \\d{4}-\\d\\d-\\d\\d, 4 entries, head ${headHash}`),
    );
  });

  it('says where to run it if there is no socket', async () => {
    const missing = oplab('audit', 'prune', '--older-than', '90d', '--socket', '/nonexistent/admin.sock');
    await expect(missing).rejects.toBeInstanceOf(GatewayUnreachable);
    await expect(missing).rejects.toThrow(/run the command in the gateway's pod/);
  });

  it('refuses a duration that is none', async () => {
    await expect(oplab('audit', 'prune', '--older-than', 'soon', '--dry-run')).rejects.toThrow(
      /--older-than: "soon" is not a valid number of days/,
    );
  });
});
