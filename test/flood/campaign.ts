// Attacks a real gateway whose audit log is on a volume of 64 MiB, and measures what an honest Incident
// notices meanwhile. The volume is a tmpfs, so this needs root.

import { execFile, spawn } from 'node:child_process';
import { mkdir, readFile, statfs } from 'node:fs/promises';
import { loadavg } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import * as z from 'zod';
import { verifyFile } from '../../src/audit/verify.ts';
import { eventually } from '../support/eventually.ts';
import { type Attempt, TARGET } from '../support/gateway-attempts.ts';
import { startGatewayHarness } from '../support/gateway-harness.ts';
import type { Orders } from './attacker.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const VOLUME_MIB = 64;
const ATTACKERS = 3;
/** The shortest pause between two entries of the honest Incident, in milliseconds. */
const PAUSE_MS = 100;
/** Entries of each kind, at most: an honest Incident stays far below its share of the log. */
const HONEST_ENTRIES = 2400;
/** Entries before the attack. */
const CALM_ENTRIES = 50;

const answersSchema = z.record(z.string(), z.record(z.string(), z.number()));

/** In milliseconds. */
interface Times {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** What reports/flood.json holds. */
export interface FloodReport {
  readonly seconds: number;
  readonly volumeMiB: number;
  /** Processes that were waiting for a processor, over the last minute of the campaign. */
  readonly load: number;
  /** Answers to the attackers by door and HTTP status. */
  readonly attack: Record<string, Record<string, number>>;
  /** Of the honest Incident's session: from appending an entry to its acknowledgement by the log. */
  readonly acks: Times;
  /** Of its entries at the audit door, where the API server may be asked to review the token. */
  readonly door: Times;
  /** At the door before the attack began: what the machine takes by itself. */
  readonly calm: Times;
  /** Writes of the honest Incident to the API server, through the kube door. */
  readonly writes: Times;
  /** Answers to the honest Incident other than success. */
  readonly refused: readonly string[];
  /** Reasons for which the log accepted no new work, ever. */
  readonly closed: readonly string[];
  readonly usedMiB: number;
  readonly freeMiB: number;
  /** Each attacker's limit, as its Incident's status has it. */
  readonly limits: readonly (string | undefined)[];
  /** Whether the whole log verifies afterwards. */
  readonly sound: boolean;
}

/** Runs the campaign. */
export async function runFlood(ms: number): Promise<FloodReport> {
  let volume = '';
  const lab = await startGatewayHarness(async (dir) => {
    volume = path.join(dir, 'volume');
    await mkdir(volume);
    await run('mount', ['-t', 'tmpfs', '-o', `size=${VOLUME_MIB}m`, 'tmpfs', volume]);
    return { OPLAB_DATA_DIR: volume };
  });
  try {
    const honest = await lab.open('honest');
    const attackers: Attempt[] = [];
    for (let n = 1; n <= ATTACKERS; n += 1) attackers.push(await lab.open(`attacker-${n}`));
    const append = (attempt: Attempt, clientKey: string, blob: string) =>
      lab.ask(attempt, 'POST', '/audit/v1/entries', { clientKey, kind: 'reasoning', content: clientKey, blob });
    for (const attempt of [honest, ...attackers]) {
      await eventually(async () => ((await append(attempt, 'first', 'x')).status === 200 ? true : undefined));
      // A write that no command explains would end the lease.
      await lab.runCommand(attempt);
    }
    const calm: number[] = [];
    for (let n = 0; n < CALM_ENTRIES; n += 1) {
      const started = performance.now();
      await append(honest, `calm-${n}`, '');
      calm.push(performance.now() - started);
      await sleep(PAUSE_MS);
    }
    const closed = new Set<string>();
    let isOver = false;
    lab.gateway.log.onFailureChange((failure) => {
      if (failure !== undefined && !isOver) closed.add(failure.message);
    });
    const { ports } = lab.gateway;
    const flood = startAttacker({
      ms,
      ca: await readFile(path.join(lab.dir, 'tls.crt'), 'utf8'),
      agentPort: ports.agent,
      kubePort: ports.kube,
      namespace: TARGET,
      width: 4,
      attempts: attackers.map(({ agentToken, sandboxToken }) => ({ agentToken, sandboxToken })),
    });
    const acks: number[] = [];
    const door: number[] = [];
    const writes: number[] = [];
    const refused: string[] = [];
    const deadline = Date.now() + ms;
    const pause = Math.max(PAUSE_MS, ms / HONEST_ENTRIES);
    const until = async (times: number[], pauseMs: number, work: (n: number) => Promise<{ status: number }>) => {
      for (let n = 0; Date.now() < deadline; n += 1) {
        const started = performance.now();
        const { status } = await work(n);
        times.push(performance.now() - started);
        if (status >= 300) refused.push(`${times === door ? 'entry' : 'write'} ${n}: ${status}`);
        await sleep(pauseMs);
      }
    };
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'honest' } };
    const configMaps = `/api/v1/namespaces/${TARGET}/configmaps`;
    await lab.kube(honest, 'POST', configMaps, { 'content-type': 'application/json' }, JSON.stringify(object));
    await Promise.all([
      until(acks, pause, async (n) => {
        const author = { session: honest.session, attempt: 1, writer: 'gateway' } as const;
        await lab.gateway.log.append(author, { clientKey: `log-${n}`, kind: 'kube_intent', content: 'x' });
        return { status: 200 };
      }),
      until(door, pause, (n) => append(honest, `honest-${n}`, n % 10 === 0 ? `${n} ${'line\n'.repeat(100)}` : '')),
      until(writes, 10 * pause, (n) =>
        lab.kube(
          honest,
          'PATCH',
          `${configMaps}/honest`,
          { 'content-type': 'application/merge-patch+json' },
          JSON.stringify({ data: { n: String(n) } }),
        ),
      ),
    ]);
    const attack = await flood;
    await sleep(1500);
    const { bavail, blocks, bsize } = await statfs(volume);
    const limits = await Promise.all(
      attackers.map(async ({ name }) => (await lab.incident(name)).status?.usage?.limitReached),
    );
    isOver = true;
    await lab.stopGateway();
    const report = verifyFile(path.join(volume, 'audit.db'));
    return {
      seconds: ms / 1000,
      volumeMiB: VOLUME_MIB,
      load: loadavg()[0] ?? 0,
      attack,
      acks: summarize(acks),
      door: summarize(door),
      calm: summarize(calm),
      writes: summarize(writes),
      refused,
      closed: [...closed],
      usedMiB: ((blocks - bavail) * bsize) / MIB,
      freeMiB: (bavail * bsize) / MIB,
      limits,
      sound: report.findings.length === 0 && report.sessions.every(({ findings }) => findings.length === 0),
    };
  } finally {
    await lab.stopGateway();
    await run('umount', ['-l', volume]);
    await lab.close();
  }
}

async function startAttacker(orders: Orders): Promise<Record<string, Record<string, number>>> {
  const child = spawn(process.execPath, [path.join(import.meta.dirname, 'attacker.ts')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.end(JSON.stringify(orders));
  return answersSchema.parse(JSON.parse(await text(child.stdout)));
}

function summarize(times: readonly number[]): Times {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0);
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}
