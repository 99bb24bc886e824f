// The isolation of the sandbox: addresses are closed with the policies and open without them, so
// the probe itself can fail.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeContainer } from '../../hack/cluster/names.ts';
import { apply, child, kubectl, trail, tryKubectl } from '../support/live.ts';
import { type OperatorHarness, openOperatorHarness, pod } from '../support/operator-harness.ts';
import { conclude, readToolResults, shell } from '../support/scripted-model.ts';

const NODE = nodeContainer;
const OUTSIDE = 'oplab-test-outside';
const METADATA = '169.254.169.254';
// TEST-NET-3 (RFC 5737): represents any address on the internet, and leads to a container of the
// test.
const INTERNET = '203.0.113.80';
const answering = ['node', '-e', "require('http').createServer((q, s) => s.end('reached')).listen(8080)"];

/**
 * Answers every connection on port 80. It is written in Perl, because the node's image has that and
 * little else.
 */
const PERL_SERVER = `use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => 80, Listen => 16, ReuseAddr => 1) or die $!;
while (my $c = $s->accept) { sysread $c, my $q, 4096; print $c "HTTP/1.1 200 OK\\r\\nContent-Length: 7\\r\\nConnection: close\\r\\n\\r\\nreached"; close $c }`;

/**
 * A container beside the node that owns the metadata address and one address of the internet. The
 * node routes both to it.
 */
async function startOutside(): Promise<void> {
  const docker = async (...args: string[]) => (await child('docker', args)).stdout.trim();
  await child('docker', ['rm', '-f', OUTSIDE], { allowFailure: true });
  const image = await docker('inspect', '-f', '{{.Image}}', NODE);
  const place = ['--network', 'kind', '--cap-add', 'NET_ADMIN', '--entrypoint', 'sh'];
  const addresses = [METADATA, INTERNET].map((address) => `ip addr add ${address}/32 dev eth0`).join(' && ');
  await docker('run', '-d', '--name', OUTSIDE, ...place, image, '-c', `${addresses} && exec perl -e '${PERL_SERVER}'`);
  const address = await docker('inspect', '-f', '{{.NetworkSettings.Networks.kind.IPAddress}}', OUTSIDE);
  for (const target of [METADATA, INTERNET])
    await docker('exec', NODE, 'ip', 'route', 'replace', `${target}/32`, 'via', address);
}

async function stopOutside(): Promise<void> {
  for (const target of [METADATA, INTERNET])
    await child('docker', ['exec', NODE, 'ip', 'route', 'del', `${target}/32`], { allowFailure: true });
  await child('docker', ['rm', '-f', OUTSIDE], { allowFailure: true });
}

describe('from the sandbox', () => {
  let lab: OperatorHarness;
  const bystander = 'lab-bystander';
  beforeAll(async () => {
    lab = await openOperatorHarness();
    await startOutside();
    await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: bystander } });
    for (const namespace of [bystander, lab.namespace]) {
      await apply(pod('web', namespace, answering));
      await kubectl('-n', namespace, 'wait', '--for=condition=Ready', 'pod/web', '--timeout=60s');
    }
  });
  afterAll(async () => {
    await lab?.close();
    await stopOutside();
    await tryKubectl('delete', 'namespace', bystander, '--wait=false');
  });

  it('API server, kubelet, metadata, internet and other namespaces are closed, and become reachable when the policies are deleted', async () => {
    const ip = async (namespace: string) =>
      kubectl('-n', namespace, 'get', 'pod', 'web', '-o', 'jsonpath={.status.podIP}');
    const node = await kubectl(
      'get',
      'nodes',
      '-o',
      'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}',
    );
    const addresses = {
      'API server': 'https://kubernetes.default.svc/version',
      kubelet: `https://${node}:10250/healthz`,
      metadata: `http://${METADATA}/`,
      internet: `http://${INTERNET}/`,
      'other namespace': `http://${await ip(bystander)}:8080/`,
      "the target's own pods": `http://${await ip(lab.namespace)}:8080/`,
    };
    const probe = shell(
      ...Object.values(addresses).map((url) => `curl -ks -m 3 -o /dev/null -w 'http=%{http_code}' ${url} || true`),
    );
    const reachable = (request: Parameters<typeof readToolResults>[0]) =>
      Object.fromEntries(
        Object.keys(addresses).map((name, index) => [
          name,
          !/http=000/.test(readToolResults(request)[index] ?? 'http=000'),
        ]),
      );

    lab.model.play(
      probe,
      async (request) => {
        expect(reachable(request)).toEqual({
          'API server': false,
          kubelet: false,
          metadata: false,
          internet: false,
          'other namespace': false,
          "the target's own pods": true,
        });
        await kubectl('-n', 'oplab-agents', 'delete', 'networkpolicies', '--all');
        return probe(request);
      },
      // It takes a moment until a deleted policy has no effect, as it does for a new one.
      async (request) => probe(request),
      conclude('cannot_fix'),
    );
    await lab.open('isolation', { limits: { timeoutSeconds: 240 } });
    await lab.finished('isolation', 240);
    const last = lab.model.requests.at(-1);
    expect(reachable(last)).toEqual(Object.fromEntries(Object.keys(addresses).map((name) => [name, true])));
  });

  it('probes its isolation before the first command, and records the result', async () => {
    const entries = await trail(lab.namespace, 'isolation');
    const isolation = entries.findIndex((entry) => entry.kind === 'lifecycle' && /isolat/i.test(entry.content));
    const firstCall = entries.findIndex((entry) => entry.kind === 'tool_call');
    expect(isolation).toBeGreaterThanOrEqual(0);
    expect(isolation).toBeLessThan(firstCall);
  });

  it('an agent whose sandbox is not isolated runs no command', async () => {
    await apply({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'hole', namespace: 'oplab-agents' },
      spec: { podSelector: {}, policyTypes: ['Egress'], egress: [{}] },
    });
    lab.model.play(shell('echo must not run'));
    const before = lab.model.requests.length;
    await lab.open('hole', { limits: { attempts: 1, timeoutSeconds: 180 } });
    const incident = await lab.finished('hole', 180);
    await kubectl('-n', 'oplab-agents', 'delete', 'networkpolicy', 'hole');
    expect(incident.status?.phase).toBe('Escalated');
    expect(lab.model.requests.length).toBe(before);
    const entries = await trail(lab.namespace, 'hole');
    expect(
      entries.some(
        (entry) => entry.kind === 'lifecycle' && /not isolated: it can reach api-server/.test(entry.content),
      ),
    ).toBe(true);
    expect(entries.some((entry) => entry.kind === 'tool_call')).toBe(false);
  });
});
