// Bytes between TLS connections of one client, the gateway, and the host's Docker socket. It reads nothing of what passes.
//
// What may pass is decided by the gateway; this process exists so that the socket is mounted by nothing that anybody else can reach.

import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { createServer, type SecureContextOptions, type Server, type TLSSocket } from 'node:tls';
import { messageOf } from '../errors.ts';
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

/** How often the certificate files are looked at, in milliseconds. */
const REREAD_MS = 10_000;
const HANDSHAKE_MS = 10_000;
/** Once the daemon has said that it is over, in milliseconds. */
const LINGER_MS = 2000;

function read(folder: string): SecureContextOptions & { cert: string } {
  const file = (name: string) => readFileSync(path.join(folder, name), 'utf8');
  return { ca: file('ca.crt'), cert: file('tls.crt'), key: file('tls.key'), minVersion: 'TLSv1.2' };
}

/** Makes the server; it does not listen yet. @throws when the certificates cannot be read */
export function createSocketRelay(options: SocketRelayOptions): Server {
  const { logger } = options;
  let current = read(options.tls);
  const server = createServer(
    {
      ...current,
      requestCert: true,
      rejectUnauthorized: true,
      ALPNProtocols: ['http/1.1'],
      handshakeTimeout: HANDSHAKE_MS,
      allowHalfOpen: true,
    },
    (client) => carry(client, options),
  );
  server.on('tlsClientError', (error) => logger.warn({ error: messageOf(error) }, 'a client was not let in'));
  const timer = setInterval(() => {
    try {
      const next = read(options.tls);
      if (next.cert === current.cert) return;
      current = next;
      server.setSecureContext(next);
      logger.info('the TLS certificate was read again');
    } catch (error) {
      logger.warn({ error: messageOf(error) }, 'the TLS certificate cannot be read again; the old one stays');
    }
  }, REREAD_MS);
  timer.unref();
  server.once('close', () => clearInterval(timer));
  return server;
}

function carry(client: TLSSocket, { socketPath, clientName, logger }: SocketRelayOptions): void {
  client.on('error', (error) => logger.debug({ error: messageOf(error) }, 'the client is gone'));
  const name = client.getPeerCertificate().subject?.CN;
  if (!client.authorized || name !== clientName) {
    logger.warn({ name }, 'a client was not let in');
    client.destroy();
    return;
  }
  const daemon = connect({ path: socketPath, allowHalfOpen: true });
  const both = () => {
    client.destroy();
    daemon.destroy();
  };
  let over = false;
  daemon.on('error', (error) => {
    // After its last word the daemon may go as it likes: what it said is still on the way.
    if (over) return;
    logger.error({ error: messageOf(error) }, `${socketPath} cannot be reached`);
    both();
  });
  client.once('close', both);
  client.pipe(daemon);
  daemon.pipe(client);
  // The daemon decides when a connection is over; what the client still has to say is of no use then.
  daemon.once('end', () => {
    over = true;
    daemon.end();
  });
  daemon.once('close', () => client.end());
  client.once('finish', () => setTimeout(both, LINGER_MS).unref());
}
