// The real Alertmanager, and the real Prometheus in front of it, as child processes of the test on
// loopback.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { stringify } from 'yaml';
import { ensurePackages } from '../../hack/toolchain/apt.ts';
import { eventually } from './eventually.ts';

export interface Daemon {
  readonly url: string;
  /** The end of its log, for a test that failed. */
  readonly log: () => string;
  stop(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/**
 * Starts a program with a configuration file and a folder for its data, and waits until it is
 * ready.
 */
async function startDaemon(
  program: string,
  config: object,
  flags: (files: { config: string; storage: string; listen: string }) => string[],
): Promise<Daemon> {
  const folder = await mkdtemp(path.join(tmpdir(), `oplab-${program}-`));
  const files = { config: path.join(folder, 'config.yaml'), storage: path.join(folder, 'storage') };
  await mkdir(files.storage);
  await writeFile(files.config, stringify(config));
  const listen = `127.0.0.1:${await freePort()}`;
  const child: ChildProcess = spawn(program, flags({ ...files, listen }), { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  const keep = (chunk: Buffer) => {
    log = (log + chunk.toString()).slice(-20_000);
  };
  child.stdout?.on('data', keep);
  child.stderr?.on('data', keep);
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const stop = async () => {
    child.kill('SIGKILL');
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  const url = `http://${listen}`;
  try {
    await eventually(async () => (await fetch(`${url}/-/ready`)).ok, { what: `${program} ready`, withinMs: 20_000 });
  } catch (error) {
    await stop();
    throw new Error(`${error instanceof Error ? error.message : error}\n${log}`);
  }
  return { url, log: () => log, stop };
}

/** @param receiver as in Alertmanager's `webhook_configs` */
export async function startAlertmanager(receiver: object, route: object = {}): Promise<Daemon> {
  await ensurePackages(['prometheus-alertmanager']);
  const config = {
    route: {
      receiver: 'oplab',
      group_by: ['alertname'],
      group_wait: '50ms',
      group_interval: '500ms',
      repeat_interval: '1s',
      ...route,
    },
    receivers: [{ name: 'oplab', webhook_configs: [{ send_resolved: true, ...receiver }] }],
  };
  return await startDaemon('prometheus-alertmanager', config, ({ config: file, storage, listen }) => [
    `--config.file=${file}`,
    `--storage.path=${storage}`,
    `--web.listen-address=${listen}`,
    '--cluster.listen-address=',
  ]);
}

/** Prometheus without targets: it only evaluates rules. */
export async function startPrometheus(options: {
  readonly alertmanager: string;
  readonly externalLabels: Readonly<Record<string, string>>;
  readonly rules: readonly object[];
}): Promise<Daemon> {
  await ensurePackages(['prometheus']);
  const folder = await mkdtemp(path.join(tmpdir(), 'oplab-rules-'));
  const rules = path.join(folder, 'rules.yaml');
  await writeFile(rules, stringify({ groups: [{ name: 'test', interval: '200ms', rules: options.rules }] }));
  const config = {
    global: { evaluation_interval: '200ms', external_labels: options.externalLabels },
    rule_files: [rules],
    alerting: {
      alertmanagers: [{ static_configs: [{ targets: [new URL(options.alertmanager).host] }] }],
    },
  };
  const daemon = await startDaemon('prometheus', config, ({ config: file, storage, listen }) => [
    `--config.file=${file}`,
    `--storage.tsdb.path=${storage}`,
    `--web.listen-address=${listen}`,
    // Prometheus finds its Alertmanagers some seconds after the first alert, which is then sent
    // again.
    '--rules.alert.resend-delay=1s',
  ]);
  return {
    ...daemon,
    async stop() {
      await daemon.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/**
 * The alert that Prometheus would send to Alertmanager. It is over if `endsAt` is given and in the
 * past.
 */
export async function postAlerts(
  alertmanager: Daemon,
  alerts: readonly { labels: Record<string, string>; startsAt: Date; endsAt?: Date; annotations?: object }[],
): Promise<void> {
  const answer = await fetch(`${alertmanager.url}/api/v2/alerts`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(alerts),
  });
  if (!answer.ok) throw new Error(`Alertmanager answered ${answer.status}: ${await answer.text()}`);
}
