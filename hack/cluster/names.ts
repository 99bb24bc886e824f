// Names and paths by which everything that belongs to our cluster is found.
import path from 'node:path';
import { cacheDir } from '../toolchain/cache.ts';

/** The checkout. */
export const root = path.dirname(path.dirname(import.meta.dirname));

const usualName = 'oplab';

/** kind's name of the cluster, and its only node. `OPLAB_CLUSTER` names a second cluster. */
export const clusterName = process.env.OPLAB_CLUSTER ?? usualName;
export const nodeContainer = `${clusterName}-control-plane`;

/** State of this checkout: kubeconfig and links to the tools. */
export const stateDir = path.join(root, '.oplab', ...(clusterName === usualName ? [] : [clusterName]));
export const kubeconfigPath = path.join(stateDir, 'kubeconfig');
export const binDir = path.join(stateDir, 'bin');

/** What the dockerd that we started writes; absent when somebody else started it. */
export const dockerdLog = (): string => path.join(cacheDir(), 'dockerd.log');
export const dockerdPid = (): string => path.join(cacheDir(), 'dockerd.pid');
export const dockerdConfig = (): string => path.join(cacheDir(), 'dockerd.json');

/** Repository of the node image that is made here. */
export const nodeRepository = 'oplab.dev/kind-node';
