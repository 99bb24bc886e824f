// GET on a Service: tries its own address, then its pods in turn, until one answers or time is up.

import type { KubeClient } from '../kube/client.ts';
import { isForbidden, isNotFound } from '../kube/errors.ts';
import { ENDPOINT_SLICES, SERVICES } from '../kube/resources.ts';
import type { HttpAnswer, HttpFetch, HttpRequest } from './http-fetch.ts';
import { CheckUnreadable } from './observation.ts';
import { type Address, listEndpoints, type ServicePort, servicePort } from './service-address.ts';

export interface ServiceRequest {
  readonly service: string;
  readonly namespace: string;
  readonly port: number;
  readonly scheme: 'http' | 'https';
  readonly path: string;
}

export interface ServiceAnswer extends HttpAnswer {
  /**
   * Which pod answered, and what failed before. Undefined if the Service's own address answered.
   */
  readonly answeredBy: string | undefined;
}

/** After this time without an answer, the next address is tried as well. In ms. */
const STAGGER_MS = 1500;
/** Time limit of all attempts together, in ms. */
const BOUND_MS = 6000;
/** The maximum number of pods to try. */
const MAX_PODS = 5;

interface Candidate {
  readonly name: string;
  readonly address: Address;
}

type Outcome =
  | { readonly type: 'answer'; readonly by: Candidate; readonly answer: HttpAnswer }
  | { readonly type: 'failure'; readonly by: Candidate; readonly why: string };

/**
 * The first answer that is not a server error, or else the first server error, which CEL can
 * evaluate.
 * @throws CheckUnreadable if there is no answer, or if a check may not use the Service
 */
export async function fetchService(
  request: ServiceRequest,
  kube: Pick<KubeClient, 'get' | 'list'>,
  fetch: HttpFetch,
): Promise<ServiceAnswer> {
  const { service, namespace, port, scheme, path } = request;
  const hostHeader = `${service}.${namespace}.svc:${port}`;
  const url = `GET ${scheme}://${hostHeader}${cutQuery(path)}`;
  const found = await readPort(request, kube);
  const failures: string[] = [];
  let serverError: ServiceAnswer | undefined;
  const stop = new AbortController();
  const bound = setTimeout(() => stop.abort(new Error('no answer in time')), BOUND_MS);
  try {
    const ask = (by: Candidate) => tried(by, { ...by.address, scheme, path, hostHeader }, fetch, stop.signal);
    for await (const outcome of inTurn(candidates(request, found, kube, failures), ask, stop.signal)) {
      if (outcome.type === 'failure') {
        failures.push(`${outcome.by.name}: ${outcome.why}`);
        continue;
      }
      const { answer, by } = outcome;
      const isService = by.address === found.clusterAddress;
      const before = failures.length === 0 ? '' : ` (failed before it: ${failures.join('; ')})`;
      const named = { ...answer, answeredBy: isService ? undefined : `answered by ${by.name}${before}` };
      if (answer.status < 500) return named;
      serverError ??= named;
      failures.push(`${by.name}: status ${answer.status}`);
    }
  } finally {
    clearTimeout(bound);
    stop.abort();
  }
  if (serverError !== undefined) return serverError;
  const [only] = failures;
  const why = failures.length === 1 && only !== undefined ? only.slice(only.indexOf(': ') + 2) : failures.join('; ');
  throw new CheckUnreadable(`${url}: ${why || `no answer within ${BOUND_MS / 1000} s`}`);
}

async function readPort(request: ServiceRequest, kube: Pick<KubeClient, 'get'>): Promise<ServicePort> {
  const { service, namespace, port } = request;
  try {
    return servicePort(await kube.get(SERVICES, { namespace, name: service }), port);
  } catch (error) {
    if (error instanceof CheckUnreadable) throw error;
    if (isNotFound(error)) throw new CheckUnreadable(`Service ${namespace}/${service} does not exist`);
    throw unreadable(error);
  }
}

/** The Service's address, then its pods. The pods are only read when they are needed. */
async function* candidates(
  { service, namespace, port }: ServiceRequest,
  found: ServicePort,
  kube: Pick<KubeClient, 'list'>,
  failures: string[],
): AsyncGenerator<Candidate> {
  const { clusterAddress } = found;
  if (clusterAddress !== undefined) {
    yield { name: `${clusterAddress.host}:${clusterAddress.port}`, address: clusterAddress };
  }
  const labelSelector = `kubernetes.io/service-name=${service}`;
  let pods: ReturnType<typeof listEndpoints>;
  try {
    pods = listEndpoints(found, (await kube.list(ENDPOINT_SLICES, { namespace, labelSelector })).items, namespace);
  } catch (error) {
    if (clusterAddress === undefined) throw unreadable(error);
    failures.push(`its EndpointSlices: ${error instanceof Error ? error.message : String(error)}`);
    return;
  }
  if (pods.length === 0 && clusterAddress === undefined) {
    throw new CheckUnreadable(`no pod serves port ${port} of the headless Service ${namespace}/${service}`);
  }
  for (const { host, port: podPort, pod } of pods.slice(0, MAX_PODS)) {
    yield { name: `pod ${pod}`, address: { host, port: podPort } };
  }
}

function unreadable(error: unknown): CheckUnreadable {
  const why = error instanceof Error ? error.message : String(error);
  return new CheckUnreadable(why, { forbidden: isForbidden(error), cause: error });
}

async function tried(by: Candidate, request: HttpRequest, fetch: HttpFetch, signal: AbortSignal): Promise<Outcome> {
  try {
    return { type: 'answer', by, answer: await fetch(request, signal) };
  } catch (error) {
    return { type: 'failure', by, why: error instanceof Error ? error.message : String(error) };
  }
}

/**
 * The outcome of each candidate. The next one is tried when one fails, or when none answers for a
 * while.
 */
async function* inTurn(
  source: AsyncGenerator<Candidate>,
  ask: (candidate: Candidate) => Promise<Outcome>,
  signal: AbortSignal,
): AsyncGenerator<Outcome> {
  const running = new Map<Candidate, Promise<Outcome>>();
  let isExhausted = false;
  for (;;) {
    if (!isExhausted && !signal.aborted) {
      const next = await source.next();
      if (next.done === true) isExhausted = true;
      else running.set(next.value, ask(next.value));
    }
    if (running.size === 0) {
      if (isExhausted || signal.aborted) return;
      continue;
    }
    const patience = isExhausted ? undefined : delay(STAGGER_MS);
    const outcome = await Promise.race([...running.values(), ...(patience === undefined ? [] : [patience.over])]);
    patience?.cancel();
    if (outcome === undefined) continue;
    running.delete(outcome.by);
    yield outcome;
  }
}

function delay(ms: number): { readonly over: Promise<undefined>; cancel(): void } {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => resolve(undefined), ms);
  return { over: promise, cancel: () => clearTimeout(timer) };
}

/** Leaves out a long query, which the reader of the message knows. */
function cutQuery(path: string): string {
  const mark = path.indexOf('?');
  return mark === -1 || path.length <= 200 ? path : `${path.slice(0, mark)}?…`;
}
