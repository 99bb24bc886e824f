// The http check: GET on a Service in a target namespace, with CEL over `status` and `body`.

import type { HttpCheck } from '../api/check.ts';
import type { KubeClient } from '../kube/client.ts';
import type { CelVariable, Sample } from './cel-protocol.ts';
import type { HttpFetch } from './http-fetch.ts';
import { fetchService } from './service-fetch.ts';

/** What was read, as variables for CEL and in a form for people. */
export interface Reading {
  readonly variables: Readonly<Record<string, CelVariable>>;
  readonly shown: Readonly<Record<string, unknown>>;
  /** Which pod of a Service answered; undefined if no Service was asked. */
  readonly answeredBy?: string | undefined;
  /** The samples of a prometheus check. */
  readonly samples?: readonly Sample[];
}

/** @throws CheckUnreadable */
export async function readHttp(
  check: HttpCheck,
  namespace: string,
  kube: Pick<KubeClient, 'get' | 'list'>,
  fetch: HttpFetch,
): Promise<Reading> {
  const { service, port, scheme, path } = check;
  const answer = await fetchService({ service, namespace, port, scheme, path }, kube, fetch);
  return {
    variables: { status: { json: String(answer.status) }, body: { jsonOrText: answer.body } },
    shown: { status: answer.status, body: jsonOrText(answer.body) },
    answeredBy: answer.answeredBy,
  };
}

function jsonOrText(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}
