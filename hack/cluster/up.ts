// npm run cluster:up: from whatever is there to a kind cluster that enforces NetworkPolicies.
import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, rm, symlink } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { output, run } from '../child.ts';
import { main, runSteps, type Step } from '../progress.ts';
import { type DebianRootName, debianRoots, ensureRoot } from '../toolchain/debian.ts';
import { nodeBuilds } from '../toolchain/recipes.ts';
import { ensureBuild, ensureTool, isBuilt } from '../toolchain/tools.ts';
import { ensureDocker, ociRuntimeWrapper } from './docker.ts';
import { kindConfig } from './kind-config.ts';
import { binDir, clusterName, kubeconfigPath, nodeContainer, stateDir } from './names.ts';
import { ensureNodeImage } from './node-image.ts';
import { isUp, observe } from './observe.ts';
import { canPull, publicNodeImage } from './registry.ts';

/** Creates or repairs the cluster; a healthy one costs a second. */
export async function clusterUp(signal: AbortSignal): Promise<void> {
  await runSteps([{ title: 'Docker', expectedSeconds: 2, run: () => ensureDocker(signal) }], { signal });
  const state = await observe(signal);
  if (isUp(state)) {
    await writeAccess(signal);
    return;
  }
  const pull = await canPull(signal);
  await runSteps(pull ? [createStep(() => publicNodeImage, false)] : closedSteps(signal), { signal });
}

/** What a machine without a registry needs; what is in the cache already takes no time. */
function closedSteps(signal: AbortSignal): Step[] {
  const steps: Step[] = [];
  // Debian packages are downloaded and unpacked while the compiler runs: the two hardly compete.
  let roots: Promise<unknown> | undefined;
  const startRoots = (): Promise<unknown> => {
    roots ??= (async () => {
      for (const name of Object.keys(debianRoots) as DebianRootName[]) await ensureRoot(name, signal);
    })();
    // The step that waits for it reports a failure.
    roots.catch(() => undefined);
    return roots;
  };
  for (const build of nodeBuilds)
    if (!isBuilt(build))
      steps.push({
        title: `compile ${build.name}`,
        expectedSeconds: build.expectedSeconds,
        run: async () => {
          void startRoots();
          await ensureBuild(build, signal);
        },
      });
  steps.push({
    title: 'Debian root file systems',
    expectedSeconds: 1,
    run: async () => {
      await startRoots();
    },
  });
  let image = '';
  steps.push({
    title: 'node image',
    expectedSeconds: 5,
    run: async ({ note }) => {
      image = await ensureNodeImage(signal, note);
    },
  });
  steps.push(createStep(() => image, true));
  return steps;
}

function createStep(image: () => string, ownImage: boolean): Step {
  return {
    title: 'cluster',
    expectedSeconds: 30,
    run: async ({ signal, note }) => {
      const kind = await ensureTool('kind', { signal });
      const environment = { KUBECONFIG: kubeconfigPath };
      await mkdir(stateDir, { recursive: true });
      let state = await observe(signal);
      if (state.node === 'running') {
        // Perhaps only the kubeconfig is gone, or the control plane is still on its way up.
        await run(kind, ['export', 'kubeconfig', '--name', clusterName, '--kubeconfig', kubeconfigPath], {
          signal,
          allowFailure: true,
        });
        note('waiting for the cluster that is there');
        for (let tries = 0; tries < 30 && !state.api; tries++) {
          await sleep(1000, undefined, { signal });
          state = await observe(signal);
        }
      }
      if (!state.api) {
        if (state.node !== 'absent') {
          note('removing what an earlier session left');
          await run(kind, ['delete', 'cluster', '--name', clusterName, '--kubeconfig', kubeconfigPath], {
            signal,
            env: environment,
          });
          await run('docker', ['rm', '-f', '-v', nodeContainer], { signal, allowFailure: true });
        }
        note('kind create cluster');
        const config = kindConfig({ ownImage, runtimeWrapper: await ociRuntimeWrapper(signal) });
        try {
          await run(
            kind,
            [
              'create',
              'cluster',
              '--name',
              clusterName,
              '--image',
              image(),
              '--kubeconfig',
              kubeconfigPath,
              '--config',
              '-',
            ],
            { signal, input: config, env: environment },
          );
        } catch (error) {
          await run(kind, ['delete', 'cluster', '--name', clusterName, '--kubeconfig', kubeconfigPath], {
            allowFailure: true,
          });
          throw error;
        }
      }
      await writeAccess(signal);
      const kubectl = await ensureTool('kubectl', { signal });
      if (ownImage) {
        const manifest = await readFile(path.join(import.meta.dirname, 'manifests', 'kube-router.yaml'), 'utf8');
        await run(kubectl, ['--kubeconfig', kubeconfigPath, 'apply', '-f', '-'], { signal, input: manifest });
      }
      note('waiting for DNS, storage and the NetworkPolicy engine');
      for (let tries = 0; !isUp(state); tries++) {
        if (tries > 240) throw new Error(`the cluster does not become ready: ${JSON.stringify(state)}`);
        await sleep(500, undefined, { signal });
        state = await observe(signal);
      }
    },
  };
}

/** Writes the kubeconfig (readable by us alone) if it is missing, and links to the tools that fit the cluster. */
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
    process.stdout.write(
      `The cluster is up. To look around:\n  export KUBECONFIG=${kubeconfigPath} PATH=${binDir}:$PATH\n`,
    );
    return 0;
  });
