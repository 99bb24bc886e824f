// The Docker daemon: uses the one that runs, or starts one where Docker is or may be installed.
import { spawn } from 'node:child_process';
import { existsSync, openSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { OplabError } from '../../src/errors.ts';
import { output, run, succeeds } from '../child.ts';
import { ensurePackages, hasProgram, mayInstall } from '../toolchain/apt.ts';
import { cacheDir } from '../toolchain/cache.ts';
import { ensureTool } from '../toolchain/tools.ts';
import { lacksSysResource } from './capabilities.ts';
import { dockerdConfig, dockerdLog, dockerdPid } from './names.ts';

/** The runtime under which dockerd knows our wrapper of runc. */
const wrapperRuntime = 'oplab';

/** The socket on the machine where the daemon runs, which need not be this one. */
export const hostDockerSocket = '/var/run/docker.sock';

/** Whether a Docker daemon answers. */
export async function dockerAnswers(signal?: AbortSignal): Promise<boolean> {
  return succeeds('docker', ['version', '--format', '{{.Server.Version}}'], {
    timeoutMs: 10_000,
    signal,
  });
}

/** The name of a process, or undefined if there is none with that id. */
async function processName(pid: number): Promise<string | undefined> {
  return (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => undefined))?.trim();
}

/** Removes a pid file whose process is gone or, after a reboot, is a different program. */
export async function removeStalePid(file: string, program: string): Promise<void> {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return;
  const name = await processName(Number.parseInt(text, 10));
  if (name !== program) await rm(file, { force: true });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The user's configuration of the daemon with our runtime added where the host needs it. */
export function daemonConfig(own: unknown, wrapper: string | undefined): Record<string, unknown> {
  const config = isRecord(own) ? { ...own } : {};
  if (wrapper === undefined) return config;
  const runtimes = isRecord(config.runtimes) ? config.runtimes : {};
  return {
    ...config,
    runtimes: { ...runtimes, [wrapperRuntime]: { path: wrapper } },
    'default-runtime': wrapperRuntime,
  };
}

async function startDaemon(signal: AbortSignal | undefined): Promise<void> {
  await mkdir(cacheDir(), { recursive: true });
  await removeStalePid('/var/run/docker.pid', 'dockerd');
  await removeStalePid('/run/docker/containerd/containerd.pid', 'containerd');
  const wrapper = lacksSysResource() ? await ensureTool('oci-runtime', { signal }) : undefined;
  const own = await readFile('/etc/docker/daemon.json', 'utf8').then(
    (text): unknown => JSON.parse(text),
    () => undefined,
  );
  await writeFile(dockerdConfig(), JSON.stringify(daemonConfig(own, wrapper)));
  const log = openSync(dockerdLog(), 'w', 0o600);
  // A session of its own: it must outlive us and the terminal.
  const child = spawn('dockerd', ['--config-file', dockerdConfig()], {
    detached: true,
    stdio: ['ignore', log, log],
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin` },
  });
  let exited = false;
  child.once('exit', () => {
    exited = true;
  });
  child.unref();
  if (child.pid !== undefined) await writeFile(dockerdPid(), `${child.pid}\n`);
  for (let tries = 0; tries < 150; tries++) {
    if (await dockerAnswers(signal)) return;
    if (exited) break;
    await sleep(200, undefined, { signal });
  }
  const tail = (await readFile(dockerdLog(), 'utf8').catch(() => '')).trim().split('\n').slice(-5).join('\n');
  throw new OplabError('OPLAB_DOCKER_UNAVAILABLE', `dockerd did not start (log: ${dockerdLog()}):\n${tail}`);
}

/**
 * Makes sure that a Docker daemon answers and can run privileged containers.
 * @throws OplabError OPLAB_DOCKER_UNAVAILABLE with what to do.
 */
export async function ensureDocker(signal?: AbortSignal): Promise<void> {
  if (!(await hasProgram('docker')) && mayInstall()) await ensurePackages(['docker.io'], signal);
  if (!(await dockerAnswers(signal))) {
    if (process.platform !== 'linux' || process.getuid?.() !== 0)
      throw new OplabError(
        'OPLAB_DOCKER_UNAVAILABLE',
        'no Docker daemon answers; start Docker or set DOCKER_HOST, then try again',
      );
    await ensurePackages(['docker.io', 'iptables'], signal);
    await startDaemon(signal);
  }
  if (!lacksSysResource()) return;
  const runtime = await output('docker', ['info', '--format', '{{.DefaultRuntime}}'], { signal });
  if (runtime !== wrapperRuntime)
    throw new OplabError(
      'OPLAB_DOCKER_UNAVAILABLE',
      'this host lacks CAP_SYS_RESOURCE, so privileged containers need the runtime wrapper; the running dockerd does not use it. Stop that dockerd and try again',
    );
}

/** Ends the daemon if, and only if, it is the one that we started. */
export async function stopOurDaemon(): Promise<boolean> {
  const pid = Number.parseInt(await readFile(dockerdPid(), 'utf8').catch(() => ''), 10);
  const ours = Number.isInteger(pid) && (await processName(pid)) === 'dockerd';
  if (ours) {
    process.kill(pid, 'SIGTERM');
    for (let tries = 0; tries < 100 && existsSync(`/proc/${pid}`); tries++) await sleep(200);
  }
  await rm(dockerdPid(), { force: true });
  return ours;
}

/** Whether an image with this reference is in the daemon. */
export async function hasImage(reference: string, signal?: AbortSignal): Promise<boolean> {
  return succeeds('docker', ['image', 'inspect', reference], { signal });
}

/** State of a container (`running`, `exited`, …), or undefined if there is none of that name. */
export async function containerState(name: string, signal?: AbortSignal): Promise<string | undefined> {
  const found = await run('docker', ['container', 'inspect', '--format', '{{.State.Status}}', name], {
    allowFailure: true,
    signal,
  });
  return found.code === 0 ? found.stdout.trim() : undefined;
}

/** The path of our wrapper of runc, to mount into the node; undefined where none is needed. */
export async function ociRuntimeWrapper(signal?: AbortSignal): Promise<string | undefined> {
  if (!lacksSysResource()) return undefined;
  return path.resolve(await ensureTool('oci-runtime', { signal }));
}
