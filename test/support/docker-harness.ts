// A gateway whose docker door leads to the machine's own dockerd, through the socket process, with
// the sandbox's socket in front of it.

import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Server, TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import * as z from 'zod';
import { ensureDocker } from '../../hack/cluster/docker.ts';
import { ensureRoot } from '../../hack/toolchain/debian.ts';
import type { DockerAccess } from '../../src/api/docker-access.ts';
import type { Entry } from '../../src/audit/entry.ts';
import { createSocketRelay } from '../../src/docker-socket/relay.ts';
import { PROJECT_LABEL } from '../../src/gateway/doors/docker/scope.ts';
import { createLogger } from '../../src/observability/logger.ts';
import { type DockerRelay, startDockerRelay } from '../../src/sandbox/docker-relay.ts';
import type { Attempt } from './gateway-attempts.ts';
import { type GatewayHarness, startGatewayHarness } from './gateway-harness.ts';

const exec = promisify(execFile);
/**
 * Everything that a run creates on the host has this label with the run's own value, and is removed
 * by it.
 */
const RUN_LABEL = 'oplab.test/run';
export const HOST_SOCKET = '/var/run/docker.sock';
/** The command of a container that prints a line, and then sleeps until it is stopped. */
export const SLEEPER = ['sh', '-c', 'echo up; trap exit TERM; while :; do sleep 0.2; done'];

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface DockerSandbox {
  readonly attempt: Attempt;
  /** The socket that the attempt's commands use. */
  readonly socketPath: string;
  docker(...args: string[]): Promise<Ran>;
}

export interface DockerHarness {
  readonly gateway: GatewayHarness;
  /** The project that is open, and another one on the same host. */
  readonly ours: string;
  readonly theirs: string;
  readonly image: string;
  readonly tls: string;
  readonly relayPort: number;
  /** A sandbox with the docker access that `access` describes. No command runs in an idle one. */
  sandbox(
    name: string,
    access?: Partial<DockerAccess>,
    mode?: 'Repair' | 'Diagnose',
    idle?: boolean,
  ): Promise<DockerSandbox>;
  /** The docker command with the host's own socket. It bypasses the gateway. */
  host(...args: string[]): Promise<string>;
  /** Creates and starts a container of a project, and bypasses the gateway. */
  run(project: string, name: string, ...args: string[]): Promise<string>;
  /** What the gateway records of the requests of a sandbox's commands while `work` runs. */
  recorded(sandbox: DockerSandbox, work: () => Promise<unknown>): Promise<Entry[]>;
  /** Stops or starts the socket process. */
  socketProcess(up: boolean): Promise<void>;
  close(): Promise<void>;
}

/**
 * Keys and certificates: one CA, the socket's server, the gateway as its client, and a client with
 * another name.
 */
export async function makeCertificates(dir: string): Promise<void> {
  const openssl = (...args: string[]) => exec('openssl', args, { cwd: dir });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  await openssl('req', '-x509', ...key, '-days', '2', '-subj', '/CN=docker-ca', '-keyout', 'ca.key', '-out', 'ca.crt');
  for (const [folder, name] of [
    ['server', 'oplab-docker-socket'],
    ['client', 'oplab-gateway'],
    ['stranger', 'somebody'],
  ] as const) {
    await mkdir(path.join(dir, folder));
    await openssl('req', ...key, '-subj', `/CN=${name}`, '-keyout', `${folder}/tls.key`, '-out', `${folder}/tls.csr`);
    await writeFile(path.join(dir, folder, 'names'), 'subjectAltName=IP:127.0.0.1,DNS:localhost');
    const out = ['-out', `${folder}/tls.crt`, '-extfile', `${folder}/names`, '-days', '2'];
    await openssl(
      'x509',
      '-req',
      '-in',
      `${folder}/tls.csr`,
      '-CA',
      'ca.crt',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      ...out,
    );
    await exec('cp', ['ca.crt', `${folder}/ca.crt`], { cwd: dir });
  }
}

export async function runDocker(socketPath: string, args: readonly string[], input?: string): Promise<Ran> {
  const running = exec('docker', args, {
    env: { PATH: process.env.PATH, HOME: tmpdir(), DOCKER_HOST: `unix://${socketPath}` },
    timeout: 30_000,
    maxBuffer: 256 * 1024 * 1024,
  });
  // A command that fails early does not read its input.
  running.child.stdin?.on('error', () => undefined);
  running.child.stdin?.end(input ?? '');
  try {
    return { code: 0, ...(await running) };
  } catch (error) {
    const failed = z
      .looseObject({ code: z.union([z.number(), z.string()]).nullish(), stdout: z.string(), stderr: z.string() })
      .parse(error);
    return { code: typeof failed.code === 'number' ? failed.code : -1, stdout: failed.stdout, stderr: failed.stderr };
  }
}

