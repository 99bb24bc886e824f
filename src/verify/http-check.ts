// The http check: GET on a Service of a target namespace, judged by CEL over `status` and `body`.

import type { HttpCheck } from '../api/check.ts';
import type { KubeClient } from '../kube/client.ts';
import { isForbidden, isNotFound } from '../kube/errors.ts';
import { ENDPOINT_SLICES, SERVICES } from '../kube/resources.ts';
import type { CelVariable } from './cel-protocol.ts';
import type { HttpFetch } from './http-fetch.ts';
import { CheckUnreadable } from './observation.ts';
import { type Address, endpointAddress, serviceAddress } from './service-address.ts';

/** What was read, ready to be judged and to be shown. */
export interface Reading {
  readonly variables: Readonly<Record<string, CelVariable>>;
  readonly shown: Readonly<Record<string, unknown>>;
}

/** @throws CheckUnreadable */
export async function readHttp(
  check: HttpCheck,
  namespace: string,
  kube: Pick<KubeClient, 'get' | 'list'>,
  fetch: HttpFetch,
): Promise<Reading> {
  const address = await resolve(check, namespace, kube);
  const name = `${check.service}.${namespace}.svc:${check.port}`;
  let answer: Awaited<ReturnType<HttpFetch>>;
  try {
    answer = await fetch({ ...address, scheme: check.scheme, path: check.path, hostHeader: name });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CheckUnreadable(`GET ${check.scheme}://${name}${check.path}: ${why}`, { cause: error });
  }
  return {
    variables: { status: { json: String(answer.status) }, body: { jsonOrText: answer.body } },
    shown: { status: answer.status, body: jsonOrText(answer.body) },
  };
}

async function resolve(check: HttpCheck, namespace: string, kube: Pick<KubeClient, 'get' | 'list'>): Promise<Address> {
  try {
    const found = serviceAddress(await kube.get(SERVICES, { namespace, name: check.service }), check.port);
    if (found.type === 'cluster-ip') return found.address;
    const labelSelector = `kubernetes.io/service-name=${check.service}`;
    const slices = await kube.list(ENDPOINT_SLICES, { namespace, labelSelector });
    return endpointAddress(found, slices.items, namespace);
  } catch (error) {
    if (error instanceof CheckUnreadable) throw error;
    if (isNotFound(error)) throw new CheckUnreadable(`Service ${namespace}/${check.service} does not exist`);
    const why = error instanceof Error ? error.message : String(error);
    throw new CheckUnreadable(why, { forbidden: isForbidden(error), cause: error });
  }
}

function jsonOrText(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}
