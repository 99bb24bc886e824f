// npm run cluster:down: deletes the cluster and its kubeconfig, and nothing else.
//
// Examples:
//   npm run cluster:down

import { rm } from 'node:fs/promises';
import { run } from '../child.ts';
import { main } from '../progress.ts';
import { containerState, dockerAnswers } from './docker.ts';
import { clusterName, kubeconfigPath, nodeContainer } from './names.ts';

/** Deletes the cluster if there is one; says whether there was. The node's volumes go with it. */
export async function down(signal?: AbortSignal): Promise<boolean> {
  const options = { signal };
  let there = false;
  if (await dockerAnswers(signal)) {
    there = (await containerState(nodeContainer, signal)) !== undefined;
    // Docker alone is enough: kind may not be built, and it would do no more than this.
    if (there) await run('docker', ['rm', '-f', '-v', nodeContainer], options);
  }
  await rm(kubeconfigPath, { force: true });
  await rm(`${kubeconfigPath}.lock`, { force: true });
  return there;
}

if (import.meta.main)
  await main(async (signal) => {
    const there = await down(signal);
    process.stdout.write(
      there ? `The cluster "${clusterName}" is deleted.\n` : `There is no cluster "${clusterName}".\n`,
    );
    return 0;
  });
