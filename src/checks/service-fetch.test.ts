// Requests to a Service: to its pods in turn, which of them answered, and to nothing but its pods.

import { afterEach, describe, expect, it, vi } from 'vitest';
import { endpointOf, type FakePod, fakeService } from '../../test/support/fake-service.ts';
import { KubeError } from '../kube/errors.ts';
import type { HttpAnswer, HttpFetch } from './http-fetch.ts';
import { fetchService } from './service-fetch.ts';

const request = { service: 'pd', namespace: 'tikv', port: 2379, scheme: 'http', path: '/stores' } as const;

const three: readonly FakePod[] = [
  { name: 'pd-0', ips: ['10.1.0.1'], ready: false },
  { name: 'pd-1', ips: ['10.1.0.2'] },
  { name: 'pd-2', ips: ['10.1.0.3'], ready: false },
];
const pd = (pods: readonly FakePod[] = three, spec: object = {}) =>
  fakeService({ name: 'pd', pods, spec: { clusterIP: '10.96.0.9', ports: [{ port: 2379 }], ...spec } });

/** Answers by host. A host that is not listed never answers. */
const network =
  (answers: Record<string, HttpAnswer | Error>, asked: string[] = []): HttpFetch =>
  (req, signal) => {
    asked.push(req.host);
    const answer = answers[req.host];
    if (answer instanceof Error) return Promise.reject(answer);
    if (answer !== undefined) return Promise.resolve(answer);
    return new Promise((_resolve, reject) => {
      signal?.addEventListener('abort', () => reject(new Error('no answer in time')));
    });
  };

const ok: HttpAnswer = { status: 200, body: '{}' };
const sick: HttpAnswer = { status: 503, body: 'no leader' };
const refused = new Error('ECONNREFUSED');

afterEach(() => vi.useRealTimers());

describe('a Service', () => {
  it.each([['10.96.0.9'], ['None']])('with cluster IP %s gets one request, to a ready pod', async (clusterIP) => {
    const asked: string[] = [];
    const answer = await fetchService(request, pd(three, { clusterIP }), network({ '10.1.0.2': ok }, asked));
    expect(answer).toEqual({ ...ok, answeredBy: 'answered by pod pd-1' });
    expect(asked).toEqual(['10.1.0.2']);
  });

  it.each([
    ['refuses', refused, 'ECONNREFUSED'],
    ['answers with a server error', sick, 'status 503'],
  ])('whose ready pod %s has the others tried', async (_how, first, why) => {
    const asked: string[] = [];
    const fetch = network({ '10.1.0.2': first, '10.1.0.1': sick, '10.1.0.3': ok }, asked);
    const answer = await fetchService(request, pd(), fetch);
    expect(asked).toEqual(['10.1.0.2', '10.1.0.1', '10.1.0.3']);
    expect(answer).toMatchObject({
      status: 200,
      answeredBy: `answered by pod pd-2 (failed before it: pod pd-1: ${why}; pod pd-0: status 503)`,
    });
  });

  it('whose pods all fail returns the first server error, for CEL to evaluate', async () => {
    const fetch = network({ '10.1.0.1': sick, '10.1.0.2': refused, '10.1.0.3': { ...sick, status: 500 } });
    expect(await fetchService(request, pd(), fetch)).toMatchObject({
      status: 503,
      answeredBy: 'answered by pod pd-0 (failed before it: pod pd-1: ECONNREFUSED)',
    });
  });

  it('without any answer cannot be read, and the error names every pod', async () => {
    const fetch = network({ '10.1.0.1': refused, '10.1.0.2': refused, '10.1.0.3': refused });
    await expect(fetchService(request, pd(), fetch)).rejects.toThrow(
      'GET http://pd.tikv.svc:2379/stores: pod pd-1: ECONNREFUSED; pod pd-0: ECONNREFUSED; pod pd-2: ECONNREFUSED',
    );
  });

  it('whose first pod hangs is answered by another one, but the first may still be faster', async () => {
    vi.useFakeTimers();
    const asked: string[] = [];
    const overtaken = fetchService(request, pd(), network({ '10.1.0.1': ok }, asked));
    await vi.advanceTimersByTimeAsync(1600);
    expect((await overtaken).answeredBy).toBe('answered by pod pd-0');
    expect(asked).toEqual(['10.1.0.2', '10.1.0.1']);

    const slow: HttpFetch = (req) =>
      new Promise((resolve) => setTimeout(() => resolve(ok), req.host === '10.1.0.2' ? 2000 : 60_000));
    const late = fetchService(request, pd(), slow);
    await vi.advanceTimersByTimeAsync(2100);
    expect((await late).answeredBy).toBe('answered by pod pd-1');
  });

  it('whose pods all hang fails at one time limit', async () => {
    vi.useFakeTimers();
    const given = fetchService(request, pd(), network({})).catch((error: Error) => error);
    await vi.advanceTimersByTimeAsync(6100);
    expect(await given).toMatchObject({ message: expect.stringContaining('no answer in time') });
  });

  it('without pods cannot be read', async () => {
    await expect(fetchService(request, pd([]), network({}))).rejects.toThrow(
      'no pod serves port 2379 of Service tikv/pd',
    );
  });

  it.each(['list', 'get'] as const)('whose pods the identity may not %s is forbidden', async (verb) => {
    const forbidden = () => Promise.reject(new KubeError(403, 'Forbidden', 'it is forbidden'));
    const api = pd();
    const get: typeof api.get = (resource, ref) => (resource.plural === 'pods' ? forbidden() : api.get(resource, ref));
    const limited = verb === 'list' ? { ...api, list: forbidden } : { ...api, get };
    await expect(fetchService(request, limited, network({}))).rejects.toMatchObject({
      forbidden: true,
      message: 'it is forbidden',
    });
  });
});

