// Forwards bytes between TLS connections of one client, the gateway, and the host's Docker socket.
//
// It does not read them: the gateway decides which requests may pass. This is a separate process so
// that the socket is not mounted into a process that other clients can reach.

import { connect } from 'node:net';
import path from 'node:path';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { errorMessage } from '../errors.ts';
import { followCertificates, readCertificates } from '../net/certificate-files.ts';
import { join } from '../net/join.ts';
import type { Logger } from '../observability/logger.ts';

export interface SocketRelayOptions {
  /** The host's Docker socket. */
  readonly socketPath: string;
  /** A folder with the CA of clients (ca.crt) and the server's certificate (tls.crt, tls.key). */
  readonly tls: string;
  /** The common name that the client's certificate must have. */
  readonly clientName: string;
  readonly logger: Logger;
}

const HANDSHAKE_MS = 10_000;

/**
 * Creates the server. It does not listen yet.
 * @throws InvalidInput when the certificates cannot be read
 */
export function createSocketRelay(options: SocketRelayOptions): Server {
  const { logger } = options;
  const files = {
    caFile: path.join(options.tls, 'ca.crt'),
    certFile: path.join(options.tls, 'tls.crt'),
    keyFile: path.join(options.tls, 'tls.key'),
  };
  const current = readCertificates(files);
  const server = createServer(
    {
      ...current,
      minVersion: 'TLSv1.2',
      requestCert: true,
      rejectUnauthorized: true,
      ALPNProtocols: ['http/1.1'],
      handshakeTimeout: HANDSHAKE_MS,
      allowHalfOpen: true,
    },
    (client) => relay(client, options),
  );
  server.on('tlsClientError', (error) => logger.warn({ error: errorMessage(error) }, 'a client was rejected'));
  const closed = new AbortController();
  server.once('close', () => closed.abort());
  followCertificates(server, files, { current, logger, signal: closed.signal });
  return server;
}

function relay(client: TLSSocket, { socketPath, clientName, logger }: SocketRelayOptions): void {
  client.on('error', (error) => logger.debug({ error: errorMessage(error) }, 'the client disconnected'));
  const name = client.getPeerCertificate().subject?.CN;
  if (!client.authorized || name !== clientName) {
    logger.warn({ name }, 'a client was rejected');
    client.destroy();
    return;
  }
  void join(client, connect({ path: socketPath, allowHalfOpen: true }), {
    onFailure: (error) => logger.error({ error: errorMessage(error) }, `${socketPath} cannot be reached`),
  });
}
