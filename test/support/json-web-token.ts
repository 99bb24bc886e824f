// JSON web tokens as a cluster and a service account sign them, and their verification.

import { createPublicKey, createSign, createVerify, type JsonWebKey, type KeyObject } from 'node:crypto';
import * as z from 'zod';

const head = z.looseObject({ alg: z.literal('RS256'), kid: z.string().optional() });
const claims = z.looseObject({
  iss: z.string().optional(),
  sub: z.string().optional(),
  aud: z.union([z.string(), z.array(z.string())]).optional(),
  exp: z.number(),
  scope: z.string().optional(),
});
export type Claims = z.infer<typeof claims>;

/** A public key in PEM, or keys as a cluster publishes them at /openid/v1/jwks. */
export type TrustedKeys = KeyObject | { readonly keys: readonly (JsonWebKey & { readonly kid?: string })[] };

const parse = (part: string | undefined) => JSON.parse(Buffer.from(part ?? '', 'base64url').toString('utf8'));

/** The claims of a token that is signed by one of the keys and has not expired. @throws if it is not */
export function verifyToken(token: string, trusted: TrustedKeys, audience: string, now = Date.now()): Claims {
  const [first, second, signature = ''] = token.split('.');
  const { kid } = head.parse(parse(first));
  const keys =
    'keys' in trusted ? trusted.keys.filter((key) => key.kid === kid).map((key) => publicKey(key)) : [trusted];
  const isSigned = keys.some((key) =>
    createVerify('RSA-SHA256').update(`${first}.${second}`).verify(key, Buffer.from(signature, 'base64url')),
  );
  if (!isSigned) throw new Error('the token is signed by nobody who is trusted');
  const said = claims.parse(parse(second));
  if (said.exp * 1000 <= now) throw new Error('the token has expired');
  if (![said.aud ?? []].flat().includes(audience)) throw new Error(`the token is for ${said.aud}, not for ${audience}`);
  return said;
}

function publicKey(key: JsonWebKey): KeyObject {
  return createPublicKey({ key, format: 'jwk' });
}

export function signToken(said: Readonly<Record<string, unknown>>, key: KeyObject): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part({ alg: 'RS256', typ: 'JWT' })}.${part(said)}`;
  return `${text}.${createSign('RSA-SHA256').update(text).sign(key).toString('base64url')}`;
}
