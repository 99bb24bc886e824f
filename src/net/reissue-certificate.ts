// Issues a certificate again: the same names and uses, with another lifetime, key and issuer.
//
// Node's crypto reads certificates and signs bytes, but cannot make a certificate. Since the old one
// has everything that the new one needs, a few fields are replaced and the rest is copied.

import { createPublicKey, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto';
import { contextTag, type DerElement, readDer, TAG, writeDer } from './der.ts';

export interface Reissue {
  /** The old certificate, in PEM. */
  readonly certificate: string;
  /** The key of the new certificate. Its private half stays with the caller. */
  readonly publicKey: KeyObject;
  /** The certificate of the CA, in PEM. To renew a CA itself, the same as `certificate`. */
  readonly issuer: string;
  readonly issuerKey: KeyObject;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** AlgorithmIdentifiers by the type of the key that signs: RSA and ECDSA, both with SHA-256. */
const SIGNATURES: Readonly<Record<string, string>> = {
  rsa: '300d06092a864886f70d01010b0500',
  ec: '300a06082a8648ce3d040302',
};
/** Extensions, by their OIDs. */
const SUBJECT_KEY_IDENTIFIER = '0603551d0e';
const AUTHORITY_KEY_IDENTIFIER = '0603551d23';
const EXTENSIONS = contextTag(3);

/**
 * The new certificate in PEM.
 * @throws Error if the old one cannot be read, or if the new one would not be valid
 */
export function reissueCertificate(order: Reissue): string {
  const old = readFields(order.certificate);
  const issuer = readFields(order.issuer);
  const algorithm = SIGNATURES[order.issuerKey.asymmetricKeyType ?? ''];
  if (algorithm === undefined) throw new Error(`a CA with a key of type ${order.issuerKey.asymmetricKeyType}`);
  const signature = Buffer.from(algorithm, 'hex');
  const key = order.publicKey.export({ type: 'spki', format: 'der' });
  const body = writeDer(
    TAG.sequence,
    old.version,
    writeDer(TAG.integer, serialNumber()),
    signature,
    issuer.subject,
    writeDer(TAG.sequence, time(order.notBefore), time(order.notAfter)),
    old.subject,
    key,
    extensions(old, issuer, key),
  );
  const signed = writeDer(TAG.bitString, Buffer.of(0), sign('sha256', body, order.issuerKey));
  const made = new X509Certificate(writeDer(TAG.sequence, body, signature, signed));
  assertValid(made, order);
  return made.toString();
}

/** The fields of a certificate that the new one is made of, encoded. */
interface Fields {
  readonly version: Buffer;
  readonly subject: Buffer;
  readonly key: Buffer;
  readonly extensions: readonly DerElement[];
}

/** @throws Error for anything but version 3, the only one with extensions */
function readFields(pem: string): Fields {
  const [outer] = readDer(new X509Certificate(pem).raw);
  const [body] = readDer(outer?.content ?? Buffer.alloc(0));
  const [version, , , , , subject, key, ...more] = readDer(body?.content ?? Buffer.alloc(0));
  if (version?.tag !== contextTag(0) || subject === undefined || key === undefined) {
    throw new Error('the certificate is not an X.509 certificate of version 3');
  }
  const list = more.find(({ tag }) => tag === EXTENSIONS)?.content ?? writeDer(TAG.sequence);
  return {
    version: version.whole,
    subject: subject.whole,
    key: key.whole,
    extensions: readDer(readDer(list)[0]?.content ?? Buffer.alloc(0)),
  };
}

const hasId = (id: string) => (extension: DerElement) => extension.content.toString('hex').startsWith(id);

/** Those of the old certificate, with the identifiers of the new keys. */
function extensions(old: Fields, issuer: Fields, key: Buffer): Buffer {
  const kept = old.extensions
    .filter((extension) => !hasId(AUTHORITY_KEY_IDENTIFIER)(extension))
    .filter((extension) => key.equals(old.key) || !hasId(SUBJECT_KEY_IDENTIFIER)(extension))
    .map(({ whole }) => whole);
  const identifier = issuer.extensions.find(hasId(SUBJECT_KEY_IDENTIFIER));
  if (identifier !== undefined) kept.push(authorityKeyIdentifier(identifier));
  return writeDer(EXTENSIONS, writeDer(TAG.sequence, ...kept));
}

function authorityKeyIdentifier(subjectKeyIdentifier: DerElement): Buffer {
  const value = readDer(subjectKeyIdentifier.content).find(({ tag }) => tag === TAG.octetString);
  const [identifier] = readDer(value?.content ?? Buffer.alloc(0));
  const named = writeDer(TAG.sequence, writeDer(0x80, identifier?.content ?? Buffer.alloc(0)));
  return writeDer(TAG.sequence, Buffer.from(AUTHORITY_KEY_IDENTIFIER, 'hex'), writeDer(TAG.octetString, named));
}

/** 127 random bits: positive, and without a leading zero byte. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes.writeUInt8((bytes.readUInt8(0) & 0x7f) | 0x40, 0);
  return bytes;
}

/** RFC 5280, 4.1.2.5: a year before 2050 has two digits. */
function time(date: Date): Buffer {
  const digits = `${date.toISOString().replace(/\.\d+/, '').replaceAll(/[-:T]/g, '')}`;
  return date.getUTCFullYear() < 2050
    ? writeDer(TAG.utcTime, Buffer.from(digits.slice(2), 'ascii'))
    : writeDer(TAG.generalizedTime, Buffer.from(digits, 'ascii'));
}

/** What a client would check, before anybody gets the certificate. */
function assertValid(made: X509Certificate, { certificate, issuer, issuerKey, publicKey }: Reissue): void {
  const [old, ca] = [new X509Certificate(certificate), new X509Certificate(issuer)];
  const isComplete =
    made.publicKey.equals(publicKey) &&
    made.subject === old.subject &&
    made.subjectAltName === old.subjectAltName &&
    made.ca === old.ca;
  if (!isComplete) throw new Error('the new certificate does not say what the old one says');
  if (!createPublicKey(issuerKey).equals(ca.publicKey)) throw new Error("the CA's key does not match its certificate");
  if (!ca.ca || !made.checkIssued(ca) || !made.verify(ca.publicKey)) {
    throw new Error('the CA cannot sign the new certificate');
  }
}
