// Certificates issued again: OpenSSL and TLS take them, with the old and with the new CA.

import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { makeAuthority, verifyWithOpenssl } from '../../test/support/authority.ts';
import { readDer, writeDer } from './der.ts';
import { reissueCertificate } from './reissue-certificate.ts';

const day = 24 * 3600_000;
const validity = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 365 * day) };
const newKey = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;

describe.each(['rsa', 'ec'] as const)('a certificate of a CA with a key of type %s', (type) => {
  const ca = makeAuthority('some-ca', type);
  const issuerKey = createPrivateKey(ca.key);
  const certificate = ca.issue('gateway').cert;

  it('keeps its names and uses, and has another key, serial number and end', () => {
    const publicKey = newKey();
    const made = reissueCertificate({ certificate, publicKey, issuer: ca.cert, issuerKey, ...validity });
    expect(verifyWithOpenssl(ca.cert, made)).toContain('OK');
    const [old, renewed] = [new X509Certificate(certificate), new X509Certificate(made)];
    expect(renewed.publicKey.equals(publicKey)).toBe(true);
    expect(renewed.serialNumber).not.toBe(old.serialNumber);
    for (const field of ['subject', 'issuer', 'subjectAltName', 'keyUsage', 'ca'] as const)
      expect(renewed[field], field).toEqual(old[field]);
    expect(Math.abs(Date.parse(renewed.validTo) - validity.notAfter.getTime())).toBeLessThan(1000);
  });

  it('is verified by the old and the new certificate of its CA, before and after it is issued again', () => {
    const { publicKey } = new X509Certificate(ca.cert);
    const renewedCa = reissueCertificate({
      certificate: ca.cert,
      publicKey,
      issuer: ca.cert,
      issuerKey,
      ...validity,
    });
    const issue = (issuer: string) =>
      reissueCertificate({ certificate, publicKey: newKey(), issuer, issuerKey, ...validity });
    for (const trusted of [ca.cert, renewedCa])
      for (const used of [certificate, issue(ca.cert), issue(renewedCa)])
        expect(verifyWithOpenssl(trusted, used)).toContain('OK');
  });

  it('can move to a CA with another key of the same name', () => {
    const next = makeAuthority('some-ca', type);
    const nextKey = createPrivateKey(next.key);
    const order = { certificate, publicKey: newKey(), issuer: next.cert, issuerKey: nextKey, ...validity };
    const made = reissueCertificate(order);
    expect(verifyWithOpenssl(next.cert, made)).toContain('OK');
    expect(() => verifyWithOpenssl(next.cert, certificate)).toThrow();
    for (const used of [made, certificate])
      for (const both of [ca.cert + next.cert, next.cert + ca.cert])
        expect(verifyWithOpenssl(both, used)).toContain('OK');
  });

  it('may end after 2049, where dates have another form', () => {
    const notAfter = new Date('2061-02-03T04:05:06Z');
    const order = { certificate, publicKey: newKey(), issuer: ca.cert, issuerKey };
    const made = reissueCertificate({ ...order, ...validity, notAfter });
    expect(Date.parse(new X509Certificate(made).validTo)).toBe(notAfter.getTime());
  });
});

it("no certificate is issued with a key that is not its CA's, by who is no CA, or for what is none", () => {
  const ca = makeAuthority('ca-a', 'ec');
  const leaf = ca.issue('gateway');
  const order = {
    certificate: leaf.cert,
    publicKey: newKey(),
    issuer: ca.cert,
    issuerKey: createPrivateKey(ca.key),
    ...validity,
  };
  const other = createPrivateKey(makeAuthority('ca-a', 'ec').key);
  expect(() => reissueCertificate({ ...order, issuerKey: other })).toThrow("the CA's key does not match");
  const itself = { issuer: leaf.cert, issuerKey: createPrivateKey(leaf.key) };
  expect(() => reissueCertificate({ ...order, ...itself })).toThrow('the CA cannot sign');
  const ed25519 = generateKeyPairSync('ed25519').privateKey;
  expect(() => reissueCertificate({ ...order, issuerKey: ed25519 })).toThrow('a CA with a key of type ed25519');
  expect(() => reissueCertificate({ ...order, certificate: 'nothing' })).toThrow();
});

describe('DER', () => {
  it.each([0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000])('holds %d bytes', (length) => {
    const content = Buffer.alloc(length, 7);
    const [element, ...more] = readDer(writeDer(4, content));
    expect(element).toMatchObject({ tag: 4, content });
    expect(more).toEqual([]);
  });

  it.each([['3080'], ['30850000000001'], ['300501'], ['30'], ['308201']])('refuses %s', (hex) => {
    expect(() => readDer(Buffer.from(hex, 'hex'))).toThrow();
  });
});
