// Sessions as files, written by the CLI from a log with difficult content.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import type * as z from 'zod';
import { API_VERSION } from '../../src/api/group.ts';
import { parseExport, type sessionExport } from '../../src/audit/export.ts';
import { canonicalJson, sha256 } from '../../src/audit/hash-chain.ts';
import { openedEntry, outcomeEntry, sealEntry } from '../../src/audit/lifecycle.ts';
import { parseIncident } from '../../src/cli/parse-incident.ts';
import { openFileReader } from '../../src/cli/reader/file-reader.ts';
import { NotFound } from '../../src/errors.ts';
import { agent, door, gateway, uid } from './cli-harness.ts';
import { CapturedOutput, commandLine, fakeEnvironment } from './fake-environment.ts';
import { openLogInThisThread } from './log-in-this-thread.ts';

const time = '2026-01-01T00:06:00Z';

/** A new folder for each test of the file. */
export function useSessionFiles(): SessionFiles {
  const files = new SessionFiles();
  beforeEach(() => files.start());
  afterEach(() => files.stop());
  return files;
}

class SessionFiles extends CapturedOutput {
  directory = '';
  /** The Incident, as the API server would give it. */
  raw: object | undefined;

  /** Runs a command. */
  readonly oplab = commandLine(
    fakeEnvironment({
      output: this.output,
      now: () => new Date('2026-01-01T00:10:00.123Z'),
      incidents: () => ({
        get: async (namespace, name) => {
          const { raw } = this;
          if (raw === undefined || `${namespace}/${name}` !== 'tikv/store-down') throw new NotFound('there is none');
          return { incident: parseIncident(raw, 'test'), raw };
        },
        list: async () => [],
        create: async (wanted) => wanted,
      }),
      namespace: () => 'tikv',
      // The cluster's log is a file here; that it can be read through a gateway is another test's.
      gateway: () => openFileReader(this.at('audit.db')),
    }),
  );

  async start(): Promise<void> {
    this.directory = await mkdtemp(path.join(tmpdir(), 'oplab-session-'));
    this.clear();
    this.raw = undefined;
  }

  async stop(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }

  /** The path of a file in the folder. */
  at(name: string): string {
    return path.join(this.directory, name);
  }

  /** A recorded repair with difficult content: odd keys, a table's bar, Markdown, a long text. */
  async record(options: { sealed: boolean }): Promise<{ entries: number; headHash: string } | undefined> {
    const log = await openLogInThisThread({ path: this.at('audit.db') });
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

  /** The export of a sealed session whose Incident is there, and where it was written. */
  async writeExport(): Promise<string> {
    const seal = await this.record({ sealed: true });
    if (seal === undefined) throw new Error('not sealed');
    const { entries, headHash } = seal;
    this.raw = incidentWith({ entries, headHash, finalHeadHash: headHash, sealedHeadHash: headHash });
    await this.oplab('session', 'export', 'store-down', '--to', `${this.directory}/`);
    return this.at('tikv-store-down-6f1c0f5e-20260101T001000Z.json');
  }

  /** The same file with a change and a matching new digest, as a careful attacker would write it. */
  async forged(file: string, change: (content: z.infer<typeof sessionExport>) => void): Promise<string> {
    const content = parseExport(await readFile(file, 'utf8'), file);
    change(content);
    const { digest: _, ...rest } = content;
    await writeFile(this.at('forged.json'), JSON.stringify({ ...rest, digest: sha256(canonicalJson(rest)) }));
    return this.at('forged.json');
  }
}

export function incidentWith(audit: object, more: object = {}): object {
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
