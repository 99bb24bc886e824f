// An HTTPS server whose certificate is read from files and read again when they change.

import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import { isIP } from 'node:net';
import { InvalidInput, messageOf } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';

export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** How often the files are looked at, in milliseconds. The kubelet itself takes up to a minute to swap them. */
const REREAD_MS = 10_000;

async function read(files: CertificateFiles): Promise<{ cert: string; key: string }> {
  try {
    const [cert, key] = await Promise.all([readFile(files.certFile, 'utf8'), readFile(files.keyFile, 'utf8')]);
    return { cert, key };
  } catch (error) {
    throw new InvalidInput(
      `the certificate ${files.certFile} or its key ${files.keyFile} cannot be read: ${messageOf(error)}`,
      error,
    );
  }
}

/** Creates the server, with time-outs that a slow or silent caller cannot stretch. It does not listen yet. */
export async function createTlsServer(
  files: CertificateFiles,
  handler: (request: IncomingMessage, response: ServerResponse) => void,
  options: {
    logger: Logger;
    signal: AbortSignal /** A caller may end its direction first. */;
    allowHalfOpen?: boolean;
  },
): Promise<https.Server> {
  let current = await read(files);
  const { allowHalfOpen = false } = options;
  const server = https.createServer(
    { ...current, minVersion: 'TLSv1.2', ALPNProtocols: ['http/1.1'], allowHalfOpen },
    handler,
  );
  server.headersTimeout = 15_000;
  // For receiving a request, body included; answers may stream for as long as the lease lives.
  server.requestTimeout = 60_000;
  server.keepAliveTimeout = 75_000;
  server.maxHeadersCount = 200;
  server.on('tlsClientError', (error) => options.logger.debug({ error: messageOf(error) }, 'TLS handshake failed'));
  const timer = setInterval(() => {
    read(files)
      .then((next) => {
        if (next.cert === current.cert && next.key === current.key) return;
        server.setSecureContext({ ...next, minVersion: 'TLSv1.2' });
        current = next;
        options.logger.info('the TLS certificate was read again');
      })
      .catch((error: unknown) => {
        options.logger.warn({ error: messageOf(error) }, 'the TLS certificate cannot be read again; the old one stays');
      });
  }, REREAD_MS);
  timer.unref();
  options.signal.addEventListener('abort', () => clearInterval(timer), { once: true });
  return server;
}

/** Listens, and tells the port (0 picks a free one). */
export async function listen(
  server: import('node:http').Server | https.Server,
  port: number,
  host?: string,
): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : port;
}

/** The name to put into SNI; an IP address has none. */
export function serverNameOf(hostname: string): string | undefined {
  const bare = hostname.replace(/^\[|\]$/g, '');
  return isIP(bare) === 0 ? bare : undefined;
}
