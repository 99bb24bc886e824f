// Verifies AWS Signature Version 4 as AWS describes it, with node:crypto and none of the code that signs:
// "Create a signed AWS API request" of the IAM user guide.

import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

export interface SeenRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

export interface SigningKey {
  readonly secret: string;
  /** Temporary keys have a token, and expire. */
  readonly token?: string;
  readonly expiresAt?: number;
}

export interface SignatureRules {
  readonly region: string;
  readonly service: string;
  readonly keys: ReadonlyMap<string, SigningKey>;
  readonly now?: () => number;
}

/** How far clocks may be apart, in milliseconds. */
const SKEW_MS = 5 * 60_000;
const sha256 = (data: string | Buffer) => createHash('sha256').update(data).digest('hex');
const hmac = (key: string | Buffer, data: string) => createHmac('sha256', key).update(data).digest();
const encode = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

/** Why AWS would refuse the request, as [type, message]; undefined if it is signed well. */
export function findSignatureFault(request: SeenRequest, rules: SignatureRules): readonly [string, string] | undefined {
  const { headers, method, body } = request;
  const [path = '', query = ''] = request.path.split('?');
  const authorization = String(headers.authorization ?? '');
  const [, id, scope, names, signature] =
    /^AWS4-HMAC-SHA256 Credential=([^/,]+)\/([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
      authorization,
    ) ?? [];
  if (id === undefined || scope === undefined || names === undefined || signature === undefined) {
    return ['MissingAuthenticationTokenException', 'Missing Authentication Token'];
  }
  const key = rules.keys.get(id);
  if (key === undefined) {
    return ['UnrecognizedClientException', 'The security token included in the request is invalid.'];
  }
  const now = (rules.now ?? Date.now)();
  if (key.token !== headers['x-amz-security-token']) {
    return ['UnrecognizedClientException', 'The security token included in the request is invalid.'];
  }
  if (key.expiresAt !== undefined && key.expiresAt <= now) {
    return ['ExpiredTokenException', 'The security token included in the request is expired'];
  }
  const date = String(headers['x-amz-date'] ?? '');
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(date) ?? [];
  const at = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (!(Math.abs(at - now) <= SKEW_MS))
    return ['InvalidSignatureException', `Signature not yet current or expired: ${date}`];
  const [scopeDay, region, service, terminator, ...rest] = scope.split('/');
  if (scopeDay !== date.slice(0, 8) || terminator !== 'aws4_request' || rest.length > 0) {
    return ['InvalidSignatureException', 'Date in Credential scope does not match'];
  }
  if (region !== rules.region || service !== rules.service) {
    return ['InvalidSignatureException', `Credential should be scoped to ${rules.region} and ${rules.service}`];
  }
  const signed = names.split(';');
  const mustBeSigned = ['host', ...Object.keys(headers).filter((name) => name.startsWith('x-amz-'))];
  const unsigned = mustBeSigned.find((name) => !signed.includes(name));
  if (unsigned !== undefined) return ['InvalidSignatureException', `'${unsigned}' must be a 'SignedHeader'`];
  const canonicalQuery = query
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => pair.split('=').map((part) => encode(decodeURIComponent(part))))
    .map(([name = '', value = '']) => `${name}=${value}`)
    .sort()
    .join('&');
  const canonical = [
    method,
    // The path is encoded once more, for all services but S3.
    path.split('/').map(encode).join('/'),
    canonicalQuery,
    ...signed.map(
      (name) =>
        `${name}:${String(headers[name] ?? '')
          .trim()
          .replaceAll(/ +/g, ' ')}`,
    ),
    '',
    names,
    sha256(body),
  ].join('\n');
  const toSign = ['AWS4-HMAC-SHA256', date, scope, sha256(canonical)].join('\n');
  const signingKey = [region, service, 'aws4_request'].reduce<Buffer>(
    (derived, part) => hmac(derived, part),
    hmac(`AWS4${key.secret}`, scopeDay),
  );
  if (timingSafeEqual(hmac(signingKey, toSign), Buffer.from(signature, 'hex'))) return undefined;
  return [
    'InvalidSignatureException',
    'The request signature we calculated does not match the signature you provided.',
  ];
}
