// Self-signed certificates for servers and clients on 127.0.0.1.

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const exec = promisify(execFile);

/** A certificate that is its own CA, in PEM. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

/** @param name the common name */
export async function issueCertificate(name: string): Promise<KeyPair> {
  const dir = await mkdtemp(path.join(tmpdir(), 'oplab-certificate-'));
  try {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
    const names = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost'];
    await exec('openssl', ['req', '-x509', ...key, ...names, '-keyout', 'tls.key', '-out', 'tls.crt'], { cwd: dir });
    const read = (file: string) => readFile(path.join(dir, file), 'utf8');
    return { cert: await read('tls.crt'), key: await read('tls.key') };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
