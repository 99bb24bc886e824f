// Classifies a request to the API server by its URL: the object, the verb, and whether it may
// change something. Pure.
//
// The rules are those of the API server itself (its RequestInfo): the decoded path is split at
// slashes, a GET of a collection is a list or a watch, and so on. A connection to a pod or through
// a proxy counts as a write, whatever its method, because a WebSocket exec is a GET.

import * as z from 'zod';
import { InvalidInput } from '../../../errors.ts';
import type { CanonicalBody } from './body.ts';
import { readQuery } from './query.ts';

export interface KubeRequest {
  /**
   * - `read`: changes nothing.
   * - `review`: a POST that asks a question and changes nothing.
   * - `write`: may change something. Recorded before and after.
   */
  readonly kind: 'read' | 'review' | 'write';
  /**
   * get, list, watch, create, update, patch, delete, deletecollection, connect; the method for
   * non-resource paths.
   */
  readonly verb: string;
  /** Undefined for paths such as /version. */
  readonly resource: string | undefined;
  readonly group: string;
  readonly version: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  /**
   * Whether the URL requests a dry run. For a DELETE, the body may override it: see {@link
   * withBody}.
   */
  readonly dryRun: boolean;
  /** Whether the contents of Secrets are read. */
  readonly secrets: boolean;
  /** Whether the answer continues until the caller leaves: watch, logs -f and connections. */
  readonly follows: boolean;
  /** The decoded path. */
  readonly path: string;
  /** What the path has after the object and its subresource: for a proxy, the path behind it. */
  readonly rest: string | undefined;
  readonly query: URLSearchParams;
}

/** Subresources that connect to a pod, node or service with any method. */
const CONNECTS: ReadonlySet<string> = new Set(['exec', 'attach', 'portforward', 'proxy']);

/** Subresources whose dry run is known to store nothing. */
const DRY: ReadonlySet<string> = new Set(['status', 'scale']);

/** Resources that are created but never stored: the result is only in the answer. */
const REVIEWS: ReadonlySet<string> = new Set([
  'authorization.k8s.io/selfsubjectaccessreviews',
  'authorization.k8s.io/selfsubjectrulesreviews',
  'authorization.k8s.io/localsubjectaccessreviews',
  'authorization.k8s.io/subjectaccessreviews',
  'authentication.k8s.io/selfsubjectreviews',
  'authentication.k8s.io/tokenreviews',
]);

/** Verbs by method. The API server also authorizes connections by these. */
export const METHOD_VERBS: Readonly<Record<string, string>> = {
  GET: 'get',
  HEAD: 'get',
  POST: 'create',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
};

/**
 * @param url path and query as in the request line
 * @throws InvalidInput for requests that no client of the API sends
 */
export function classify(method: string, url: string): KubeRequest {
  if (!url.startsWith('/')) throw new InvalidInput('the request line must contain an absolute path');
  // Such bytes are forwarded as they are, and the API server reads them as UTF-8.
  if (/[^\x21-\x7e]/.test(url)) throw new InvalidInput('the path and the query must be ASCII; percent-encode the rest');
  const verb = METHOD_VERBS[method];
  if (verb === undefined) throw new InvalidInput(`method ${method} is not a method of the Kubernetes API`);
  const mark = url.indexOf('?');
  const query = readQuery(mark === -1 ? '' : url.slice(mark + 1));
  let path: string;
  try {
    path = decodeURIComponent(mark === -1 ? url : url.slice(0, mark));
  } catch (error) {
    throw new InvalidInput('the path is not correctly percent-encoded', error);
  }
  const segments = path.split('/').slice(1);
  if (segments.at(-1) === '') segments.pop();
  const base = {
    group: '',
    version: '',
    resource: undefined,
    namespace: undefined,
    name: undefined,
    subresource: undefined,
    dryRun: false,
    secrets: false,
    follows: false,
    path,
    query,
  };
  const parsed = parseResource(segments);
  const behind = parsed === undefined ? [] : segments.slice(parsed.depth);
  const rest = behind.length === 0 ? undefined : `/${behind.join('/')}`;
  // After a proxy subresource, the path belongs to the proxied server and may have any form.
  const checked = parsed?.subresource === 'proxy' ? segments.slice(0, parsed.depth) : segments;
  if (checked.some((segment) => segment === '' || segment === '.' || segment === '..' || segment.includes('\\'))) {
    throw new InvalidInput('the path must not contain empty segments, "." or "..", or backslashes');
  }
  // No name of the API holds these, and a record that does could be read as two.
  if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}#]/u.test(path)) {
    throw new InvalidInput('the path must not hold control characters or "#"');
  }
  if (parsed === undefined) {
    return { ...base, rest: undefined, kind: verb === 'get' ? 'read' : 'write', verb: method.toLowerCase() };
  }
  const { depth: _, watchPrefix, ...object } = parsed;
  const { name, subresource, resource, group } = object;
  const parts = { ...object, rest };
  if (subresource !== undefined && CONNECTS.has(subresource)) {
    return { ...base, ...parts, kind: 'write', verb: 'connect', follows: true };
  }
  const plural = name === undefined;
  if (verb === 'get') {
    const watching = watchPrefix || (plural && isTrue(query.get('watch')));
    const follows = watching || (subresource === 'log' && isTrue(query.get('follow')));
    const read = watching ? 'watch' : plural ? 'list' : 'get';
    return {
      ...base,
      ...parts,
      kind: 'read',
      verb: read,
      follows,
      secrets: group === '' && resource === 'secrets' && subresource === undefined,
    };
  }
  if (verb === 'create' && plural && REVIEWS.has(`${group}/${resource}`)) {
    return { ...base, ...parts, kind: 'review', verb };
  }
  const dryRun = (subresource === undefined || DRY.has(subresource)) && query.getAll('dryRun').includes('All');
  return { ...base, ...parts, kind: 'write', verb: verb === 'delete' && plural ? 'deletecollection' : verb, dryRun };
}

