// The CLI with a real log behind the gateway's real read API. Only the cluster is simulated.

import { mkdtemp, rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import { API_VERSION } from '../../src/api/group.ts';
import { openedEntry, outcomeEntry, sealEntry } from '../../src/audit/lifecycle.ts';
import type { AuditStore } from '../../src/audit/store.ts';
import type { Incidents } from '../../src/cli/incidents.ts';
import { parseIncident } from '../../src/cli/parse-incident.ts';
import { openGatewayReader } from '../../src/cli/reader/gateway-reader.ts';
import { NotFound } from '../../src/errors.ts';
import { LiveOutput } from '../../src/gateway/live-output.ts';
import { createReadApi } from '../../src/gateway/read-api/server.ts';
import { createLogger } from '../../src/observability/logger.ts';
import { CapturedOutput, commandLine, fakeEnvironment } from './fake-environment.ts';
import { openLogInThisThread } from './log-in-this-thread.ts';

/** The UID of the Incident of `incident`, which is also its session. */
export const uid = '6f1c0f5e-58a2-4c0e-9d1a-2f4f3c0b7a11';
export const gateway = { session: uid, attempt: 0, writer: 'gateway' } as const;
export const door = { session: uid, attempt: 1, writer: 'gateway' } as const;
export const agent = { session: uid, attempt: 1, writer: 'agent' } as const;

/** A new log, gateway and cluster for each test of the file. */
export function useCli(): CliHarness {
  const cli = new CliHarness();
  beforeEach(() => cli.start());
  afterEach(() => cli.stop());
  return cli;
}

class CliHarness extends CapturedOutput {
  /** The cluster's Incidents, as the API server would give them. */
  cluster: { metadata: { namespace: string; name: string } }[] = [];
  directory = '';
  #log: AuditStore | undefined;
  #live: LiveOutput | undefined;
  #server: Server | undefined;
  #stopping = new AbortController();
  #port = 0;
  readonly #incidents: Incidents = {
    get: async (namespace, name) => {
      const raw = this.cluster.find(({ metadata }) => metadata.namespace === namespace && metadata.name === name);
      if (raw === undefined) throw new NotFound(`there is no Incident "${name}" in namespace ${namespace}`);
      return { incident: parseIncident(raw, 'test'), raw };
    },
    list: async (namespace) =>
      this.cluster.filter(({ metadata }) => namespace === undefined || metadata.namespace === namespace),
    create: async (wanted) => wanted,
  };
  /** Runs a command. */
  readonly oplab = commandLine(
    fakeEnvironment({
      output: this.output,
      incidents: () => this.#incidents,
      gateway: () =>
        openGatewayReader({
          connect: async () => ({ url: `http://127.0.0.1:${this.#port}`, close: async () => undefined }),
          retryMs: 50,
        }),
    }),
  );

  get log(): AuditStore {
    if (this.#log === undefined) throw new Error('there is a log only in a test');
    return this.#log;
  }

  get live(): LiveOutput {
    if (this.#live === undefined) throw new Error('there is live output only in a test');
    return this.#live;
  }

  async start(): Promise<void> {
    this.directory = await mkdtemp(path.join(tmpdir(), 'oplab-cli-'));
    this.#log = await openLogInThisThread({ path: path.join(this.directory, 'audit.db') });
    this.#live = new LiveOutput((text) => this.log.redact(text));
    this.clear();
    this.cluster = [];
    process.exitCode = undefined;
    await this.startGateway();
  }

  async stop(): Promise<void> {
    process.exitCode = undefined;
    await this.stopGateway();
    await this.log.close();
    await rm(this.directory, { recursive: true, force: true });
  }

  async startGateway(): Promise<void> {
    this.#stopping = new AbortController();
    const { log, live } = this;
    const server = createReadApi({
      log,
      publicKey: '',
      live,
      logger: createLogger('test'),
      signal: this.#stopping.signal,
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    this.#port = address.port;
  }

  async stopGateway(): Promise<void> {
    this.#stopping.abort();
    this.#server?.closeAllConnections();
    await new Promise((resolve) => this.#server?.close(resolve));
  }

  /** A session as a repair leaves it. */
  async recordRepair(): Promise<{ entries: number; headHash: string }> {
    await this.log.append(
      gateway,
      openedEntry({ namespace: 'tikv', name: 'store-down', uid }, 'TiKV store 4 is Disconnected'),
    );
    await this.log.append(agent, { clientKey: '1-1', kind: 'reasoning', content: 'I want to see the pods first.' });
    await this.log.append(agent, {
      clientKey: '1-2',
      kind: 'tool_call',
      tool: 'shell',
      params: { command: 'kubectl -n tikv scale sts tikv-tikv --replicas=3\necho done' },
      content: 'One replica is missing.',
    });
    await this.log.append(door, {
      clientKey: 'k1',
      kind: 'kube_intent',
      tool: 'kube',
      params: { verb: 'patch', resource: 'statefulsets', subresource: 'scale', namespace: 'tikv', name: 'tikv-tikv' },
      content: '',
      blob: '{"spec":{"replicas":3}}',
    });
    await this.log.append(door, {
      clientKey: 'k1:outcome',
      kind: 'kube_outcome',
      tool: 'kube',
      params: { status: 200 },
      content: 'patch statefulsets/scale tikv/tikv-tikv: 200',
      durationMs: 12,
    });
    await this.log.append(agent, {
      clientKey: '1-3',
      kind: 'tool_result',
      tool: 'shell',
      exitCode: 0,
      durationMs: 1400,
      params: { call: '1-2', timedOut: false },
      content: 'scaled \u001b[31mto three\u001b[0m',
      blob: 'statefulset.apps/tikv-tikv scaled\ndone\n',
    });
    await this.log.append(agent, {
      clientKey: '1-4',
      kind: 'tool_call',
      tool: 'conclude',
      params: { outcome: 'Fixed', summary: 's', rootCause: 'scaled down', actions: ['scaled up'] },
      content: 'all stores are Up',
    });
    await this.log.append(gateway, outcomeEntry('Resolved', 'all checks have held'));
    return this.log.seal(gateway, sealEntry('Resolved'));
  }
}

export function incident(status: object, name = 'store-down', more: object = {}) {
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

export const time = '2026-01-01T00:06:00Z';
export const attempt = {
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
export const usage = {
  turns: 7,
  modelCalls: 12,
  inputTokens: 51234,
  outputTokens: 2345,
  cacheReadTokens: 10,
  cacheWriteTokens: 0,
  costMilliUSD: 12,
};
export const limits = { timeoutSeconds: 900, maxTurns: 60, maxTokens: 2_000_000, maxCostMilliUSD: 2000, attempts: 2 };
export const condition = (type: string, status: string, reason: string, message = '') => ({
  type,
  status,
  reason,
  message,
  lastTransitionTime: time,
});
