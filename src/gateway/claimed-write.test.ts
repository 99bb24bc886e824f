// Which commands plainly say that they write, and which only look like it.

import { describe, expect, it } from 'vitest';
import { findClaimedWrite } from './claimed-write.ts';

describe('a command that says that it writes', () => {
  it.each([
    ['kubectl apply -f x.yaml', 'kubectl apply'],
    ['kubectl -n tikv scale statefulset/tikv --replicas=3', 'kubectl scale'],
    ['kubectl --namespace=tikv delete pod "tikv-0"', 'kubectl delete'],
    ['kubectl rollout restart deployment/x', 'kubectl rollout restart'],
    ['kubectl create configmap x --dry-run=none', 'kubectl create'],
    ['cd /tmp && sed -i s/a/b/ x.yaml && kubectl apply -f x.yaml', 'kubectl apply'],
    ['kubectl get pods\nkubectl patch cm x -p \'{"a": "b"}\' | tee log', 'kubectl patch'],
    ['kubectl apply -f - <<EOF\nkind: ConfigMap\nif: a || b\nEOF\n', 'kubectl apply'],
    ['kubectl apply \\\n  -f x.yaml 2>&1', 'kubectl apply'],
    ['# first\nKUBECONFIG=/x kubectl label pod x a=b', 'kubectl label'],
    ['helm upgrade tikv ./chart -n tikv', 'helm upgrade'],
    ['helm -n tikv rollback tikv 2', 'helm rollback'],
    ['docker restart web', 'docker restart'],
    ['docker network connect a b', 'docker network connect'],
  ])('%s', (command, claimed) => {
    expect(findClaimedWrite(command, '')).toBe(claimed);
  });
});

describe('a command that says nothing of the kind', () => {
  it.each([
    'kubectl get pods',
    'kubectl describe pod x',
    'kubectl apply --help',
    'kubectl apply -h',
    'kubectl apply -f x.yaml --dry-run=server',
    'kubectl create deployment x --image=y --dry-run=client -o yaml',
    'kubectl apply view-last-applied deployment/x',
    'kubectl delete pod x --ignore-not-found',
    'kubectl rollout status deployment/x',
    'kubectl rollout history deployment/x',
    'kubectl config set-context x',
    'kubectl auth can-i delete pods',
    'kubectl explain deployment.spec.replicas',
    'helm upgrade x ./chart --dry-run',
    'helm list',
    'docker ps',
    'docker network ls',
    '# kubectl apply -f x.yaml',
    'true # kubectl delete pod x',
    'echo kubectl apply -f x.yaml',
    'echo "kubectl delete pod x"',
    "grep 'kubectl scale' history",
    'cat <<EOF\nkubectl apply -f x.yaml\nEOF',
    // It may not have run.
    'kubectl get cm x || kubectl create cm x',
    'if kubectl get cm x; then kubectl delete cm x; fi',
    'for x in $PODS; do kubectl delete pod $x; done',
    'kubectl get pods -o name | xargs kubectl delete',
    '! kubectl delete pod x',
    '(kubectl delete pod x)',
    'restart() { kubectl rollout restart deployment/x; }',
    'echo $(kubectl delete pod x)',
    'echo "`kubectl delete pod x`"',
    // Its exit code is not the one that is known.
    'kubectl delete pod x; true',
    'kubectl delete pod x &',
    'kubectl apply -f x.yaml\necho done',
    // What the reader cannot read.
    'kubectl --unknown apply -f x.yaml',
    'kubectl apply -f "x.yaml',
    "kubectl apply -f 'x.yaml",
    'kubectl apply -f - <<EOF\nkind: ConfigMap\n',
    'kubectl constructor',
    'constructor',
    '',
  ])('%s', (command) => {
    expect(findClaimedWrite(command, '')).toBeUndefined();
  });

  it.each([
    'deployment.apps/x unchanged',
    'configmap/x patched (no change)',
    'No resources found',
    'pod/x not labeled',
    'configmap/x created (server dry run)',
    'node/x already cordoned',
  ])('output that says there was nothing to do: %s', (output) => {
    expect(findClaimedWrite('kubectl apply -f x.yaml', output)).toBeUndefined();
  });

  it('64 KiB of any character are read in a moment', () => {
    for (const char of ['"', "'", '<', '<<a\n', '\\', '#', '&', '|', '(', '$(', 'a ', '\n', '<<-']) {
      const started = performance.now();
      findClaimedWrite(char.repeat(65_536 / char.length), '');
      expect(performance.now() - started, char).toBeLessThan(1000);
    }
  });
});