const deleteOptions = z.object({ dryRun: z.array(z.string()) });

/**
 * Applies the body of a DELETE to the request. If there is a body, the API server takes the options
 * from it and ignores the query. A body that is not JSON is not a dry run.
 */
export function withBody(request: KubeRequest, body: CanonicalBody): KubeRequest {
  if (body.type === 'none' || (request.verb !== 'delete' && request.verb !== 'deletecollection')) return request;
  const options = deleteOptions.safeParse(body.type === 'json' ? body.value : undefined);
  return { ...request, dryRun: options.success && options.data.dryRun.includes('All') };
}

interface ResourceParts {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  /** The deprecated /watch/ form of the path. */
  readonly watchPrefix: boolean;
  /** The number of path segments that name the object and its subresource. */
  readonly depth: number;
}

function parseResource(segments: readonly string[]): ResourceParts | undefined {
  const [root, ...rest] = segments;
  let group = '';
  if (root === 'apis') group = rest.shift() ?? '';
  else if (root !== 'api') return undefined;
  const version = rest.shift() ?? '';
  let watchPrefix = false;
  if (rest[0] === 'watch') {
    watchPrefix = true;
    rest.shift();
  } else if (rest[0] === 'proxy') {
    // The oldest form of the proxy. No current API server serves it, but it must not pass
    // unrecorded.
    rest.shift();
    const [resource = '', name] = rest;
    const depth = segments.length - rest.length + 2;
    return { group, version, resource, namespace: undefined, name, subresource: 'proxy', watchPrefix, depth };
  }
  let namespace: string | undefined;
  // /namespaces/x, /namespaces/x/status and /namespaces/x/finalize name the namespace itself.
  if (rest[0] === 'namespaces' && rest.length > 2 && rest[2] !== 'status' && rest[2] !== 'finalize') {
    namespace = rest[1];
    rest.splice(0, 2);
  }
  const [resource, name, subresource] = rest;
  if (resource === undefined || resource === '') return undefined;
  const depth = segments.length - rest.length + 3;
  return { group, version, resource, namespace, name, subresource, watchPrefix, depth };
}

/** Reads a boolean as the API server does: any value other than these is true. */
function isTrue(value: string | null): boolean {
  return value !== null && value !== 'false' && value !== '0';
}

/** Describes a request for people, for example "patch apps/statefulsets/scale tikv/tikv-tikv". */
export function describeRequest(request: KubeRequest): string {
  const { verb, group, resource, subresource, namespace, name, dryRun, path } = request;
  if (resource === undefined) return `${verb} ${path}`;
  const kind = `${group === '' ? '' : `${group}/`}${resource}${subresource === undefined ? '' : `/${subresource}`}`;
  const object = [namespace, name].filter((part) => part !== undefined).join('/');
  const word = verb === 'connect' ? (subresource ?? verb) : verb;
  return `${word} ${kind}${object === '' ? '' : ` ${object}`}${dryRun ? ' (dry run)' : ''}`;
}
