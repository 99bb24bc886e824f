// Requests to the API server, made with its CA but never with the gateway's own credentials.

import type { KubeServer } from '../../../kube/client.ts';
import { keepFresh } from '../../../net/certificate-files.ts';
import { createAgent, type OutgoingRequest, openRequest, type TimeLimits } from '../../../net/request.ts';
import type { ForwardedRequest } from '../door.ts';

export interface ApiServerOptions {
  readonly token: string;
  readonly limits: TimeLimits;
  /** Use a separate connection, for a request that is spliced. */
  readonly own?: boolean;
}

export interface ApiServer {
  /** Opens a request authenticated by `token`. */
  request(request: ForwardedRequest, options: ApiServerOptions): OutgoingRequest;
  close(): void;
}

export function createApiServer(server: Pick<KubeServer, 'url' | 'tls'>): ApiServer {
  const { url } = server;
  const agent = createAgent(url);
  const root = url.pathname.replace(/\/$/, '');
  const trust = keepFresh(() => {
    // Only the CA: with the gateway's client certificate, the caller would act as the gateway.
    const { ca, rejectUnauthorized, servername } = server.tls();
    return {
      ...(ca === undefined ? {} : { ca }),
      ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
      ...(servername === undefined ? {} : { servername }),
    };
  });
  return {
    request({ method, path, headers }, { token, limits, own = false }) {
      return openRequest({
        url,
        method,
        path: root + path,
        headers: { ...headers, host: url.host, authorization: `Bearer ${token}` },
        limits,
        ...(url.protocol === 'https:' ? { tls: trust() } : {}),
        ...(own ? {} : { agent }),
      });
    },
    close() {
      agent.destroy();
    },
  };
}
