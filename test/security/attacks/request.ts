// Attacks that are one request to the kube door: what is sent, byte for byte, and what the same
// request is when it goes straight to the API server.

import type { DirectRequest } from '../../support/direct-request.ts';

/** Where attacks happen: names that are only known once the cluster is there. */
export interface Place {
  /** The target namespace, in which the attempt has its role. */
  readonly namespace: string;
  /** A namespace of somebody else. */
  readonly bystander: string;
  readonly node: string;
}

export interface RequestAttack {
  readonly name: string;
  readonly family: string;
  readonly expected: string;
  /** The bytes to send. `@TOKEN@` becomes the token of the sandbox. */
  readonly raw: (place: Place, id: string) => Buffer;
  /** The path of an object that must not exist afterwards. */
  readonly plants?: (place: Place, id: string) => string;
  /**
   * Whether the object may exist if the audit log shows it whole: an attack on the record, not on
   * rights.
   */
  readonly onlyUnrecorded?: true;
  /** The same request to the API server: without the door, as a dry run. */
  readonly direct?: (place: Place, id: string) => DirectRequest;
  /**
   * With which rights the direct request is sent. `attempt`: those that the role gives. `any`:
   * every right, as a role that an owner binds could give. `token`: with a token of the attempt's
   * account, so that the request may impersonate others.
   */
  readonly rights?: 'attempt' | 'any' | 'token';
}

/** An HTTP request as bytes. The agent's name leads from the audit log to the attack. */
export function httpRequest(
  id: string,
  { method, path, headers = {}, body = '' }: DirectRequest,
  extra: readonly string[] = [],
): Buffer {
  const length = Buffer.byteLength(body);
  const lines = [
    `${method} ${path} HTTP/1.1`,
    'Host: oplab-gateway.oplab-system.svc',
    'Authorization: Bearer @TOKEN@',
    `User-Agent: ${id}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ...extra,
    ...(length > 0 || method === 'POST' ? [`Content-Length: ${length}`] : []),
  ];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), Buffer.from(body)]);
}

export const JSON_TYPE = { 'Content-Type': 'application/json' };

/** A ConfigMap by the name of its attack. */
export const configMap = (name: string, more: object = {}): string =>
  JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { implant: 'x' }, ...more });

export const configMaps = (namespace: string, name?: string): string =>
  `/api/v1/namespaces/${namespace}/configmaps${name === undefined ? '' : `/${name}`}`;

/** The path as a dry run. */
export const dry = (path: string): string => `${path}${path.includes('?') ? '&' : '?'}dryRun=All`;

/** An object that must not be made. */
export interface Wanted {
  readonly name: string;
  /** The path of the collection. */
  readonly path: (place: Place) => string;
  readonly body: (place: Place, id: string) => object;
  /** Default: POST. */
  readonly method?: string;
  readonly contentType?: string;
  /** Default: the collection and the attack's own name. */
  readonly plants?: (place: Place, id: string) => string;
  readonly rights: 'attempt' | 'any';
}

/** The attempt to make it. */
export function requestAttack(family: string, wanted: Wanted): RequestAttack {
  const { name, path, body, method = 'POST', contentType = 'application/json', rights } = wanted;
  const request = (place: Place, id: string, isDry: boolean): DirectRequest => ({
    method,
    path: isDry ? dry(path(place)) : path(place),
    headers: { 'Content-Type': contentType },
    body: JSON.stringify(body(place, id)),
  });
  return {
    name,
    family,
    expected: 'refused; the object does not exist',
    raw: (place, id) => httpRequest(id, request(place, id, false)),
    plants: wanted.plants ?? ((place, id) => `${path(place)}/${id}`),
    direct: (place, id) => request(place, id, true),
    rights,
  };
}

/** The path of a collection of the core group in the target namespace. */
export const core = (plural: string) => (place: Place) => `/api/v1/namespaces/${place.namespace}/${plural}`;
