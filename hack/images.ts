// The two images of oplab: how they are made and loaded into the cluster.

import path from 'node:path';
import { buildBundles } from './build.ts';
import { run } from './child.ts';
import { loadDockerImages, loadImages } from './cluster/load-images.ts';
import { root } from './cluster/names.ts';
import { canPull } from './cluster/registry.ts';
import type { LocalImage } from './toolchain/local-image.ts';
import { ensureLocalImage } from './toolchain/local-images.ts';

/** The two images of oplab, as the charts name them. */
export const oplabTag = 'oplab.dev/oplab:dev';
export const sandboxTag = 'oplab.dev/oplab-sandbox:dev';

/**
 * Executable but not readable, so the kernel treats its processes as not dumpable: a command cannot
 * read or write the memory of the shell server, which runs as the same user.
 */
const node = {
  from: { path: path.join(root, 'node_modules', 'node', 'bin', 'node') },
  to: '/usr/local/bin/node',
  mode: 0o711,
};
/** Last, so that a changed source changes only this layer. */
const dist = { from: { path: path.join(root, 'dist') }, to: '/opt/oplab/dist' };
/** SIGUSR1 would open a debugger, to which a command could connect. */
const start = ['node', '--disable-sigusr1', '--enable-source-maps', '/opt/oplab/dist/main.mjs'];
const title = (name: string, description: string): Record<string, string> => ({
  'org.opencontainers.image.title': name,
  'org.opencontainers.image.description': description,
  'org.opencontainers.image.licenses': 'Apache-2.0',
});

/** What the Dockerfile's targets say, for machines where no base image can be pulled. */
export const oplabImages: readonly LocalImage[] = [
  {
    tag: oplabTag,
    base: 'oplab-base',
    files: [node, dist],
    entrypoint: ['tini', '--', ...start],
    workdir: '/home/oplab',
    env: { HOME: '/home/oplab', NODE_ENV: 'production' },
    labels: title('oplab', 'Controller, gateway, agent and command line of oplab'),
  },
  {
    tag: sandboxTag,
    base: 'oplab-sandbox-base',
    files: [
      node,
      { from: { tool: 'kubectl' }, to: '/usr/local/bin/kubectl' },
      { from: { tool: 'helm' }, to: '/usr/local/bin/helm' },
      { from: { tool: 'pd-ctl' }, to: '/usr/local/bin/pd-ctl' },
      { from: { debian: 'docker.io', path: 'usr/bin/docker' }, to: '/usr/local/bin/docker' },
      dist,
    ],
    // -s: it reaps what the shell's commands leave behind even where it is not process 1.
    entrypoint: ['tini', '-s', '--', ...start],
    workdir: '/home/oplab',
    env: { HOME: '/home/oplab', NODE_ENV: 'production', SHELL: '/bin/bash' },
    labels: title('oplab-sandbox', 'The container beside the agent: a shell and the tools of an engineer on call'),
  },
];

/** Makes images without Docker and loads those that the node does not have. @returns their tags */
export async function makeAndLoad(recipes: readonly LocalImage[], signal: AbortSignal): Promise<string[]> {
  const images = [];
  for (const recipe of recipes) images.push(await ensureLocalImage(recipe, signal));
  return loadImages(images, signal);
}

/** Builds a target of the Dockerfile. */
export async function dockerBuild(target: string, tag: string, signal: AbortSignal): Promise<void> {
  await run('docker', ['build', '--target', target, '--tag', tag, root], { signal, env: { DOCKER_BUILDKIT: '1' } });
}

/**
 * Bundles the sources, makes both images of oplab and loads them. Unchanged sources: nothing is
 * loaded.
 */
export async function ensureOplabImages(signal: AbortSignal): Promise<string[]> {
  await buildBundles();
  if (!(await canPull(signal))) return makeAndLoad(oplabImages, signal);
  await dockerBuild('oplab', oplabTag, signal);
  await dockerBuild('oplab-sandbox', sandboxTag, signal);
  await loadDockerImages([oplabTag, sandboxTag], signal);
  return [oplabTag, sandboxTag];
}
