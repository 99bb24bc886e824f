// The whole chain in one process: rehearsal server, agent, shell server, and a patient in a file.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { type FakeGateway, fakeTask, startFakeGateway } from '../../test/support/fake-gateway.ts';
import { createFakePatient, type FakePatientOptions } from '../../test/support/fake-patient.ts';
import { silentLogger } from '../../test/support/silent-logger.ts';
import { runAttempt } from '../agent/process.ts';
import { createSandbox } from '../agent/sandbox-client.ts';
import { commandEnvironment } from '../sandbox/process.ts';
import { startShellServer } from '../sandbox/shell-server.ts';
import { startRehearsal } from './server.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-repair-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const isolated = {
  probes: [
    { name: 'api-server', address: '10.0.0.1:443', open: false, allowed: false, expected: '', detail: 'ECONNREFUSED' },
  ],
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
    shellEnvironment: {
      environment: commandEnvironment(directory, `${patient.bin}:${process.env.PATH}`, '/nowhere'),
      directory,
      wholeContainer: false,
    },
    isolation: async () => isolated,
  });
  try {
    const code = await runAttempt({
      gatewayUrl: gateway.url,
      tokenFile,
      sandbox: createSandbox(socketPath),
      logger: silentLogger(),
      signal: AbortSignal.timeout(100_000),
      leaveReport: async () => undefined,
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

const request = z.looseObject({ tools: z.unknown().optional(), messages: z.array(z.unknown()) });
const unmarked = (value: unknown) =>
  JSON.stringify(value, (key, it) => (key === 'cache_control' ? undefined : it)) ?? '';

const listCommands = (gateway: FakeGateway) =>
  gateway.entries.flatMap((entry) =>
    entry.kind === 'tool_call' && entry.tool === 'shell' ? [JSON.stringify(entry.params)] : [],
  );

describe('the whole chain', { timeout: 100_000 }, () => {
  it('repairs a store that was scaled away', async () => {
    const options = {
      namespace: 'prod-eu',
      release: 'blue',
      replicas: 5,
      storeIds: [7, 1002, 1003, 88, 9],
      scaledTo: 3,
    };
    const { code, patient, conclusion, gateway } = await repair(options);
    expect(code).toBe(0);
    expect(conclusion?.outcome).toBe('Fixed');
    expect(patient.cluster.replicas).toBe(5);
    expect(patient.cluster.writes).toHaveLength(1);
    expect(conclusion?.summary).toContain('blue');
    expect(conclusion?.actions).toHaveLength(1);
    // After the change it observed again before it claimed anything.
    const commands = listCommands(gateway);
    const change = commands.findIndex((command) => command.includes('scale statefulset'));
    expect(commands.slice(change + 1).some((command) => command.includes('/pd/api/v1/stores'))).toBe(true);

    // Without the marks for the cache, each request is the beginning of the next, thoughts included.
    const asked = gateway.bodies.map((body) => request.parse(body)).filter(({ tools }) => tools !== undefined);
    expect(asked.length).toBeGreaterThan(5);
    for (const [index, body] of asked.slice(0, -1).entries()) {
      const [before, after] = [body, asked[index + 1]].map((it) => unmarked(it?.messages).slice(0, -1));
      expect(after?.startsWith(`${before},{"role":"assistant","content":[{"type":"thinking",`)).toBe(true);
      expect(unmarked({ ...asked[index + 1], messages: [] })).toBe(unmarked({ ...body, messages: [] }));
    }
    // After the first, each finds in the cache what the one before wrote.
    const usages = gateway.usages.filter(({ cache_creation_input_tokens: written }) => written > 0);
    expect(usages.length).toBeGreaterThan(5);
    for (const [index, usage] of usages.slice(1).entries()) {
      const { cache_read_input_tokens: read, cache_creation_input_tokens: written } = usages[index] ?? usage;
      expect(usage.cache_read_input_tokens).toBe(read + written);
    }
  });
});
