// GET on a Service: tries its pods in turn, until one answers or time is up.

import type { KubeClient } from '../kube/client.ts';
import { isForbidden, isNotFound } from '../kube/errors.ts';
import type { KubeObject } from '../kube/object.ts';
import { ENDPOINT_SLICES, PODS, SERVICES } from '../kube/resources.ts';
import type { HttpAnswer, HttpFetch, HttpRequest } from './http-fetch.ts';
import { CheckUnreadable } from './observation.ts';
import { type Endpoint, findRefusal, listEndpoints, type ServicePort, servicePort } from './service-address.ts';

export interface ServiceRequest {
  readonly service: string;
  readonly namespace: string;
  readonly port: number;
  readonly scheme: 'http' | 'https';
  readonly path: string;
}

export interface ServiceAnswer extends HttpAnswer {
  /** Which pod answered, and what failed before. */
  readonly answeredBy: string;
}

/** After this time without an answer, the next pod is tried as well. In ms. */
const STAGGER_MS = 1500;
/** Time limit of all attempts together, in ms. */
const BOUND_MS = 6000;
/** The maximum number of pods to try. */
const MAX_PODS = 5;
/** The maximum number of endpoints to look at, refused ones included. */
const MAX_ENDPOINTS = 20;

/** A pod that is known to have the address. */
interface Candidate extends Endpoint {
  readonly pod: string;
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
    const ask = (by: Candidate) => {
      const { host, port } = by;
      return tried(by, { host, port, scheme, path, hostHeader }, fetch, stop.signal);
    };
    for await (const outcome of inTurn(candidates(found, kube, failures), ask, stop.signal)) {
      const who = `pod ${outcome.by.pod}`;
      if (outcome.type === 'failure') {
        failures.push(`${who}: ${outcome.why}`);
        continue;
      }
      const before = failures.length === 0 ? '' : ` (failed before it: ${failures.join('; ')})`;
      const named = { ...outcome.answer, answeredBy: `answered by ${who}${before}` };
      if (named.status < 500) return named;
      serverError ??= named;
      failures.push(`${who}: status ${named.status}`);
    }
  } finally {
    clearTimeout(bound);
    stop.abort();
  }
  if (serverError !== undefined) return serverError;
  throw new CheckUnreadable(`${url}: ${failures.join('; ') || `no answer within ${BOUND_MS / 1000} s`}`);
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

/** The pods of a Service, each read when it is needed. Adds refused endpoints to the failures. */
async function* candidates(
  found: ServicePort,
  kube: Pick<KubeClient, 'get' | 'list'>,
  failures: string[],
): AsyncGenerator<Candidate> {
  const { service, namespace, port } = found;
  const labelSelector = `kubernetes.io/service-name=${service}`;
  const slices = await kube.list(ENDPOINT_SLICES, { namespace, labelSelector }).catch((error: unknown) => {
    throw unreadable(error);
  });
  const endpoints = listEndpoints(found, slices.items);
  if (endpoints.length === 0)
    throw new CheckUnreadable(`no pod serves port ${port} of Service ${namespace}/${service}`);
  let left = MAX_PODS;
  for (const endpoint of endpoints.slice(0, MAX_ENDPOINTS)) {
    const { pod } = endpoint;
    const refusal = findRefusal(found, endpoint, pod === undefined ? undefined : await readPod(kube, namespace, pod));
    if (refusal !== undefined) failures.push(refusal);
    else if (pod !== undefined) {
      yield { ...endpoint, pod };
      left -= 1;
      if (left === 0) return;
    }
  }
}

async function readPod(
  kube: Pick<KubeClient, 'get'>,
  namespace: string,
  name: string,
): Promise<KubeObject | undefined> {
  try {
    return await kube.get(PODS, { namespace, name });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw unreadable(error);
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
