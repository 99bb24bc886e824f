// Reads certificates from files, and reads them again when they are replaced.

import { readFileSync } from 'node:fs';
import { createSecureContext, getCACertificates, type SecureContextOptions } from 'node:tls';
import { errorMessage, InvalidInput } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';

/** A certificate and its key, and the CA of the other side's certificate if it must present one. */
export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile?: string;
}

/** The contents of the files, in PEM. */
export interface Certificates {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
}

/**
 * How often the files are read again, in milliseconds. The kubelet takes up to a minute to replace
 * them.
 */
const REREAD_MS = 10_000;

/**
 * Reads certificates or a key in PEM. A file that is being replaced may be empty for a moment, and
 * Node takes an empty certificate for none, and an empty CA for the public ones.
 * @throws InvalidInput that names the file
 */
export function readPem(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new InvalidInput(`the certificate file ${file} cannot be read: ${errorMessage(error)}`, error);
  }
  if (!/-----BEGIN [^-]+-----[\s\S]+-----END [^-]+-----/.test(text)) {
    throw new InvalidInput(`the certificate file ${file} has no PEM block; is it being written?`);
  }
  return text;
}

/** @throws InvalidInput that names the file */
export function readCertificates({ certFile, keyFile, caFile }: CertificateFiles): Certificates {
  return {
    cert: readPem(certFile),
    key: readPem(keyFile),
    ...(caFile === undefined ? {} : { ca: readPem(caFile) }),
  };
}

/** Adds a CA to the public ones. */
export function trustBesidesPublic(ca: string): string[] {
  return [...getCACertificates('default'), ca];
}

export interface FollowOptions {
  /** The certificates that the server was created with. */
  readonly current: Certificates;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  /** Stops the reading. */
  readonly signal: AbortSignal;
  readonly rereadMs?: number;
}

/**
 * Gives a server its new certificates when the files change. New connections use them; existing
 * connections continue. Files that cannot be read, or whose key does not match the certificate,
 * change nothing.
 */
export function followCertificates(
  server: { setSecureContext(options: SecureContextOptions): void },
  files: CertificateFiles,
  { current: first, logger, signal, rereadMs = REREAD_MS }: FollowOptions,
): void {
  let current = first;
  const reread = () => {
    try {
      const next = readCertificates(files);
      if (next.cert === current.cert && next.key === current.key && next.ca === current.ca) return;
      const options: SecureContextOptions = { ...next, minVersion: 'TLSv1.2' };
      // Fails if the key does not match, before the server has accepted either of them.
      createSecureContext(options);
      server.setSecureContext(options);
      current = next;
      logger.info({ file: files.certFile }, 'the TLS certificate was read again');
    } catch (error) {
      logger.warn(
        { error: errorMessage(error) },
        'the TLS certificate cannot be read again; the old one is still used',
      );
    }
  };
  const timer = setInterval(reread, rereadMs);
  timer.unref();
  signal.addEventListener('abort', () => clearInterval(timer), { once: true });
}

/**
 * For clients: returns the result of `read`, and calls it again once the result is older than
 * `rereadMs`. Errors of `read` are thrown.
 */
export function keepFresh<T>(read: () => T, rereadMs = REREAD_MS): () => T {
  let known: { readonly value: T; readonly until: number } | undefined;
  return () => {
    if (known === undefined || Date.now() >= known.until) known = { value: read(), until: Date.now() + rereadMs };
    return known.value;
  };
}
