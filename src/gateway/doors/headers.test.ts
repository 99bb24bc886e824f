// Forwarded headers do not contain what a caller may not say about itself.

import { describe, expect, it } from 'vitest';
import { requestHeaders, responseHeaders, upgradeHeaders } from './headers.ts';

describe('requestHeaders', () => {
  it('removes headers that claim an identity or belong to the connection', () => {
    const headers = requestHeaders({
      authorization: 'Bearer x',
      cookie: 'a=b',
      'impersonate-user': 'admin',
      'impersonate-extra-scopes': 'all',
      'x-remote-group': 'system:masters',
      'x-forwarded-for': '1.2.3.4',
      'x-http-method-override': 'DELETE',
      connection: 'keep-alive, x-hop',
      'x-hop': '1',
      'transfer-encoding': 'chunked',
      host: 'gateway',
      accept: 'application/json',
      'user-agent': 'kubectl',
    });
    expect(headers).toEqual({ accept: 'application/json', 'user-agent': 'kubectl' });
  });

  it('removes a token from the WebSocket subprotocols and keeps the others', () => {
    const offered = 'v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.c2VjcmV0, v4.channel.k8s.io';
    expect(upgradeHeaders({ upgrade: 'websocket', 'sec-websocket-protocol': offered })).toEqual({
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-protocol': 'v5.channel.k8s.io, v4.channel.k8s.io',
    });
    expect(requestHeaders({ 'sec-websocket-protocol': 'base64url.bearer.authorization.k8s.io.x' })).toEqual({});
  });
});

describe('responseHeaders', () => {
  it('keeps the headers that clients read', () => {
    expect(
      responseHeaders({
        'content-type': 'application/json',
        warning: '299 - "old"',
        connection: 'close',
        'audit-id': '1',
      }),
    ).toEqual({
      'content-type': 'application/json',
      warning: '299 - "old"',
      'audit-id': '1',
    });
  });
});
