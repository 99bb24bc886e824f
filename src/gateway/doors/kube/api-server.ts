// Requests to the API server, made with its CA but never with the gateway's own credentials.

import http from 'node:http';
import https from 'node:https';
import { isIP } from 'node:net';
import type { KubeServer } from '../../../kube/client.ts';

export interface ApiServer {
  /** Creates a request authenticated by `token`. The caller must end it. */
  request(options: {
    method: string;
    /** Path and query as received from the caller. */
    path: string;
    headers: http.OutgoingHttpHeaders;
    token: string;
    /** Use a separate connection, for a request that is spliced. */
    own?: boolean;
  }): http.ClientRequest;
  close(): void;
}

/** How long the CA and TLS settings are used before they are read again, in milliseconds. */
const REREAD_MS = 10_000;

export function createApiServer(server: KubeServer): ApiServer {
  const secure = server.url.protocol === 'https:';
  const agent = secure ? new https.Agent({ keepAlive: true }) : new http.Agent({ keepAlive: true });
  const root = server.url.pathname.replace(/\/$/, '');
  const hostname = server.url.hostname.replace(/^\[|\]$/g, '');
  let trusted: { until: number; options: https.RequestOptions } | undefined;
  const trust = () => {
    if (trusted === undefined || Date.now() >= trusted.until) {
      // Only the CA: with the gateway's client certificate, the caller would act as the gateway.
      const { ca, rejectUnauthorized, servername = isIP(hostname) === 0 ? hostname : undefined } = server.tls();
      trusted = {
        until: Date.now() + REREAD_MS,
        options: {
          ...(ca === undefined ? {} : { ca }),
          ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
          ...(servername === undefined ? {} : { servername }),
        },
      };
    }
    return trusted.options;
  };
  return {
    request({ method, path, headers, token, own }) {
      const request = (secure ? https : http).request({
        method,
        host: hostname,
        port: server.url.port || (secure ? 443 : 80),
        path: root + path,
        headers: { ...headers, host: server.url.host, authorization: `Bearer ${token}` },
        agent: own ? false : agent,
        // With HTTP/2, the connection could not be upgraded.
        ...(secure ? { ...trust(), ALPNProtocols: ['http/1.1'] } : {}),
      });
      request.on('socket', (socket) => {
        socket.setKeepAlive(true, 30_000);
        socket.setNoDelay(true);
      });
      return request;
    },
    close() {
      agent.destroy();
    },
  };
}
