// npm run cluster:status [-- -o json] [-- --check]: exit code 0 if the cluster is up, else 1.
//
// Examples:
//   npm run cluster:status
//   npm run cluster:status -- -o json

import { parseArgs } from 'node:util';
import { main } from '../progress.ts';
import { clusterName, kubeconfigPath } from './names.ts';
import { isUp, observe } from './observe.ts';
import { probeNetworkPolicy } from './policy-probe.ts';

if (import.meta.main)
  await main(async (signal) => {
    const { values } = parseArgs({
      options: { output: { type: 'string', short: 'o' }, check: { type: 'boolean', default: false } },
    });
    const state = await observe(signal);
    const up = isUp(state);
    const enforced = values.check && up ? await probeNetworkPolicy(signal) : undefined;
    const ok = up && enforced !== false;
    if (values.output === 'json') {
      const checked = enforced === undefined ? {} : { networkPolicyEnforced: enforced };
      process.stdout.write(
        `${JSON.stringify({ cluster: clusterName, up: ok, ...state, kubeconfig: kubeconfigPath, ...checked })}\n`,
      );
      return ok ? 0 : 1;
    }
    const line = (good: boolean, what: string): string => `  ${good ? '✓' : '✗'} ${what}\n`;
    process.stdout.write(
      `Cluster "${clusterName}" is ${ok ? 'up' : 'not up'}\n` +
        line(state.docker, 'Docker answers') +
        line(state.node === 'running', `node container: ${state.node}`) +
        line(state.kubeconfig, `kubeconfig: ${kubeconfigPath}`) +
        line(state.api, 'API server answers') +
        line(state.nodeReady, 'node is Ready') +
        line(state.dns, 'DNS is ready') +
        line(state.storage, 'default StorageClass is ready') +
        line(state.networkPolicy, 'NetworkPolicy engine is running') +
        (enforced === undefined ? '' : line(enforced, 'NetworkPolicies are enforced (probed)')),
    );
    return ok ? 0 : 1;
  });
