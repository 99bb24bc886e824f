// Which values the oplab chart refuses, and what it says, without a cluster.

import { describe, expect, it } from 'vitest';
import { SYSTEM } from '../support/api-server.ts';
import { renderChart } from '../support/chart.ts';

const ENDPOINT = { name: 'local', socket: true };

describe('the chart refuses', () => {
  const refused: readonly [string, object, RegExp][] = [
    [
      'a namespace pattern, which would match nothing',
      { agentClass: { targetNamespaces: ['tikv-*'] } },
      /agentClass.*targetNamespaces.*0/,
    ],
    [
      'agents in the namespace of the operator',
      { agentsNamespace: SYSTEM },
      /agentsNamespace: "oplab-system".*give agents another/,
    ],
    [
      'a canary host with the name of a Service of oplab',
      { tripwires: { hostName: 'oplab-gateway' } },
      /tripwires\.hostName: "oplab-gateway" could be .*choose a name that does not begin with oplab-/,
    ],
    [
      'a route whose Incidents have no check',
      { intake: { routes: [{ name: 'a', namespace: 'tikv', verify: { soakSeconds: 30 } }] } },
      /intake\/routes\/0.*prometheus.*verify.*checks/s,
    ],
    ['a volume without a size', { gateway: { persistence: { size: 'big' } } }, /gateway.*persistence.*size/],
    ['certificates that are none', { model: { caBundle: 'x' } }, /model.*caBundle/],
    ['an isolation probe of no port', { isolationProbes: { a: 'host:655360' } }, /isolationProbes.*a/],
    ['an isolation probe that would be read as two', { isolationProbes: { a: 'x,b=y:1' } }, /isolationProbes.*a/],
    ['a priority that only the system may have', { priorityClass: { value: 2e9 } }, /priorityClass.*value/],
    [
      'a Docker host with both a socket and an address',
      { docker: { endpoints: [{ name: 'local', socket: true, url: 'tcp://host:2376', tlsSecret: 's' }] } },
      /docker\.endpoints: "local" has socket: true and a url; leave out/,
    ],
    [
      'the Docker socket in the namespace of the agents',
      { docker: { endpoints: [ENDPOINT], socket: { namespace: 'oplab-agents' } } },
      /docker\.socket\.namespace: "oplab-agents" is the namespace of the agents/,
    ],
    [
      'a class with a Docker host that does not exist',
      { agentClass: { docker: { endpoint: 'lokal', composeProject: 'shop' } }, docker: { endpoints: [ENDPOINT] } },
      /agentClass\.docker\.endpoint: "lokal" is not one of docker\.endpoints \(local\)/,
    ],
    [
      'a certificate without the CA that agents need to trust',
      { gateway: { tls: { existingSecret: 'mine' } } },
      /gateway\.tls: existingSecret and ca belong together/,
    ],
    [
      'a socket whose client has no certificate',
      { docker: { endpoints: [ENDPOINT], socket: { serverSecret: 'mine' } } },
      /docker\.socket: serverSecret and clientSecret belong together/,
    ],
    [
      'egress policies without the API server',
      { networkPolicy: { egress: { enabled: true } } },
      /networkPolicy\.egress\.apiServer: must list the addresses of the API server/,
    ],
    [
      'egress policies without the model',
      { networkPolicy: { egress: { enabled: true, apiServer: [{ cidr: '10.96.0.1/32', ports: [443] }] } } },
      /networkPolicy\.egress\.model: must list the model's server/,
    ],
    [
      'an egress destination without ports',
      { networkPolicy: { egress: { model: [{ cidr: '10.96.0.1/32' }] } } },
      /networkPolicy.*egress.*model.*0.*ports/,
    ],
    [
      'a route without a name, by which its senders call it',
      { intake: { routes: [{ namespace: 'tikv', prometheus: { service: 'p' } }] } },
      /intake.*routes.*0.*name/s,
    ],
    [
      'two routes of one name',
      {
        intake: { routes: ['a', 'b', 'a'].map((name) => ({ name, namespace: 'tikv', prometheus: { service: 'p' } })) },
      },
      /intake\.routes\[2\]\.name: "a" is the name of intake\.routes\[0\] as well/,
    ],
    [
      'a route whose senders choose the namespace without a bound',
      { intake: { routes: [{ name: 'a', namespace: '{{ $labels.n }}', prometheus: { service: 'p' } }] } },
      /intake.*routes.*0.*namespaces/s,
    ],
    [
      'a route whose senders choose the target without a bound',
      {
        intake: {
          routes: [{ name: 'a', namespace: 'a', targetNamespaces: ['{{ $labels.n }}'], prometheus: { service: 'p' } }],
        },
      },
      /intake.*routes.*0.*namespaces/s,
    ],
    [
      'a certificate for an intake that serves plain HTTP',
      {
        intake: {
          routes: [{ name: 'a', namespace: 'tikv', prometheus: { service: 'p' } }],
          tlsSecret: 'mine',
          plainHTTP: true,
        },
      },
      /intake\.plainHTTP: true and intake\.tlsSecret exclude each other/,
    ],
    ['the one token that all routes had', { intake: { token: { existingSecret: 'mine' } } }, /intake.*token/s],
    ['a context window in which nothing fits', { agentClass: { contextWindow: 100 } }, /agentClass.*contextWindow/],
    ['a class whose name is not valid in Kubernetes', { agentClass: { name: 'Default Class' } }, /agentClass.*name/],
  ];
  it.each(refused)('%s, and says where', async (_what, values, message) => {
    await expect(renderChart(values)).rejects.toThrow(message);
  });

  it('none of these if the values fit together', async () => {
    const docker = { endpoints: [ENDPOINT, { name: 'far', url: 'tcp://host:2376', tlsSecret: 's' }] };
    const agentClass = { name: '123', targetNamespaces: ['tikv'], docker: { endpoint: 'far', label: 'a=b' } };
    const made = (await renderChart({ docker, agentClass })).find(({ kind }) => kind === 'AgentClass');
    expect(made?.metadata.name).toBe('123');
  });
});

describe('the audit log', () => {
  it.each([
    ['a limit without a unit', { session: { maxMebibytes: 0 } }],
    ['too few entries', { session: { maxEntries: 10 } }],
    ['a retention in hours', { retention: '90h' }],
    ['a name of the signing key with a blank', { signing: { name: 'my log' } }],
    ['half of a public key', { signing: { previousKeys: ['old+1234'] } }],
    ['an unknown key', { retain: '90d' }],
  ])('refuses %s', async (_, audit) => {
    await expect(renderChart({ audit })).rejects.toThrow(/audit/);
  });
});
