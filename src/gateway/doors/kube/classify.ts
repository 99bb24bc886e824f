// What a request to the API server is: which object, which verb, and whether it may change something. A pure reading of its URL.
//
// The rules are those of the API server itself (its RequestInfo): the decoded path is split at slashes, a GET of a collection
// is a list or a watch, and so on. What connects into a pod or through a proxy counts as a write whatever its method is,
// because a WebSocket exec is a GET.

import { z } from 'zod';
import { InvalidInput } from '../../../errors.ts';
import type { CanonicalBody } from './body.ts';

export interface KubeRequest {
  /**
   * - `read`: changes nothing.
   * - `review`: a POST that asks a question and changes nothing.
   * - `write`: may change something; on record before and after.
   */
  readonly kind: 'read' | 'review' | 'write';
  /** get, list, watch, create, update, patch, delete, deletecollection, connect; the method for non-resource paths. */
  readonly verb: string;
  /** Undefined for paths such as /version. */
  readonly resource: string | undefined;
  readonly group: string;
  readonly version: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  /** Nothing is stored, as the URL says; for a DELETE with a body that is not enough, see {@link withBody}. */
  readonly dryRun: boolean;
  /** A Secret's contents are read. */
  readonly secrets: boolean;
  /** The answer goes on as long as somebody listens: watch, logs -f, and everything that connects. */
  readonly follows: boolean;
  /** The decoded path. */
  readonly path: string;
  readonly query: URLSearchParams;
}

/** Subresources that open a way into a pod, a node or a service, by any method. */
const CONNECTS: ReadonlySet<string> = new Set(['exec', 'attach', 'portforward', 'proxy']);

/** Subresources of which it is known that a dry run stores nothing; elsewhere nobody promises it. */
const DRY: ReadonlySet<string> = new Set(['status', 'scale']);

/** Created, but never stored: the answer is all there is. */
const REVIEWS: ReadonlySet<string> = new Set([
  'authorization.k8s.io/selfsubjectaccessreviews',
  'authorization.k8s.io/selfsubjectrulesreviews',
  'authorization.k8s.io/localsubjectaccessreviews',
  'authorization.k8s.io/subjectaccessreviews',
  'authentication.k8s.io/selfsubjectreviews',
  'authentication.k8s.io/tokenreviews',
]);

const METHODS: Readonly<Record<string, string>> = {
  GET: 'get',
  HEAD: 'get',
  POST: 'create',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
};

/** @param url path and query as they stand in the request line. @throws InvalidInput for what no client of the API sends */
export function classify(method: string, url: string): KubeRequest {
  if (!url.startsWith('/')) throw new InvalidInput('the request line must hold a path');
  const verb = METHODS[method];
  if (verb === undefined) throw new InvalidInput(`method ${method} is not one of the API`);
  const mark = url.indexOf('?');
  // The ampersand keeps a second question mark: to the API server it is part of the first name, here it would be dropped.
  const query = new URLSearchParams(mark === -1 ? '' : `&${url.slice(mark + 1)}`);
  let path: string;
  try {
    path = decodeURIComponent(mark === -1 ? url : url.slice(0, mark));
  } catch (error) {
    throw new InvalidInput('the path is not well encoded', error);
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
  const parsed = resourceOf(segments);
  // Behind a proxy subresource there is somebody else's path, which may look as it likes.
  const checked = parsed?.subresource === 'proxy' ? segments.slice(0, parsed.depth) : segments;
  if (checked.some((segment) => segment === '' || segment === '.' || segment === '..' || segment.includes('\\'))) {
    throw new InvalidInput('the path must be written plainly: no empty segments, no dots');
  }
  // No name of the API holds these, and a record that does could be read as two.
  if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}#]/u.test(path)) {
    throw new InvalidInput('the path must not hold control characters or "#"');
  }
  if (parsed === undefined) {
    return { ...base, kind: verb === 'get' ? 'read' : 'write', verb: method.toLowerCase() };
  }
  const { depth: _, watchPrefix, ...parts } = parsed;
  const { name, subresource, resource, group } = parts;
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
 * The request with what its body says of it: the API server takes the options of a DELETE from the
 * body if there is one, and does not look at the query then. What is not JSON counts as a real one.
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
  /** How many segments of the path name the object and its subresource. */
  readonly depth: number;
}

function resourceOf(segments: readonly string[]): ResourceParts | undefined {
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
    // The oldest form of the proxy; no API server serves it any more, and none shall through here unseen.
    rest.shift();
    const [resource = '', name] = rest;
    const depth = segments.length - rest.length + 2;
    return { group, version, resource, namespace: undefined, name, subresource: 'proxy', watchPrefix, depth };
  }
  let namespace: string | undefined;
  // /namespaces/x alone, /namespaces/x/status and /namespaces/x/finalize are the namespace itself.
  if (rest[0] === 'namespaces' && rest.length > 2 && rest[2] !== 'status' && rest[2] !== 'finalize') {
    namespace = rest[1];
    rest.splice(0, 2);
  }
  const [resource, name, subresource] = rest;
  if (resource === undefined || resource === '') return undefined;
  const depth = segments.length - rest.length + 3;
  return { group, version, resource, namespace, name, subresource, watchPrefix, depth };
}

/** As the API server reads booleans in a query: anything but these is true. */
function isTrue(value: string | null): boolean {
  return value !== null && value !== 'false' && value !== '0';
}

/** "patch apps/statefulsets/scale tikv/tikv-tikv", as people would say it. */
export function describeRequest(request: KubeRequest): string {
  const { verb, group, resource, subresource, namespace, name, dryRun, path } = request;
  if (resource === undefined) return `${verb} ${path}`;
  const kind = `${group === '' ? '' : `${group}/`}${resource}${subresource === undefined ? '' : `/${subresource}`}`;
  const object = [namespace, name].filter((part) => part !== undefined).join('/');
  const word = verb === 'connect' ? (subresource ?? verb) : verb;
  return `${word} ${kind}${object === '' ? '' : ` ${object}`}${dryRun ? ' (dry run)' : ''}`;
}
