// The whole chain in one process: rehearsal server, agent, shell server, and a patient that exists only as a file.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FakeGateway, fakeTask, startFakeGateway } from '../agent/fake-gateway.ts';
import { runAttempt } from '../agent/process.ts';
import { createSandbox } from '../agent/sandbox-client.ts';
import { silentLogger } from '../observability/logger.ts';
import { commandEnvironment } from '../sandbox/process.ts';
import { startShellServer } from '../sandbox/shell-server.ts';
import { createFakePatient, type FakePatientOptions } from './fake-patient.ts';
import { startRehearsal } from './server.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-repair-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const closedWalls = {
  probes: [{ name: 'api-server', address: '10.0.0.1:443', open: false, detail: 'ECONNREFUSED' }],
  closed: true,
  waitedMs: 1,
};

async function repair(options: FakePatientOptions) {
  const patient = await createFakePatient(directory, options);
  const rehearsal = await startRehearsal({ port: 0, host: '127.0.0.1' });
  const gateway = await startFakeGateway({
    task: fakeTask({ targetNamespaces: [options.namespace] }),
    messages: rehearsal.url,
  });
  const tokenFile = path.join(directory, 'token');
  await writeFile(tokenFile, 'pod-token\n');
  const socketPath = path.join(directory, 'shell.sock');
  const shell = await startShellServer({
    socketPath,
    kitchen: {
      environment: commandEnvironment(directory, `${patient.bin}:${process.env.PATH}`, '/nowhere'),
      directory,
      wholeContainer: false,
    },
    walls: async () => closedWalls,
  });
  try {
    const code = await runAttempt({
      gatewayUrl: gateway.url,
      tokenFile,
      sandbox: createSandbox(socketPath),
      logger: silentLogger(),
      signal: AbortSignal.timeout(100_000),
    });
    return {
      code,
      patient,
      entries: gateway.entries,
      conclusion: gateway.conclusions[0],
      gateway,
    };
  } finally {
    await shell.close();
    await patient.close();
    await gateway.close();
    await rehearsal.close();
  }
}

const commandsOf = (gateway: FakeGateway) =>
  gateway.entries.flatMap((entry) =>
    entry.kind === 'tool_call' && entry.tool === 'shell' ? [JSON.stringify(entry.params)] : [],
  );

describe('a store that was scaled away', { timeout: 100_000 }, () => {
  it.each([
    { namespace: 'tikv', release: 'tikv', replicas: 3, storeIds: [1, 4, 5], scaledTo: 2 },
    { namespace: 'prod-eu', release: 'blue', replicas: 5, storeIds: [7, 1002, 1003, 88, 9], scaledTo: 3 },
  ])('comes back as the release says: $release in $namespace, $scaledTo of $replicas', async (options) => {
    const { code, patient, conclusion, gateway } = await repair(options);
    expect(code).toBe(0);
    expect(conclusion?.outcome).toBe('Fixed');
    expect(patient.replicas).toBe(options.replicas);
    expect(patient.writes).toHaveLength(1);
    expect(conclusion?.summary).toContain(options.release);
    expect(conclusion?.actions).toHaveLength(1);
    // After the change it looked again before it claimed anything.
    const commands = commandsOf(gateway);
    const change = commands.findIndex((command) => command.includes('scale statefulset'));
    expect(commands.slice(change + 1).some((command) => command.includes('/pd/api/v1/stores'))).toBe(true);
  });

  it('comes back by the volume that its pod left, where no release tells', async () => {
    const { patient, conclusion } = await repair({
      namespace: 'bare',
      release: 'kv',
      replicas: 4,
      storeIds: [1, 2, 3, 4],
      scaledTo: 2,
      withoutHelm: true,
    });
    expect(conclusion?.outcome).toBe('Fixed');
    expect(patient.replicas).toBe(4);
  });

  it('is not claimed to be back when scaling has no effect', async () => {
    const { patient, conclusion } = await repair({
      namespace: 'tikv',
      release: 'tikv',
      replicas: 3,
      storeIds: [1, 4, 5],
      scaledTo: 2,
      stuck: true,
    });
    expect(patient.writes.length).toBeGreaterThan(0);
    expect(conclusion?.outcome).toBe('CannotFix');
  });

  it('is not claimed to be back when the rights are missing', async () => {
    const { patient, conclusion } = await repair({
      namespace: 'tikv',
      release: 'tikv',
      replicas: 3,
      storeIds: [1, 4, 5],
      scaledTo: 2,
      readOnly: true,
    });
    expect(patient.writes).toEqual([]);
    expect(conclusion?.outcome).toBe('CannotFix');
  });
});

describe('an option that TiKV refuses', { timeout: 100_000 }, () => {
  it.each([
    {
      namespace: 'tikv',
      release: 'tikv',
      replicas: 3,
      storeIds: [1, 4, 5],
      badOption: { section: 'raftstore', name: 'no-such-option', pods: [2] },
    },
    {
      namespace: 'stage',
      release: 'green',
      replicas: 4,
      storeIds: [11, 12, 13, 14],
      badOption: { section: 'server', name: 'grpc-turbo', pods: [0, 1, 2, 3] },
    },
    {
      namespace: 'x',
      release: 'y',
      replicas: 3,
      storeIds: [1, 2, 3],
      badOption: { section: 'nonsense', name: 'really', pods: [1] },
    },
  ])('is taken out of the ConfigMap: $release in $namespace', async (options) => {
    const { patient, conclusion } = await repair(options);
    expect(conclusion?.outcome).toBe('Fixed');
    expect(patient.toml).not.toContain(options.badOption.name);
    // Nothing else was touched.
    expect(patient.toml).toContain('grpc-concurrency = 2');
    expect(patient.toml).toContain('capacity = "10GB"');
    expect(patient.crashing).toEqual([]);
    expect(conclusion?.summary).toContain(options.badOption.section);
  });
});

describe('what is no fault that the rules know', { timeout: 100_000 }, () => {
  it('is left alone when everything is healthy', async () => {
    const { patient, conclusion } = await repair({
      namespace: 'tikv',
      release: 'tikv',
      replicas: 3,
      storeIds: [1, 4, 5],
    });
    expect(conclusion?.outcome).toBe('NothingWrong');
    expect(patient.writes).toEqual([]);
  });

  it.each([
    ['reversed', (text: string) => [...text].reverse().join('')],
    ['noise', () => 'x9$# @@ ~~ \\u0000 ??'],
    ['empty', () => ''],
  ])('is never claimed to be repaired when all output is garbled: %s', async (_name, garble) => {
    const { patient, conclusion } = await repair({
      namespace: 'tikv',
      release: 'tikv',
      replicas: 3,
      storeIds: [1, 4, 5],
      scaledTo: 2,
      garble,
    });
    expect(conclusion?.outcome).toBe('CannotFix');
    expect(patient.writes).toEqual([]);
  });
});
