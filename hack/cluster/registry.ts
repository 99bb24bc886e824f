// Whether images can be pulled here: asked once, in bounded time, and passed on to child programs.
import { spawn } from 'node:child_process';
import { hasImage } from './docker.ts';

/** The node image of kind v0.33, whose kindnet enforces NetworkPolicies (since v0.24). */
export const publicNodeImage =
  'kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5';

const limitMs = 20_000;
const variable = 'OPLAB_NODE_IMAGE';

let answer: Promise<boolean> | undefined;

/**
 * Whether the registry gives us kindest/node. `OPLAB_NODE_IMAGE=pull|build` decides without asking;
 * the answer is remembered in that variable for programs started later in this run.
 */
export function canPull(signal?: AbortSignal): Promise<boolean> {
  answer ??= decide(process.env[variable], () => ask(signal)).then((can) => {
    process.env[variable] = can ? 'pull' : 'build';
    return can;
  });
  return answer;
}

/** What a setting means; asks only when it says nothing. */
export async function decide(setting: string | undefined, asking: () => Promise<boolean>): Promise<boolean> {
  if (setting === 'pull') return true;
  if (setting === 'build') return false;
  if (setting !== undefined && setting !== '')
    throw new Error(`${variable} must be "pull" or "build", not "${setting}"`);
  return asking();
}

async function ask(signal: AbortSignal | undefined): Promise<boolean> {
  if (await hasImage(publicNodeImage, signal)) return true;
  // A pull that has begun proves that the registry answers. kind continues it.
  return new Promise((resolve) => {
    const child = spawn('docker', ['pull', publicNodeImage], { stdio: ['ignore', 'pipe', 'ignore'] });
    const settle = (can: boolean): void => {
      clearTimeout(timer);
      child.kill('SIGTERM');
      resolve(can);
    };
    const timer = setTimeout(() => settle(false), limitMs);
    signal?.addEventListener('abort', () => settle(false), { once: true });
    child.stdout.on('data', (chunk: Buffer) => {
      if (/Pulling (from|fs layer)|Digest:|Status:/.test(chunk.toString())) settle(true);
    });
    child.once('error', () => settle(false));
    child.once('close', (code) => settle(code === 0));
  });
}
