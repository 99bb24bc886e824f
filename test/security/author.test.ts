// Nobody gains rights through an Incident: its author must have `use` on the class and `target` in
// every target namespace.

import { afterAll, beforeAll, describe, it } from 'vitest';
import { installOperator } from '../../lab/index.ts';
import { eventually } from '../support/eventually.ts';
import { apply, child, example, KUBECONFIG, kubectl, tryKubectl } from '../support/live.ts';

describe('author rights', () => {
  const namespace = 'lab-author';
  const author = 'system:serviceaccount:lab-author:author';
  beforeAll(async () => {
    await installOperator({ kubeconfig: KUBECONFIG, model: 'rehearsal', signal: AbortSignal.timeout(200_000) });
    await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
    await apply({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'author', namespace } });
    // May write Incidents here, but may neither use the class nor target anything.
    await kubectl('-n', namespace, 'create', 'role', 'writer', '--verb=create,get', '--resource=incidents.oplab.dev');
    await kubectl(
      '-n',
      namespace,
      'create',
      'rolebinding',
      'writer',
      '--role=writer',
      `--serviceaccount=${namespace}:author`,
    );
  });
  afterAll(async () => {
    await tryKubectl('delete', 'clusterrolebinding', 'lab-author-use');
    await tryKubectl('delete', 'namespace', namespace, '--wait=false');
  });

  const attempt = async (targetNamespaces: string[]) => {
    const incident = await example('incident.yaml');
    const checks = [{ name: 'any', kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'any', cel: 'true' } }];
    const spec = { ...(incident.spec as Record<string, unknown>), targetNamespaces, verify: { checks } };
    const manifest = { ...incident, metadata: { generateName: 'author-', namespace }, spec };
    return child('kubectl', ['create', '--as', author, '--dry-run=server', '-f', '-'], {
      input: JSON.stringify(manifest),
      allowFailure: true,
    });
  };

  it('refuses and names the missing right, and admits when the right is there', async () => {
    // The API server applies a new policy or binding a moment after it is written.
    const refusedFor = (reason: RegExp, targets: string[]) =>
      eventually(
        async () => {
          const refused = await attempt(targets);
          return refused.code !== 0 && reason.test(refused.stderr);
        },
        { what: `a refusal that says ${reason}`, withinMs: 15_000, everyMs: 500 },
      );
    await refusedFor(/spec\.agentClassName: you may not use AgentClass default.*verb "use"/, [namespace]);
    await kubectl(
      'create',
      'clusterrolebinding',
      'lab-author-use',
      '--clusterrole=oplab-use-default',
      `--serviceaccount=${namespace}:author`,
    );
    await refusedFor(/may not target lab-author; ask an administrator for the verb "target"/, [
      namespace,
      'kube-system',
    ]);

    await kubectl(
      '-n',
      namespace,
      'create',
      'rolebinding',
      'author',
      '--clusterrole=oplab-incident-author',
      `--serviceaccount=${namespace}:author`,
    );
    await refusedFor(/may not target kube-system; ask an administrator for the verb "target"/, [
      namespace,
      'kube-system',
    ]);
    await eventually(async () => (await attempt([namespace])).code === 0, {
      what: 'the author to be admitted',
      withinMs: 15_000,
      everyMs: 500,
    });
  });
});
