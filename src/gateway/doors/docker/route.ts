// Parses the request line of a request to the Docker API into an allowed route and its object. Pure.
//
// The caller's path is never forwarded as received, but rewritten from the parsed request.

import { InvalidInput, NotAllowed, NotFound } from '../../../errors.ts';
import { ROUTES, type Route } from './allowed-routes.ts';

/** The kind of object that a path names. */
export type RefKind = 'container' | 'exec' | 'network' | 'volume' | 'image';

/** A parsed request. */
export interface DockerRequest {
  readonly route: Route;
  /**
   * For example `v1.41`. Undefined if the path has none; the daemon then uses its newest version.
   */
  readonly version: string | undefined;
  /** The object that the path names, as written by the caller. */
  readonly ref: { readonly kind: RefKind; readonly name: string } | undefined;
  readonly query: ReadonlyMap<string, string>;
}

/**
 * From this version on, the daemon accepts no settings at `start` and filters by label everywhere.
 */
const OLDEST_MINOR = 30;
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/;
const REFS: Readonly<Record<RefKind, RegExp>> = {
  container: NAME,
  network: NAME,
  volume: NAME,
  exec: /^[0-9a-f]{64}$/,
  image: /^[a-zA-Z0-9][a-zA-Z0-9_.:@/-]{0,511}$/,
};

/** The values that the daemon reads as false. */
const NO: ReadonlySet<string> = new Set(['', '0', 'no', 'false', 'none']);

/** Whether a parameter has a value that the daemon reads as true. */
export function isSet(query: ReadonlyMap<string, string>, name: string): boolean {
  return !NO.has((query.get(name) ?? '').trim().toLowerCase());
}

/** Whether a text is a valid name of a container, network or volume. */
export function isName(name: string): boolean {
  return NAME.test(name);
}

/** Whether a text is a valid image reference: a repository with tag or digest, or an ID. */
export function isImageReference(reference: string): boolean {
  return REFS.image.test(reference) && plain(reference.split('/'));
}

/** @param url path and query as in the request line @throws InvalidInput, NotAllowed */
export function readRequest(method: string, url: string): DockerRequest {
  if (!url.startsWith('/')) throw new InvalidInput('the request line must contain an absolute path');
  const mark = url.indexOf('?');
  let path: string;
  try {
    path = decodeURIComponent(mark === -1 ? url : url.slice(0, mark));
  } catch (error) {
    throw new InvalidInput('the path is not correctly percent-encoded', error);
  }
  const segments = path.split('/').slice(1);
  if (!plain(segments))
    throw new InvalidInput('the path must not contain empty segments, "." or "..", or special characters');
  const version = parseVersion(segments[0] ?? '');
  if (version !== undefined) segments.shift();
  for (const route of ROUTES) {
    if (route.method !== method) continue;
    const matched = match(route.pattern, segments);
    if (matched === undefined) continue;
    return { route, version, ref: matched.ref, query: readQuery(route, mark === -1 ? '' : url.slice(mark + 1)) };
  }
  // `docker inspect` tries this path last. Another error would hide that the object does not exist.
  if (method === 'GET' && segments[0] === 'plugins') throw new NotFound('No such plugin');
  throw new NotAllowed(
    `${method} ${path.slice(0, 200)} is not one of the requests that the docker door allows; docs/docker.md lists them`,
  );
}

/** Builds the path to forward from version, pattern and query, with the object named by `name`. */
export function writePath(
  request: DockerRequest,
  name: string | undefined,
  query: ReadonlyMap<string, string>,
): string {
  const segments = request.route.pattern
    .split('/')
    .map((segment) => (segment.startsWith('{') ? (name ?? '') : segment));
  const encoded = segments
    .flatMap((segment) => segment.split('/'))
    .map((segment) => encodeURIComponent(segment).replaceAll('%3A', ':').replaceAll('%40', '@'))
    .join('/');
  const parameters = [...query].map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`);
  const prefix = request.version === undefined ? '' : `/${request.version}`;
  return `${prefix}${encoded}${parameters.length === 0 ? '' : `?${parameters.join('&')}`}`;
}

function plain(segments: readonly string[]): boolean {
  return segments.every((segment) => /^[a-zA-Z0-9_.:@-]+$/.test(segment) && segment !== '.' && segment !== '..');
}

function parseVersion(segment: string): string | undefined {
  if (!/^v[0-9.]+$/.test(segment)) return undefined;
  const minor = /^v1\.([1-9][0-9]{0,2})$/.exec(segment)?.[1];
  if (minor === undefined || Number(minor) < OLDEST_MINOR) {
    throw new InvalidInput(`API version ${segment.slice(1, 20)} is not supported; use 1.${OLDEST_MINOR} or later`);
  }
  return segment;
}

function match(pattern: string, segments: readonly string[]): { ref: DockerRequest['ref'] } | undefined {
  const parts = pattern.split('/').slice(1);
  const at = parts.findIndex((part) => part.startsWith('{'));
  if (at === -1) {
    return parts.length === segments.length && parts.every((part, index) => part === segments[index])
      ? { ref: undefined }
      : undefined;
  }
  const kind = parseKind(parts[at] ?? '');
  const after = parts.length - at - 1;
  // Only the name of an image can contain slashes.
  const length = kind === 'image' ? segments.length - at - after : 1;
  if (length < 1 || segments.length !== at + length + after) return undefined;
  if (!parts.slice(0, at).every((part, index) => part === segments[index])) return undefined;
  if (!parts.slice(at + 1).every((part, index) => part === segments[at + length + index])) return undefined;
  const name = segments.slice(at, at + length).join('/');
  if (!REFS[kind].test(name)) throw new InvalidInput(`"${name.slice(0, 100)}" is not a valid ${kind} name`);
  return { ref: { kind, name } };
}

function parseKind(placeholder: string): RefKind {
  switch (placeholder) {
    case '{exec}':
      return 'exec';
    case '{network}':
      return 'network';
    case '{volume}':
      return 'volume';
    case '{image}':
      return 'image';
    default:
      return 'container';
  }
}

function readQuery(route: Route, text: string): ReadonlyMap<string, string> {
  const query = new Map<string, string>();
  for (const [key, value] of new URLSearchParams(text)) {
    // It is not known which of two values the daemon would use.
    if (query.has(key)) throw new InvalidInput(`parameter ${key.slice(0, 40)} occurs twice`);
    if (!route.query?.includes(key)) {
      // Clients always send some parameters. A value that the daemon reads as false is dropped.
      if (NO.has(value.toLowerCase())) continue;
      throw new NotAllowed(`parameter ${key.slice(0, 40)} is not allowed for ${route.pattern}`);
    }
    if (value.length > 8192) throw new InvalidInput(`parameter ${key} is too long`);
    query.set(key, value);
  }
  return query;
}
