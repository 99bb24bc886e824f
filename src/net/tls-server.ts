// Creates an HTTPS server that reads its certificate from files, and again when they change.

import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import type { Server, Socket } from 'node:net';
import { errorMessage } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import { type CertificateFiles, followCertificates, readCertificates } from './certificate-files.ts';

export interface TlsServerOptions {
  readonly logger: Logger;
  /** Stops the reading of the files. */
  readonly signal: AbortSignal;
  /** Whether a caller may end its direction first. */
  readonly allowHalfOpen?: boolean;
  /** Default: 4096 connections, 512 of them from one address. */
  readonly connections?: ConnectionLimits;
}

/** The most connections that may be open at once. More are closed before their TLS handshake. */
export interface ConnectionLimits {
  readonly total: number;
  /**
   * From one remote address. A sandbox is one address; behind a proxy that hides addresses, all
   * callers together are.
   */
  readonly perAddress: number;
}

const CONNECTIONS: ConnectionLimits = { total: 4096, perAddress: 512 };

/**
 * Creates the server, with time limits against slow and silent callers. It does not listen yet.
 * @throws InvalidInput when the files cannot be read
 */
export function createTlsServer(
  files: CertificateFiles,
  handler: (request: IncomingMessage, response: ServerResponse) => void,
  { logger, signal, allowHalfOpen = false, connections = CONNECTIONS }: TlsServerOptions,
): https.Server {
  const current = readCertificates(files);
  const server = https.createServer(
    { ...current, minVersion: 'TLSv1.2', ALPNProtocols: ['http/1.1'], allowHalfOpen },
    handler,
  );
  server.headersTimeout = 15_000;
  // To receive a request with its body. An answer may stream for as long as the lease is alive.
  server.requestTimeout = 60_000;
  server.keepAliveTimeout = 75_000;
  server.maxHeadersCount = 200;
  limitConnections(server, connections, logger);
  server.on('tlsClientError', (error) => logger.debug({ error: errorMessage(error) }, 'TLS handshake failed'));
  followCertificates(server, files, { current, logger, signal });
  return server;
}

function limitConnections(server: Server, { total, perAddress }: ConnectionLimits, logger: Logger): void {
  const open = new Map<string, number>();
  server.maxConnections = total;
  server.on('drop', () => logger.warn({ total }, 'a connection was refused: too many are open'));
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? '';
    const count = (open.get(address) ?? 0) + 1;
    if (count > perAddress) {
      logger.debug({ address, perAddress }, 'a connection was refused: its address has too many open');
      socket.destroy();
      return;
    }
    open.set(address, count);
    socket.once('close', () => {
      const left = (open.get(address) ?? 1) - 1;
      if (left <= 0) open.delete(address);
      else open.set(address, left);
    });
  });
}

/** Listens, and returns the port (0 picks a free one). */
export async function listen(server: Server, port: number, host?: string): Promise<number> {
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
