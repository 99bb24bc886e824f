// The way to the API server shows the attempt's token, and nothing of the gateway's own.

import { once } from 'node:events';
import https from 'node:https';
import { TLSSocket } from 'node:tls';
import { expect, it } from 'vitest';
import { issueCertificate } from '../../../../test/support/certificates.ts';
import { createApiServer } from './api-server.ts';

it.each([false, true])(
  'never presents the client certificate of the gateway (a connection of its own: %s)',
  async (own) => {
    const [server, gateway] = await Promise.all([issueCertificate('api-server'), issueCertificate('gateway')]);
    const seen: unknown[] = [];
    // Asks for a certificate, and takes callers that have none, as the API server does.
    const listening = https.createServer(
      { ...server, ca: gateway.cert, requestCert: true, rejectUnauthorized: false },
      ({ socket, headers }, response) => {
        const shown = socket instanceof TLSSocket ? socket.getPeerCertificate() : undefined;
        seen.push({ subject: shown?.subject, authorization: headers.authorization });
        response.end();
      },
    );
    listening.listen(0, '127.0.0.1');
    await once(listening, 'listening');
    const address = listening.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const apiServer = createApiServer({
      url: new URL(`https://127.0.0.1:${port}`),
      tls: () => ({ ca: server.cert, cert: gateway.cert, key: gateway.key }),
    });
    const request = { method: 'GET', path: '/api', headers: {}, body: Buffer.alloc(0) };
    const outgoing = apiServer.request(request, { token: 'attempt', limits: { head: 5000 }, own });
    outgoing.body.end();
    (await outgoing.receiveResponse()).resume();
    expect(seen).toEqual([{ subject: undefined, authorization: 'Bearer attempt' }]);
    apiServer.close();
    listening.closeAllConnections();
    listening.close();
  },
);
