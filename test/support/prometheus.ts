// A real Prometheus as a child process, and metrics for it to scrape, which the test writes.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ensurePackages } from '../../hack/toolchain/apt.ts';
import { httpFetch } from '../../src/checks/http-fetch.ts';
import { eventually } from './eventually.ts';

export interface Exposition {
  readonly port: number;
  /** Text in the exposition format, used from the next scrape on. */
  set(text: string): void;
  close(): void;
}

/** Serves metrics on a loopback port. */
export async function startExposition(text: string): Promise<Exposition> {
  let current = text;
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/plain; version=0.0.4');
    response.end(current);
  });
  const port = await listening(server);
  return {
    port,
    set: (next) => {
      current = next;
    },
    close: () => server.close(),
  };
}

export interface PrometheusServer {
  readonly port: number;
  /** Stops it abruptly, like a lost node. Its data is kept. */
  kill(): Promise<void>;
  /** Starts it again with the same data and port. */
  start(): Promise<void>;
  /** The value of the only sample of a query, or undefined. */
  value(query: string): Promise<number | undefined>;
  close(): Promise<void>;
}

/** Scrapes each port once a second, as a job with that name. */
export async function startPrometheus(jobs: Readonly<Record<string, number>>): Promise<PrometheusServer> {
  await ensurePackages(['prometheus']);
  const dir = await mkdtemp(path.join(tmpdir(), 'oplab-prometheus-'));
  const scrapes = Object.entries(jobs).map(([job, port]) => ({
    job_name: job,
    static_configs: [{ targets: [`127.0.0.1:${port}`] }],
  }));
  const config = { global: { scrape_interval: '1s' }, scrape_configs: scrapes };
  // JSON is YAML.
  await writeFile(path.join(dir, 'prometheus.yml'), JSON.stringify(config));
  const port = await freePort();
  const get = (pathAndQuery: string) =>
    httpFetch({ scheme: 'http', host: '127.0.0.1', port, path: pathAndQuery, hostHeader: 'prometheus' });
  let child: ChildProcess | undefined;
  const start = async () => {
    const started = spawn(
      'prometheus',
      [
        `--config.file=${dir}/prometheus.yml`,
        `--storage.tsdb.path=${dir}/data`,
        `--web.listen-address=127.0.0.1:${port}`,
        '--log.level=error',
      ],
      { stdio: 'ignore' },
    );
    child = started;
    await eventually(async () => (await get('/-/ready')).status === 200, { what: 'Prometheus is ready' });
  };
  const kill = async () => {
    const dying = child;
    child = undefined;
    if (dying === undefined || dying.exitCode !== null) return;
    const ended = new Promise((resolve) => dying.once('exit', resolve));
    dying.kill('SIGKILL');
    await ended;
  };
  await start();
  return {
    port,
    start,
    kill,
    async value(query) {
      const answer: unknown = JSON.parse((await get(`/api/v1/query?${new URLSearchParams({ query })}`)).body);
      const result: unknown = Object(Object(answer).data).result;
      const sample: unknown = Array.isArray(result) ? result[0] : undefined;
      return sample === undefined ? undefined : Number(Object(sample).value?.[1]);
    },
    async close() {
      await kill();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listening(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function listening(server: ReturnType<typeof createServer>): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return address.port;
}
