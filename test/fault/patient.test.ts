// The patient itself, as processes: acknowledged writes are kept, and a store that was down can be
// reached again.
//
// The stand-in for tikv-server once had both faults. If the patient lost writes or stores by
// itself, the repair would be blamed.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import * as z from 'zod';
import { ensureProgram } from '../../lab/index.ts';
import { eventually } from '../support/eventually.ts';

const comparison = z.object({
  acknowledged: z.number(),
  verified: z.number(),
  ledgerLost: z.number(),
  unreadable: z.number(),
});
const stores = z.object({
  stores: z
    .array(
      z.object({
        store: z.object({ id: z.number(), status_address: z.string(), state_name: z.string() }),
        status: z.object({ leader_count: z.number().default(0) }),
      }),
    )
    .default([]),
});

/** PD, stores and load on loopback. Everything ends with the test. */
class Processes {
  readonly #dir: string;
  readonly #running = new Map<string, ChildProcess>();
  #pd = '';
  #load = '';

  constructor(dir: string) {
    this.#dir = dir;
  }

  async startPd(): Promise<void> {
    const [client, peer] = [await freePort(), await freePort()];
    this.#pd = `127.0.0.1:${client}`;
    await this.#start('pd-server', 'pd', [
      '--name=pd',
      `--data-dir=${path.join(this.#dir, 'pd')}`,
      `--client-urls=http://${this.#pd}`,
      `--peer-urls=http://127.0.0.1:${peer}`,
    ]);
    await eventually(async () => (await this.pd('/leader')) !== undefined, {
      what: 'PD has a leader',
      withinMs: 30_000,
      everyMs: 300,
    });
  }

  async startStore(store: {
    readonly name: string;
    readonly port: number;
    readonly statusPort: number;
  }): Promise<void> {
    const data = path.join(this.#dir, store.name);
    await mkdir(data, { recursive: true });
    await this.#start('tikv-server', store.name, [
      `--pd-endpoints=${this.#pd}`,
      `--addr=127.0.0.1:${store.port}`,
      `--advertise-addr=127.0.0.1:${store.port}`,
      `--status-addr=127.0.0.1:${store.statusPort}`,
      `--advertise-status-addr=127.0.0.1:${store.statusPort}`,
      `--data-dir=${data}`,
    ]);
  }

  async startLoad(...options: readonly string[]): Promise<void> {
    this.#load = `127.0.0.1:${await freePort()}`;
    const ledger = path.join(this.#dir, 'ledger');
    await mkdir(ledger);
    await this.#start('oplab-load', 'load', [
      'run',
      `--pd=${this.#pd}`,
      `--ledger=${ledger}`,
      `--listen=${this.#load}`,
      ...options,
    ]);
  }

  /** Ends a process and waits until it has. */
  async stop(name: string): Promise<void> {
    const child = this.#running.get(name);
    if (child === undefined) return;
    this.#running.delete(name);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    const insist = setTimeout(() => child.kill('SIGKILL'), 5000);
    await gone;
    clearTimeout(insist);
  }

  async stopAll(): Promise<void> {
    for (const name of [...this.#running.keys()].reverse()) await this.stop(name);
    await rm(this.#dir, { recursive: true, force: true });
  }

  async pd(suffix: string): Promise<unknown> {
    return await json(`http://${this.#pd}/pd/api/v1${suffix}`);
  }

  async stores() {
    return stores.parse((await this.pd('/stores')) ?? {}).stores;
  }

  async evictLeaders(storeId: number): Promise<() => Promise<unknown>> {
    const schedulers = `http://${this.#pd}/pd/api/v1/schedulers`;
    const body = JSON.stringify({ name: 'evict-leader-scheduler', store_id: storeId });
    await fetch(schedulers, { method: 'POST', body });
    return async () => await fetch(`${schedulers}/evict-leader-scheduler-${storeId}`, { method: 'DELETE' });
  }

  async compare(): Promise<z.infer<typeof comparison> | undefined> {
    const answer = await json(`http://${this.#load}/verify`);
    return answer === undefined ? undefined : comparison.parse(answer);
  }

  async #start(tool: string, name: string, args: readonly string[]): Promise<void> {
    const child = spawn(await ensureProgram(tool), args, { stdio: 'ignore' });
    this.#running.set(name, child);
    await new Promise((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
  }
}

let patient: Processes;
afterEach(() => patient?.stopAll());

async function freePort(): Promise<number> {
  return await new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => (typeof address === 'object' && address !== null ? resolve(address.port) : reject()));
    });
  });
}

async function json(url: string): Promise<unknown> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(60_000) });
    return answer.ok ? await answer.json() : undefined;
  } catch {
    return undefined;
  }
}

const ports = async (name: string) => ({ name, port: await freePort(), statusPort: await freePort() });

it('keeps acknowledged writes while many transactions on few keys are read back', async () => {
  patient = new Processes(await mkdtemp(path.join(tmpdir(), 'oplab-patient-')));
  await patient.startPd();
  await patient.startStore(await ports('store-0'));
  await patient.startLoad('--rate=200', '--keys=400', '--regions=2', '--pinned=8');
  await eventually(
    async () => {
      return ((await patient.compare())?.acknowledged ?? 0) >= 400;
    },
    { what: 'the load is through all its keys', withinMs: 40_000, everyMs: 300 },
  );
  const end = performance.now() + 12_000;
  while (performance.now() < end) expect(await patient.compare()).toMatchObject({ ledgerLost: 0, unreadable: 0 });
}, 90_000);

it('serves reads again after a leading store was down and leads again', async () => {
  patient = new Processes(await mkdtemp(path.join(tmpdir(), 'oplab-patient-')));
  await patient.startPd();
  const three = [await ports('store-0'), await ports('store-1'), await ports('store-2')];
  for (const store of three) await patient.startStore(store);
  await eventually(async () => (await patient.stores()).length === 3, {
    what: 'three stores',
    withinMs: 30_000,
    everyMs: 300,
  });
  await patient.startLoad('--rate=50', '--keys=400', '--regions=3', '--pinned=8');
  const victim = three[0];
  if (victim === undefined) throw new Error('no store');
  const known = async () =>
    (await patient.stores()).find(({ store }) => store.status_address.endsWith(`:${victim.statusPort}`));
  const id = (await known())?.store.id ?? 0;
  const others = (await patient.stores()).map(({ store }) => store.id).filter((other) => other !== id);
  // Moves all leaders to one store, so that clients have used it, and does so again when it is
  // back.
  const leadsAll = async () => ((await known())?.status.leader_count ?? 0) >= 3;
  let undo = await Promise.all(others.map((other) => patient.evictLeaders(other)));
  await eventually(leadsAll, { what: 'the store leads', withinMs: 60_000, everyMs: 300 });
  await eventually(async () => (await patient.compare())?.unreadable === 0, {
    what: 'all can be read',
    withinMs: 30_000,
    everyMs: 300,
  });
  for (const release of undo) await release();

  await patient.stop(victim.name);
  await sleep(12_000);
  await patient.startStore(victim);
  undo = await Promise.all(others.map((other) => patient.evictLeaders(other)));
  await eventually(leadsAll, { what: 'the store leads again', withinMs: 60_000, everyMs: 300 });
  await eventually(
    async () => {
      const seen = await patient.compare();
      return seen !== undefined && seen.acknowledged > 0 && seen.unreadable === 0 && seen.ledgerLost === 0;
    },
    { what: 'all can be read again', withinMs: 30_000, everyMs: 300 },
  );
  for (const release of undo) await release();
}, 240_000);