describe('a check connects to no address that an EndpointSlice alone names', () => {
  const inside = { kind: 'Pod', namespace: 'tikv', name: 'pd-0' };
  const own: FakePod = { name: 'pd-0', ips: ['10.1.0.1', 'fd00::1'] };
  const metadata = '169.254.169.254';
  const attacks: readonly [string, { endpoint: object; pod?: Partial<FakePod> }, string][] = [
    [
      'that is not the address of the pod',
      { endpoint: { addresses: [metadata], targetRef: inside } },
      `${metadata}:2379 of Service tikv/pd is refused: pod tikv/pd-0 has other addresses (10.1.0.1, fd00::1)`,
    ],
    [
      'in IPv6',
      { endpoint: { addresses: ['fd00:ec2::254'], targetRef: inside } },
      '[fd00:ec2::254]:2379 of Service tikv/pd is refused: pod tikv/pd-0 has other addresses (10.1.0.1, fd00::1)',
    ],
    [
      'that is an IPv6 spelling of an IPv4 address',
      { endpoint: { addresses: ['::ffff:10.1.0.1'], targetRef: inside } },
      '[::ffff:10.1.0.1]:2379 of Service tikv/pd is refused: pod tikv/pd-0 has other addresses',
    ],
    [
      'as a name',
      { endpoint: { addresses: ['metadata.internal'], targetRef: inside } },
      'metadata.internal:2379 of Service tikv/pd is refused: pod tikv/pd-0 has other addresses',
    ],
    [
      'without a pod',
      { endpoint: { addresses: ['10.1.0.1'] } },
      '10.1.0.1:2379 of Service tikv/pd is refused: its EndpointSlice names no pod of namespace tikv',
    ],
    [
      'of a node',
      { endpoint: { addresses: ['10.1.0.1'], targetRef: { kind: 'Node', name: 'pd-0' } } },
      'its EndpointSlice names no pod of namespace tikv',
    ],
    [
      'of a pod in another namespace',
      { endpoint: { addresses: ['10.1.0.1'], targetRef: { ...inside, namespace: 'kube-system' } } },
      'its EndpointSlice names no pod of namespace tikv',
    ],
    [
      'of a pod that does not exist',
      { endpoint: { addresses: ['10.1.0.1'], targetRef: { ...inside, name: 'pd-9' } } },
      'pod tikv/pd-9 does not exist',
    ],
    [
      'of a pod in the network of its node',
      { endpoint: { addresses: ['10.1.0.1'], targetRef: inside }, pod: { hostNetwork: true } },
      'pod tikv/pd-0 uses the network of its node (hostNetwork)',
    ],
    [
      'of a pod that has ended, whose address another pod may have now',
      { endpoint: { addresses: ['10.1.0.1'], targetRef: inside }, pod: { phase: 'Succeeded' } },
      'pod tikv/pd-0 has ended (Succeeded)',
    ],
    [
      'of a pod that the Service does not select',
      { endpoint: { addresses: ['10.1.0.1'], targetRef: inside }, pod: { labels: { app: 'other' } } },
      'pod tikv/pd-0 does not have the label app=pd, which the Service selects',
    ],
    [
      'of a pod that has no address yet',
      { endpoint: { addresses: ['10.1.0.1'], targetRef: inside }, pod: { ips: [] } },
      'pod tikv/pd-0 has other addresses (none yet)',
    ],
  ];

  it.each(attacks)('%s', async (_what, { endpoint, pod }, why) => {
    for (const clusterIP of ['10.96.0.9', 'None', 'fd00:96::9']) {
      const api = fakeService({
        name: 'pd',
        spec: { clusterIP, ports: [{ port: 2379 }] },
        pods: [{ ...own, ...pod }],
        slices: [{ ports: [{ port: 2379 }], endpoints: [endpoint] }],
      });
      const asked: string[] = [];
      const failure = fetchService(request, api, network({ [metadata]: ok }, asked));
      await expect(failure).rejects.toThrow(why);
      expect(asked).toEqual([]);
    }
  });

  it('and says beside the answer of a true pod which endpoints it refused', async () => {
    const planted = { addresses: [metadata], targetRef: { ...inside, name: 'a' } };
    const api = fakeService({
      name: 'pd',
      spec: { ports: [{ port: 2379 }] },
      pods: [own],
      slices: [
        { ports: [{ port: 2379 }], endpoints: [endpointOf(own)] },
        { ports: [{ port: 2379 }], endpoints: [planted] },
      ],
    });
    const asked: string[] = [];
    const answer = await fetchService(request, api, network({ '10.1.0.1': ok }, asked));
    expect(asked).toEqual(['10.1.0.1']);
    expect(answer.answeredBy).toBe(
      `answered by pod pd-0 (failed before it: endpoint ${metadata}:2379 of Service tikv/pd is refused: pod tikv/a does not exist)`,
    );
  });

  it('and reads no more than 20 endpoints', async () => {
    const endpoints = Array.from({ length: 1000 }, (_, index) => endpointOf({ name: `pd-${index}`, ips: [metadata] }));
    const api = fakeService({
      name: 'pd',
      spec: { ports: [{ port: 2379 }] },
      pods: [],
      slices: [{ ports: [{ port: 2379 }], endpoints }],
    });
    const get = vi.fn(api.get);
    await expect(fetchService(request, { ...api, get }, network({}))).rejects.toThrow('does not exist');
    expect(get).toHaveBeenCalledTimes(21);
  });

  it('but to the first address of a pod in either family', async () => {
    for (const ips of [
      ['10.1.0.1', 'fd00::1'],
      ['fd00::1', '10.1.0.1'],
    ]) {
      const asked: string[] = [];
      await fetchService(request, pd([{ name: 'pd-0', ips }]), network({ '10.1.0.1': ok, 'fd00::1': ok }, asked));
      expect(asked).toEqual(ips.slice(0, 1));
    }
  });
});
