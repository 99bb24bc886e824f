// npm run clean [-- --cache]: removes what our scripts made on this machine, and nothing else.
//
//   --cache   the cache goes too: what was built and downloaded, a quarter of an hour of work
//
// Examples:
//   npm run clean
//   npm run clean -- --cache

import { rm } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { run } from './child.ts';
import { dockerAnswers, stopOurDaemon } from './cluster/docker.ts';
import { down } from './cluster/down.ts';
import { nodeRepository, root } from './cluster/names.ts';
import { main } from './progress.ts';
import { cacheDir } from './toolchain/cache.ts';

/** References of images that we made: those under our own domain, which no registry serves. */
export function ourImages(listed: string): string[] {
  return listed.split('\n').filter((reference) => reference.startsWith('oplab.dev/') && !reference.endsWith(':<none>'));
}

/** Removes the cluster, our images in Docker, .oplab/, dist/ and reports/; the cache on request. */
export async function clean(options: { cache: boolean }, signal: AbortSignal): Promise<string[]> {
  const removed: string[] = [];
  if (await down(signal)) removed.push('the cluster');
  if (await dockerAnswers(signal)) {
    const left = (await run('docker', ['ps', '-aq', '--filter', 'name=^oplab-node-build-'], { signal })).stdout.trim();
    if (left !== '') await run('docker', ['rm', '-f', '-v', ...left.split('\n')], { signal });
    const listed = await run('docker', ['images', '--format', '{{.Repository}}:{{.Tag}}'], { signal });
    const images = ourImages(listed.stdout);
    if (images.length > 0) {
      await run('docker', ['rmi', '-f', ...images], { signal });
      removed.push(`${images.length} images (${nodeRepository} and others)`);
    }
  }
  if (await stopOurDaemon()) removed.push('the dockerd that we had started (stopped)');
  for (const folder of ['.oplab', 'dist', 'reports'])
    await rm(path.join(root, folder), { recursive: true, force: true });
  removed.push('.oplab/, dist/ and reports/');
  if (options.cache) {
    await rm(cacheDir(), { recursive: true, force: true });
    removed.push(`the cache ${cacheDir()}`);
  }
  return removed;
}

if (import.meta.main)
  await main(async (signal) => {
    const { values } = parseArgs({ options: { cache: { type: 'boolean', default: false } } });
    const removed = await clean(values, signal);
    process.stdout.write(`Removed: ${removed.join('; ')}.\n`);
    if (!values.cache)
      process.stdout.write(`Kept: the cache ${cacheDir()} (npm run clean -- --cache removes it too).\n`);
    return 0;
  });
