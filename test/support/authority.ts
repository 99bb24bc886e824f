// A CA as the chart makes it, and what it signs. OpenSSL makes and verifies them.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { KeyPair } from './certificates.ts';

export type KeyType = 'rsa' | 'ec';
const KEYS = { rsa: ['rsa:2048'], ec: ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'] } as const;

export interface TestAuthority extends KeyPair {
  /** Signs a certificate for `gateway.svc`, `localhost`, 127.0.0.1, and more hosts. */
  issue(name: string, days?: number, hosts?: readonly string[]): KeyPair;
}

/** Runs OpenSSL on files with these contents. @returns its output, and the files it was to make */
function openssl(args: readonly string[], files: Readonly<Record<string, string>>, made: readonly string[] = []) {
  const cwd = mkdtempSync(path.join(tmpdir(), 'oplab-openssl-'));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(path.join(cwd, name), text);
    const output = execFileSync('openssl', args, { cwd, encoding: 'utf8', stdio: 'pipe' });
    return { output, made: made.map((name) => readFileSync(path.join(cwd, name), 'utf8')) };
  } finally {
    rmSync(cwd, { recursive: true, force: true });
  }
}

function request(type: KeyType, name: string, days: number, more: readonly string[], files = {}): KeyPair {
  const key = ['-newkey', ...KEYS[type], '-nodes', '-keyout', 'made.key', '-out', 'made.crt'];
  const args = ['req', '-x509', ...key, '-subj', `/CN=${name}`, '-days', String(days), ...more];
  const [cert = '', made = ''] = openssl(args, files, ['made.crt', 'made.key']).made;
  return { cert, key: made };
}

export function makeAuthority(name: string, type: KeyType = 'rsa', days = 30): TestAuthority {
  const ca = request(type, name, days, ['-addext', 'keyUsage=critical,keyCertSign,digitalSignature']);
  const files = { 'ca.crt': ca.cert, 'ca.key': ca.key };
  const extensions = (hosts: readonly string[]) => [
    `subjectAltName=${['gateway.svc', 'localhost', ...hosts].map((host) => `DNS:${host}`).join(',')},IP:127.0.0.1`,
    'extendedKeyUsage=serverAuth,clientAuth',
    'keyUsage=digitalSignature,keyEncipherment',
    'basicConstraints=critical,CA:FALSE',
  ];
  const signed = (hosts: readonly string[]) => [
    ...['-CA', 'ca.crt', '-CAkey', 'ca.key'],
    ...extensions(hosts).flatMap((extension) => ['-addext', extension]),
  ];
  return { ...ca, issue: (leaf, leafDays = 1, hosts = []) => request(type, leaf, leafDays, signed(hosts), files) };
}

/** Whether OpenSSL, which is strict here, takes the certificate for a server. @throws what it says */
export function verifyWithOpenssl(ca: string, leaf: string): string {
  const args = ['verify', '-x509_strict', '-CAfile', 'ca.crt', '-purpose', 'sslserver', 'leaf.crt'];
  return openssl(args, { 'ca.crt': ca, 'leaf.crt': leaf }).output;
}