export async function startDockerHarness(): Promise<DockerHarness> {
  await ensureDocker();
  const run = `t${Date.now().toString(36)}`;
  const [ours, theirs, image] = [`ours-${run}`, `theirs-${run}`, `oplab-test-${run}:1`];
  const tls = await mkdtemp(path.join(tmpdir(), 'oplab-docker-tls-'));
  await makeCertificates(tls);
  const logger = createLogger('docker-socket', { level: 'silent' });
  let server: Server | undefined;
  let relayPort = 0;
  const connections = new Set<TLSSocket>();
  const listen = async () => {
    const next = createSocketRelay({
      socketPath: HOST_SOCKET,
      tls: path.join(tls, 'server'),
      clientName: 'oplab-gateway',
      logger,
    });
    await new Promise<void>((resolve) => next.listen(relayPort, '127.0.0.1', resolve));
    const address = next.address();
    relayPort = typeof address === 'object' && address !== null ? address.port : 0;
    next.on('secureConnection', (socket) => {
      connections.add(socket);
      socket.once('close', () => connections.delete(socket));
    });
    server = next;
  };
  await listen();
  const gateway = await startGatewayHarness(async (dir) => {
    const file = path.join(dir, 'docker.json');
    const endpoints = [{ name: 'local', url: `tcp://127.0.0.1:${relayPort}`, tls: path.join(tls, 'client') }];
    await writeFile(file, JSON.stringify({ endpoints }));
    return { OPLAB_DOCKER_ENDPOINTS_FILE: file };
  });
  const relays: DockerRelay[] = [];
  const host = async (...args: string[]) => {
    const ran = await runDocker(HOST_SOCKET, args);
    if (ran.code !== 0) throw new Error(`docker ${args.join(' ')}: ${ran.stderr}`);
    return ran.stdout.trim();
  };
  const labels = (project: string) => ['--label', `${PROJECT_LABEL}=${project}`, '--label', `${RUN_LABEL}=${run}`];
  const root = await ensureRoot('oplab-base');
  await host('import', '--change', `LABEL ${RUN_LABEL}=${run}`, root.file, image);
  await host('tag', image, image.replace(':1', '-foreign:1'));
  for (const project of [ours, theirs]) {
    await host('network', 'create', ...labels(project), `${project}_default`);
    await host('volume', 'create', ...labels(project), `${project}_data`);
  }
  return {
    gateway,
    ours,
    theirs,
    image,
    tls,
    get relayPort() {
      return relayPort;
    },
    host,
    async sandbox(name, access = {}, mode = 'Repair', idle = false) {
      const attempt = await gateway.open(
        name,
        {},
        {
          mode,
          idle,
          docker: {
            endpoint: 'local',
            composeProject: ours,
            ...{ allowPrivileged: false, allowHostMounts: false, allowHostNamespaces: false },
            ...access,
          },
        },
      );
      const dir = path.join(tls, name);
      await mkdir(dir);
      await gateway.runCommand(attempt);
      await writeFile(path.join(dir, 'token'), attempt.sandboxToken);
      const socketPath = path.join(dir, 'docker.sock');
      const url = new URL(`https://127.0.0.1:${gateway.gateway.ports.docker}`);
      relays.push(
        await startDockerRelay({
          socketPath,
          url,
          caFile: path.join(gateway.dir, 'tls.crt'),
          tokenFile: path.join(dir, 'token'),
        }),
      );
      return { attempt, socketPath, docker: (...args) => runDocker(socketPath, args) };
    },
    async run(project, name, ...args) {
      await host('run', '-d', '--name', name, '--network', `${project}_default`, ...labels(project), ...args);
      return name;
    },
    async recorded({ attempt }, work) {
      const before = (await gateway.entries(attempt)).length;
      await work();
      return (await gateway.entries(attempt)).slice(before).filter((entry) => entry.kind.startsWith('docker_'));
    },
    async socketProcess(up) {
      if (up) return await listen();
      const closing = server;
      for (const socket of connections) socket.destroy();
      await new Promise<void>((resolve) => closing?.close(() => resolve()) ?? resolve());
    },
    async close() {
      const ofRun = ['--filter', `label=${RUN_LABEL}=${run}`];
      const ofOurs = ['--filter', `label=${PROJECT_LABEL}=${ours}`];
      for (const filter of [ofRun, ofOurs]) {
        const containers = await host('ps', '-aq', ...filter);
        if (containers !== '') await host('rm', '-fv', ...containers.split('\n'));
        for (const kind of ['network', 'volume']) {
          const objects = await host(kind, 'ls', '-q', ...filter);
          if (objects !== '') await host(kind, 'rm', ...objects.split('\n'));
        }
      }
      await host('rmi', '-f', image, image.replace(':1', '-foreign:1'));
      for (const relay of relays) await relay.close();
      for (const socket of connections) socket.destroy();
      server?.close();
      await gateway.close();
      await rm(tls, { recursive: true, force: true });
    },
  };
}
