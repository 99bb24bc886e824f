// Observing checks: nothing outside the targets, no Secrets, no redirects, no exceptions.

import { createServer } from 'node:http';
import { afterAll, describe, expect, it } from 'vitest';
import { type Check, check as checkSchema } from '../api/check.ts';
import { KubeError } from '../kube/errors.ts';
import { type KubeObject, kubeObject } from '../kube/object.ts';
import type { Resource } from '../kube/resources.ts';
import { Cel } from './cel.ts';
import { Discovery } from './discovery.ts';
import { type HttpAnswer, type HttpRequest, httpFetch } from './http-fetch.ts';
import { evidence } from './observation.ts';
import { observeChecks } from './observe.ts';

const cel = new Cel();
afterAll(() => cel.close());

interface Cluster {
  readonly objects?: Record<string, object>;
  readonly answer?: HttpAnswer | Error;
}

async function observe(check: object, cluster: Cluster, targets: readonly string[] = ['tikv']) {
  return await observeParsed(checkSchema.parse({ name: 'c', ...check }), cluster, targets);
}

async function observeParsed(parsed: Check, cluster: Cluster, targets: readonly string[] = ['tikv']) {
  const requests: HttpRequest[] = [];
  const reads: string[] = [];
  const [seen] = await observeChecks([parsed], targets, {
    cel,
    discovery: new Discovery(),
    now: () => new Date(0),
    fetch: async (request) => {
      requests.push(request);
      if (cluster.answer instanceof Error) throw cluster.answer;
      return cluster.answer ?? { status: 200, body: '{}' };
    },
    kube: {
      async get(resource: Resource, ref): Promise<KubeObject> {
        const key = `${resource.plural}/${ref.namespace}/${ref.name}`;
        reads.push(key);
        const object = cluster.objects?.[key];
        if (object === undefined) throw new KubeError(404, 'NotFound', 'not found');
        const { labels, ...rest } = { labels: undefined, ...object };
        return kubeObject.parse({ metadata: { ...ref, labels }, ...rest });
      },
      async list() {
        return {
          items: [kubeObject.parse({ metadata: {}, ports: [{ port: 12379 }], endpoints: [pd0] })],
          resourceVersion: '',
        };
      },
      async read(path) {
        reads.push(path);
        return {
          resources: [
            { name: 'secrets', kind: 'Secret', namespaced: true },
            { name: 'configmaps', kind: 'ConfigMap', namespaced: true },
            { name: 'nodes', kind: 'Node', namespaced: false },
            { name: 'statefulsets', kind: 'StatefulSet', namespaced: true },
            { name: 'statefulsets/scale', kind: 'Scale', namespaced: true },
          ],
        };
      },
    },
  });
  return { seen, requests, reads };
}

const pdService = (spec: object = {}) => ({
  'services/tikv/pd': { spec: { selector: { app: 'pd' }, ports: [{ port: 2379 }], ...spec } },
  'pods/tikv/pd-0': { labels: { app: 'pd' }, status: { podIPs: [{ ip: '10.1.0.4' }] } },
});
const pd0 = { addresses: ['10.1.0.4'], targetRef: { kind: 'Pod', namespace: 'tikv', name: 'pd-0' } };
const http = { service: 'pd', port: 2379, path: '/stores', cel: 'status == 200 && body.count == 3' };

