// npm run cluster:up: creates or repairs a kind cluster that enforces NetworkPolicies.
//
// Examples:
//   npm run cluster:up

import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, rm, symlink } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { output, run } from '../child.ts';
import { main, runSteps, type Step } from '../progress.ts';
import { type DebianRootName, ensureRoot, missingRoots } from '../toolchain/debian.ts';
import { nodeBuilds } from '../toolchain/recipes.ts';
import { compileSteps, ensureTool } from '../toolchain/tools.ts';
import { ensureAuditPolicy } from './audit-log.ts';
import { containerState, dockerAnswers, ensureDocker, hostDockerSocket, ociRuntimeWrapper } from './docker.ts';
import { kindConfig } from './kind-config.ts';
import { binDir, clusterName, kubeconfigPath, nodeContainer, stateDir } from './names.ts';
import { ensureNodeImage } from './node-image.ts';
import { isUp, observe } from './observe.ts';
import { canPull, publicNodeImage } from './registry.ts';

/** How long a running node may take to answer before it is replaced. */
const answersWithinMs = 120_000;

/** A control plane that is short of CPU needs minutes. */
const readyWithinMs = 300_000;

const kindCluster = ['cluster', '--name', clusterName, '--kubeconfig', kubeconfigPath];

/** What a caller adds to the making of a cluster. */
export interface ClusterUpOptions {
  /** Steps that run while the node settles, e.g. loading images. Called once Docker answers. */
  readonly meanwhile?: (signal: AbortSignal) => Promise<readonly Step[]>;
}

/** Creates or repairs the cluster; a healthy one costs seconds. */
export async function clusterUp(signal: AbortSignal, options: ClusterUpOptions = {}): Promise<void> {
  if (await dockerAnswers(signal)) await ensureDocker(signal);
  else await runSteps([{ title: 'start Docker', expectedSeconds: 5, run: () => ensureDocker(signal) }], { signal });
  const healthy = isUp(await observe(signal));
  if (healthy) await writeAccess(signal);
  const steps: Step[] = [];
  if (await canPull(signal)) {
    if (!healthy) steps.push(createStep(async () => publicNodeImage, false));
  } else if (!healthy) steps.push(...nodeSteps(inBackground(missingRoots(), signal), signal));
  steps.push(...((await options.meanwhile?.(signal)) ?? []));
  if (!healthy) steps.push(readyStep);
  await runSteps(steps, { signal });
}

/** Work beside the steps; it starts with the first of them, and `done` throws its failure. */
interface Background {
  start(): void;
  done(): Promise<void>;
  readonly expectedSeconds: number;
}

/** Debian packages are downloaded and unpacked while the compiler runs: the two hardly compete. */
function inBackground(names: readonly DebianRootName[], signal: AbortSignal): Background {
  let running: Promise<void> | undefined;
  const start = (): Promise<void> => {
    running ??= (async () => {
      for (const name of names) await ensureRoot(name, signal);
    })();
    running.catch(() => undefined);
    return running;
  };
  return { start: () => void start(), done: start, expectedSeconds: 60 * names.length };
}

/** What a machine without a registry needs; what is in the cache already takes no time. */
function nodeSteps(roots: Background, signal: AbortSignal): Step[] {
  const steps = compileSteps(nodeBuilds, signal, () => roots.start());
  if (roots.expectedSeconds > 0)
    steps.push({
      title: 'Debian root file systems',
      expectedSeconds: Math.max(10, roots.expectedSeconds - steps.reduce((sum, step) => sum + step.expectedSeconds, 0)),
      run: () => roots.done(),
    });
  let image = '';
  steps.push({
    title: 'node image',
    expectedSeconds: 20,
    run: async ({ note }) => {
      // A running node may only be busy. If it must be replaced after all, the image is made then.
      if ((await containerState(nodeContainer, signal)) === 'running') return;
      image = await ensureNodeImage(signal, note);
    },
  });
  steps.push(createStep(async (note) => (image === '' ? ensureNodeImage(signal, note) : image), true));
  return steps;
}

function createStep(image: (note: (text: string) => void) => Promise<string>, ownImage: boolean): Step {
  return {
    title: 'cluster',
    expectedSeconds: 20,
    run: async ({ signal, note }) => {
      const kind = await ensureTool('kind', { signal });
      const env = { KUBECONFIG: kubeconfigPath };
      await mkdir(stateDir, { recursive: true });
      let state = await observe(signal);
      if (state.node === 'running') {
        // The kubeconfig may be missing or old, or the machine busy: wait before the cluster is
        // replaced.
        note('waiting for the existing cluster');
        await rm(kubeconfigPath, { force: true });
        await writeAccess(signal).catch(() => undefined);
        for (
          const until = Date.now() + answersWithinMs;
          !state.api && Date.now() < until;
          state = await observe(signal)
        )
          await sleep(1000, undefined, { signal });
      }
      if (!state.api) {
        if (state.node !== 'absent') {
          note('removing the remains of an earlier session');
          await run(kind, ['delete', ...kindCluster], { signal, env });
          await run('docker', ['rm', '-f', '-v', nodeContainer], { signal, allowFailure: true });
        }
        const reference = await image(note);
        note('kind create cluster');
        const config = kindConfig({
          ownImage,
          runtimeWrapper: await ociRuntimeWrapper(signal),
          dockerSocket: hostDockerSocket,
          auditPolicy: await ensureAuditPolicy(),
        });
        try {
          const args = ['create', ...kindCluster, '--image', reference, '--config', '-'];
          await run(kind, args, { signal, input: config, env });
        } catch (error) {
          await run(kind, ['delete', ...kindCluster], { allowFailure: true });
          throw error;
        }
      }
      await writeAccess(signal);
      const kubectl = await ensureTool('kubectl', { signal });
      if (ownImage) {
        const manifest = await readFile(path.join(import.meta.dirname, 'manifests', 'kube-router.yaml'), 'utf8');
        await run(kubectl, ['--kubeconfig', kubeconfigPath, 'apply', '-f', '-'], { signal, input: manifest });
      }
    },
  };
}

/** The node settles while images are compiled and loaded, so this comes last. */
const readyStep: Step = {
  title: 'DNS, storage and NetworkPolicies are ready',
  expectedSeconds: 15,
  run: async ({ signal }) => {
    const until = Date.now() + readyWithinMs;
    for (;;) {
      const state = await observe(signal);
      if (isUp(state)) return;
      if (Date.now() > until) throw new Error(`the cluster did not become ready: ${JSON.stringify(state)}`);
      await sleep(500, undefined, { signal });
    }
  },
};

/** Writes a missing kubeconfig (only we can read it), and links the tools that fit the cluster. */
async function writeAccess(signal: AbortSignal): Promise<void> {
  await mkdir(binDir, { recursive: true });
  if (!existsSync(kubeconfigPath))
    await output(
      await ensureTool('kind', { signal }),
      ['export', 'kubeconfig', '--name', clusterName, '--kubeconfig', kubeconfigPath],
      { signal },
    );
  await chmod(kubeconfigPath, 0o600);
  for (const tool of ['kubectl', 'helm', 'kind']) {
    const link = path.join(binDir, tool);
    await rm(link, { force: true });
    await symlink(await ensureTool(tool, { signal }), link);
  }
}

if (import.meta.main)
  await main(async (signal) => {
    await clusterUp(signal);
    process.stdout.write(`The cluster is up. To use it:\n  export KUBECONFIG=${kubeconfigPath} PATH=${binDir}:$PATH\n`);
    return 0;
  });
