// Removes hop-by-hop headers and headers that claim an identity from forwarded messages.

import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { InvalidInput } from '../../errors.ts';

/** Headers that belong to one connection, not to the request. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

/** Headers that say who the caller is or where it comes from. Only the gateway may set them. */
const IDENTITY: ReadonlySet<string> = new Set([
  'authorization',
  'cookie',
  'forwarded',
  'via',
  'x-real-ip',
  'host',
  'content-length',
  'expect',
  // Leads from the API server's own log to an entry of ours.
  'audit-id',
]);
/** Headers by which a server behind a proxy takes one method for another: a read would be a write. */
const METHOD_OVERRIDES: ReadonlySet<string> = new Set(['x-http-method-override', 'x-http-method', 'x-method-override']);
const IDENTITY_PREFIXES = ['impersonate-', 'x-remote-', 'x-forwarded-', 'x-original-'];

/** Prefix of a bearer token in the list of WebSocket subprotocols. */
const BEARER_PROTOCOL = 'base64url.bearer.authorization.k8s.io.';

/** The caller's headers that are forwarded to the API server. */
export function requestHeaders(incoming: IncomingHttpHeaders): OutgoingHttpHeaders {
  const named = listed(incoming.connection);
  const outgoing: OutgoingHttpHeaders = {};
  for (const [name, value] of Object.entries(incoming)) {
    if (value === undefined || HOP_BY_HOP.has(name) || IDENTITY.has(name) || named.has(name)) continue;
    if (IDENTITY_PREFIXES.some((prefix) => name.startsWith(prefix)) || METHOD_OVERRIDES.has(name)) continue;
    if (name === 'sec-websocket-protocol') {
      const kept = withoutBearer(value);
      if (kept !== '') outgoing[name] = kept;
      continue;
    }
    outgoing[name] = value;
  }
  return outgoing;
}

/** The headers of an upgrade request. */
export function upgradeHeaders(incoming: IncomingHttpHeaders): OutgoingHttpHeaders {
  return { ...requestHeaders(incoming), connection: 'Upgrade', upgrade: incoming.upgrade ?? '' };
}

/** The API server's headers that are returned to the caller. */
export function responseHeaders(incoming: IncomingHttpHeaders): OutgoingHttpHeaders {
  const named = listed(incoming.connection);
  return Object.fromEntries(
    Object.entries(incoming).filter(([name]) => !HOP_BY_HOP.has(name) && !named.has(name) && name !== 'set-cookie'),
  );
}

/** What a connection can be asked to be. */
const CONNECTION: ReadonlySet<string> = new Set(['', 'keep-alive', 'close', 'upgrade']);

/**
 * Refuses a `Connection` that names other headers: a proxy takes these out, so the API server would
 * read something else than was recorded. @throws InvalidInput
 */
export function requirePlainConnection({ connection }: IncomingHttpHeaders): void {
  const [other] = [...listed(connection)].filter((name) => !CONNECTION.has(name));
  if (other !== undefined) {
    throw new InvalidInput(`Connection: ${other} is not supported; write keep-alive, close or Upgrade`);
  }
}

function listed(connection: string | undefined): ReadonlySet<string> {
  return new Set((connection ?? '').split(',').map((name) => name.trim().toLowerCase()));
}

function withoutBearer(value: string | string[]): string {
  return [value]
    .flat()
    .flatMap((list) => list.split(','))
    .map((protocol) => protocol.trim())
    .filter((protocol) => protocol !== '' && !protocol.startsWith(BEARER_PROTOCOL))
    .join(', ');
}
