// Certificates in files, which are replaced while we run: read again by servers and by clients.

import { readFileSync } from 'node:fs';
import { createSecureContext, getCACertificates, type SecureContextOptions } from 'node:tls';
import { InvalidInput, messageOf } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';

/**
 * A certificate and its key; and, where the other side has to show one too, whom it may come from.
 */
export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile?: string;
}

/** What the files hold, in PEM. */
export interface Certificates {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
}

/**
 * How old what was read may get, in milliseconds. The kubelet itself takes up to a minute to swap
 * the files.
 */
const REREAD_MS = 10_000;

/** @throws InvalidInput that names the file */
export function readPem(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new InvalidInput(`the certificate file ${file} cannot be read: ${messageOf(error)}`, error);
  }
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
  /** What the server has been created with. */
  readonly current: Certificates;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  /** Ends the reading. */
  readonly signal: AbortSignal;
  readonly rereadMs?: number;
}

/**
 * Gives a server its certificates anew when the files change. New connections get the new ones, and
 * old connections stay. Files that cannot be read, or whose key belongs to another certificate,
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
      // Fails if the two do not fit, before the server has taken anything of them.
      createSecureContext(options);
      server.setSecureContext(options);
      current = next;
      logger.info({ file: files.certFile }, 'the TLS certificate was read again');
    } catch (error) {
      logger.warn({ error: messageOf(error) }, 'the TLS certificate cannot be read again; the old one is still used');
    }
  };
  const timer = setInterval(reread, rereadMs);
  timer.unref();
  signal.addEventListener('abort', () => clearInterval(timer), { once: true });
}

/**
 * For clients: what `read` returns, read again once it is older than `rereadMs`. What `read` throws
 * is thrown.
 */
export function keepFresh<T>(read: () => T, rereadMs = REREAD_MS): () => T {
  let known: { readonly value: T; readonly until: number } | undefined;
  return () => {
    if (known === undefined || Date.now() >= known.until) known = { value: read(), until: Date.now() + rereadMs };
    return known.value;
  };
}