describe('an http check', () => {
  it('sends the request to a pod of the Service, with the Service as Host', async () => {
    const { seen, requests } = await observe(
      { http },
      { objects: pdService(), answer: { status: 200, body: '{"count":3}' } },
    );
    expect(seen).toMatchObject({
      passing: true,
      observed: 'status = 200; body.count = 3; answered by pod pd-0',
    });
    expect(requests).toEqual([
      { scheme: 'http', host: '10.1.0.4', port: 12379, path: '/stores', hostHeader: 'pd.tikv.svc:2379' },
    ]);
  });

  const refused: readonly [string, object, RegExp][] = [
    ['of type ExternalName', { type: 'ExternalName', externalName: 'metadata.internal' }, /ExternalName/],
    ['without selector', { selector: undefined }, /no selector/],
    ['without that port', { ports: [{ port: 1 }, { port: 2 }] }, /no TCP port 2379; it has: 1, 2/],
  ];
  it.each(refused)('does not fetch from a Service %s', async (_what, spec, error) => {
    const { seen, requests } = await observe({ http }, { objects: pdService(spec) });
    expect(requests).toEqual([]);
    expect(seen).toMatchObject({ passing: false, error: expect.stringMatching(error) });
  });

  it('reads nothing outside the targets', async () => {
    const { seen, reads } = await observe({ http: { ...http, namespace: 'kube-system' } }, {});
    expect(reads).toEqual([]);
    expect(seen?.error).toContain('namespace kube-system is not one of the target namespaces');
  });

  it('does not pass without a response, and reports why', async () => {
    const { seen } = await observe({ http }, { objects: pdService(), answer: new Error('connect ECONNREFUSED') });
    expect(seen).toMatchObject({
      passing: false,
      error: 'GET http://pd.tikv.svc:2379/stores: pod pd-0: connect ECONNREFUSED',
    });
  });
});

describe('a kubernetes check', () => {
  const sts = {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    name: 'tikv',
    cel: 'object.spec.replicas == object.status.readyReplicas',
  };
  it('evaluates the object and reports the values that it used', async () => {
    const objects = { 'statefulsets/tikv/tikv': { spec: { replicas: 3 }, status: { readyReplicas: 2 } } };
    const { seen } = await observe({ kubernetes: sts }, { objects });
    expect(seen).toMatchObject({
      passing: false,
      observed: 'object.spec.replicas = 3; object.status.readyReplicas = 2',
    });
  });

  it('does not pass if its object does not exist: deleting the patient is no repair', async () => {
    const { seen } = await observe({ kubernetes: { ...sts, cel: 'true' } }, {});
    expect(seen).toMatchObject({ passing: false, error: 'StatefulSet tikv/tikv does not exist' });
  });

  it('never reads a Secret, nor anything cluster-scoped', async () => {
    for (const kind of ['Secret', 'Node']) {
      const { seen, reads } = await observe({ kubernetes: { apiVersion: 'v1', kind, name: 'x', cel: 'true' } }, {});
      expect(seen?.passing).toBe(false);
      expect(reads.filter((read) => !read.startsWith('/'))).toEqual([]);
    }
  });

  it('does not let an apiVersion lead to another path, even in an Incident that is older than the schema', async () => {
    const kubernetes = { ...sts, apiVersion: '../../api/v1' };
    expect(checkSchema.safeParse({ name: 'c', kubernetes }).success).toBe(false);
    const { seen, reads } = await observeParsed({ name: 'c', kubernetes }, {});
    expect(reads).toEqual([]);
    expect(seen?.passing).toBe(false);
  });
});

describe('httpFetch', () => {
  it('does not follow redirects, and limits time and size', async () => {
    const server = createServer((request, response) => {
      if (request.url === '/redirect') response.writeHead(302, { location: '/secret' }).end();
      else if (request.url === '/large') response.end('x'.repeat(2 * 1024 * 1024));
      else response.end(request.headers.host);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const fetch = (path: string) =>
      httpFetch({ scheme: 'http', host: '127.0.0.1', port, path, hostHeader: 'pd.tikv.svc:1' });
    expect(await fetch('/redirect')).toEqual({ status: 302, body: '' });
    expect(await fetch('/')).toEqual({ status: 200, body: 'pd.tikv.svc:1' });
    await expect(fetch('/large')).rejects.toThrow(/larger than/);
    server.close();
  });
});

it('evidence lists the values that an expression uses, cut to a readable length', () => {
  const body = { count: 2, stores: [{ up: true }], 'a-b': 1 };
  expect(evidence('body.count == 3 && body.stores.all(s, s.up)', { body })).toBe(
    'body.count = 2; body.stores = [{"up":true}]',
  );
  expect(evidence('body["a-b"] == 1 && body.nothing.more == 2', { body })).toBe(
    'body["a-b"] = 1; body.nothing.more = (absent)',
  );
  expect(evidence('true', { body: 'x'.repeat(5000) }).length).toBeLessThan(800);
});
