// Decides when a certificate is renewed, and what is trusted meanwhile. Pure, except for new keys.

import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { reissueCertificate } from '../../net/reissue-certificate.ts';

/** A certificate and its key, in PEM. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

/** How long new certificates are valid, in milliseconds. */
export interface Lifetimes {
  readonly leaf: number;
  readonly authority: number;
}

const DAY_MS = 24 * 3600 * 1000;
export const LIFETIMES: Lifetimes = { leaf: 365 * DAY_MS, authority: 3650 * DAY_MS };
/** For clocks that are late. */
const MAX_BACKDATE_MS = 5 * 60 * 1000;

const begin = (certificate: X509Certificate) => Date.parse(certificate.validFrom);
const end = (certificate: X509Certificate) => Date.parse(certificate.validTo);

/** Whether less than a third of its life is left. */
export function isDue(pem: string, now: number): boolean {
  const certificate = new X509Certificate(pem);
  return end(certificate) - now < (end(certificate) - begin(certificate)) / 3;
}

/**
 * Whether everybody who verifies the leaf trusts the CA by now: always if the CA's key has signed
 * the leaf that is in use. A CA with a new key must have been published for a day, which is longer
 * than any process keeps the CAs that it read. A leaf that is about to end has nothing to lose.
 */
export function canSign(authority: string, leaf: string, now: number): boolean {
  const [ca, used] = [new X509Certificate(authority), new X509Certificate(leaf)];
  return used.verify(ca.publicKey) || now - begin(ca) > DAY_MS || end(used) - now < DAY_MS;
}

/**
 * The CA's certificate with another end. It keeps its key, so that old and new certificates of the
 * CA verify old and new leaves alike.
 */
export function renewAuthority({ cert, key }: KeyPair, now: number, lifetimes: Lifetimes): KeyPair {
  const issuerKey = createPrivateKey(key);
  const { publicKey } = new X509Certificate(cert);
  const validity = validityFrom(now, lifetimes.authority);
  return { cert: reissueCertificate({ certificate: cert, publicKey, issuer: cert, issuerKey, ...validity }), key };
}

/** A leaf with the names of the old one, and a new key. It ends with its CA at the latest. */
export function renewLeaf(cert: string, authority: KeyPair, now: number, lifetimes: Lifetimes): KeyPair {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { notBefore, notAfter } = validityFrom(now, lifetimes.leaf);
  const last = end(new X509Certificate(authority.cert));
  return {
    cert: reissueCertificate({
      certificate: cert,
      publicKey,
      issuer: authority.cert,
      issuerKey: createPrivateKey(authority.key),
      notBefore,
      notAfter: new Date(Math.min(notAfter.getTime(), last)),
    }),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

function validityFrom(now: number, lifetime: number): { readonly notBefore: Date; readonly notAfter: Date } {
  const backdate = Math.min(MAX_BACKDATE_MS, lifetime / 10);
  return { notBefore: new Date(now - backdate), notAfter: new Date(now + lifetime) };
}

/**
 * The trusted CAs with this one: in place of its older certificate with the same key, or behind the
 * others. Others stay until they end, because certificates that they signed may still be in use.
 */
export function withAuthority(bundle: string, authority: string, now: number): string {
  const { publicKey } = new X509Certificate(authority);
  const blocks = bundle.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  const kept = blocks.flatMap((block) => {
    const certificate = new X509Certificate(block);
    if (certificate.publicKey.equals(publicKey)) return [authority.trim()];
    return end(certificate) > now ? [block] : [];
  });
  const trusted = new Set(kept).add(authority.trim());
  return `${[...trusted].join('\n')}\n`;
}
