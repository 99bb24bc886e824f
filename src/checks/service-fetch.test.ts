// Requests to a Service: its address first, then its pods in turn, and which of them answered.

import { afterEach, describe, expect, it, vi } from 'vitest';
import { KubeError } from '../kube/errors.ts';
import { kubeObject } from '../kube/object.ts';
import type { HttpAnswer, HttpFetch } from './http-fetch.ts';
import { fetchService } from './service-fetch.ts';

const request = { service: 'pd', namespace: 'tikv', port: 2379, scheme: 'http', path: '/stores' } as const;

const endpoint = (pod: string, host: string, ready = true) => ({
  addresses: [host],
  conditions: { ready },
  targetRef: { kind: 'Pod', namespace: 'tikv', name: pod },
});

function kube(clusterIP: string, endpoints: readonly object[]) {
  const service = {
    metadata: { name: 'pd', namespace: 'tikv' },
    spec: { clusterIP, selector: { app: 'pd' }, ports: [{ port: 2379 }] },
  };
  const listed = vi.fn(async () => ({
    items: [kubeObject.parse({ metadata: {}, ports: [{ port: 2379 }], endpoints })],
    resourceVersion: '',
  }));
  return { get: async () => kubeObject.parse(service), list: listed };
}

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
const three = [endpoint('pd-0', '1.0.0.1', false), endpoint('pd-1', '1.0.0.2'), endpoint('pd-2', '1.0.0.3', false)];

afterEach(() => vi.useRealTimers());

describe('a Service', () => {
  it('that answers gets one request, and its pods are not read', async () => {
    const api = kube('10.0.0.9', three);
    const asked: string[] = [];
    expect(await fetchService(request, api, network({ '10.0.0.9': ok }, asked))).toEqual({
      ...ok,
      answeredBy: undefined,
    });
    expect(asked).toEqual(['10.0.0.9']);
    expect(api.list).not.toHaveBeenCalled();
  });

  it.each([
    ['refuses', refused],
    ['answers with a server error', sick],
  ])('that %s has its pods tried: ready ones first, then the others', async (_how, first) => {
    const asked: string[] = [];
    const fetch = network({ '10.0.0.9': first, '1.0.0.2': refused, '1.0.0.1': sick, '1.0.0.3': ok }, asked);
    const answer = await fetchService(request, kube('10.0.0.9', three), fetch);
    expect(asked).toEqual(['10.0.0.9', '1.0.0.2', '1.0.0.1', '1.0.0.3']);
    expect(answer.status).toBe(200);
    expect(answer.answeredBy).toMatch(
      /^answered by pod pd-2 \(failed before it: 10\.0\.0\.9:2379: .*pod pd-0: status 503\)$/,
    );
  });

  it('whose pods all fail returns the first server error, for CEL to evaluate', async () => {
    const fetch = network({
      '10.0.0.9': refused,
      '1.0.0.1': sick,
      '1.0.0.2': { ...sick, status: 500 },
      '1.0.0.3': refused,
    });
    expect(await fetchService(request, kube('10.0.0.9', three), fetch)).toMatchObject({
      status: 500,
      answeredBy: 'answered by pod pd-1 (failed before it: 10.0.0.9:2379: ECONNREFUSED)',
    });
  });

  it('without any answer cannot be read, and the error names every address', async () => {
    const fetch = network({ '10.0.0.9': refused, '1.0.0.1': refused, '1.0.0.2': refused, '1.0.0.3': refused });
    await expect(fetchService(request, kube('10.0.0.9', three), fetch)).rejects.toThrow(
      'GET http://pd.tikv.svc:2379/stores: 10.0.0.9:2379: ECONNREFUSED; pod pd-1: ECONNREFUSED; pod pd-0: ECONNREFUSED; pod pd-2: ECONNREFUSED',
    );
  });

  it('that hangs is overtaken by a pod, but may still answer first', async () => {
    vi.useFakeTimers();
    const asked: string[] = [];
    const overtaken = fetchService(request, kube('10.0.0.9', three), network({ '1.0.0.2': ok }, asked));
    await vi.advanceTimersByTimeAsync(1600);
    expect((await overtaken).answeredBy).toBe('answered by pod pd-1');
    expect(asked).toEqual(['10.0.0.9', '1.0.0.2']);

    const slow: HttpFetch = (req) =>
      new Promise((resolve) => setTimeout(() => resolve(ok), req.host === '10.0.0.9' ? 2000 : 60_000));
    const late = fetchService(request, kube('10.0.0.9', three), slow);
    await vi.advanceTimersByTimeAsync(2100);
    expect((await late).answeredBy).toBeUndefined();
  });

  it('that hangs with all its pods fails at one time limit', async () => {
    vi.useFakeTimers();
    const given = fetchService(request, kube('10.0.0.9', three), network({})).catch((error: Error) => error);
    await vi.advanceTimersByTimeAsync(6100);
    expect(await given).toMatchObject({ message: expect.stringContaining('no answer in time') });
  });

  it('whose pods may not be read says so in the error', async () => {
    const api = { ...kube('10.0.0.9', []), list: () => Promise.reject(new KubeError(403, 'Forbidden', 'forbidden')) };
    await expect(fetchService(request, api, network({ '10.0.0.9': refused }))).rejects.toThrow(
      /EndpointSlices: forbidden/,
    );
  });
});
