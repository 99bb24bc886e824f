// Bytes between TLS connections of one client, the gateway, and the host's Docker socket.
//
// It reads nothing of what passes: the gateway decides what may. This process exists so that
// nothing which others can reach mounts the socket.

import { connect } from 'node:net';
import path from 'node:path';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { messageOf } from '../errors.ts';
import { followCertificates, readCertificates } from '../net/certificate-files.ts';
import { join } from '../net/join.ts';
import type { Logger } from '../observability/logger.ts';

export interface SocketRelayOptions {
  /** The host's Docker socket. */
  readonly socketPath: string;
  /** A folder with ca.crt, tls.crt and tls.key: whose clients are let in, and who this is. */
  readonly tls: string;
  /** The name that the client's certificate must carry. */
  readonly clientName: string;
  readonly logger: Logger;
}

const HANDSHAKE_MS = 10_000;

/**
 * Makes the server; it does not listen yet.
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
  server.on('tlsClientError', (error) => logger.warn({ error: messageOf(error) }, 'a client was not let in'));
  const closed = new AbortController();
  server.once('close', () => closed.abort());
  followCertificates(server, files, { current, logger, signal: closed.signal });
  return server;
}

function relay(client: TLSSocket, { socketPath, clientName, logger }: SocketRelayOptions): void {
  client.on('error', (error) => logger.debug({ error: messageOf(error) }, 'the client is gone'));
  const name = client.getPeerCertificate().subject?.CN;
  if (!client.authorized || name !== clientName) {
    logger.warn({ name }, 'a client was not let in');
    client.destroy();
    return;
  }
  void join(client, connect({ path: socketPath, allowHalfOpen: true }), {
    onFailure: (error) => logger.error({ error: messageOf(error) }, `${socketPath} cannot be reached`),
  });
}
