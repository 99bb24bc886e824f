// Doubles of the places where companies have Claude: each checks the credential of a request as the
// real one does, and passes what is left on to a server of the plain Messages API, whichever it is.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { KeyPair } from './certificates.ts';
import { type TrustedKeys, verifyToken } from './json-web-token.ts';
import { findSignatureFault, type SeenRequest, type SignatureRules, type SigningKey } from './sigv4-wall.ts';

export interface Answer {
  readonly status: number;
  readonly body: object | string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What a plain server of the Messages API is asked instead. */
export interface Passed {
  readonly path: string;
  readonly body: Buffer;
  /** The `anthropic-version` of a provider that has none. Default: that of the request. */
  readonly version?: string;
}

/** Answers a request, or lets it pass. */
export type Wall = (request: SeenRequest) => Answer | Passed;

export interface DoubleOptions {
  readonly wall: Wall;
  /** The server of the Messages API behind the wall. */
  readonly forwardTo?: string | Promise<string>;
  readonly tls?: KeyPair;
  readonly host?: string;
  readonly port?: number;
}

export interface ProviderDouble {
  readonly url: string;
  readonly port: number;
  readonly requests: readonly SeenRequest[];
  /** The statuses of the wall's own answers; 0 for what passed. */
  readonly verdicts: readonly number[];
  close(): Promise<void>;
}

export async function startProviderDouble(options: DoubleOptions): Promise<ProviderDouble> {
  const { wall, forwardTo, tls, host = '127.0.0.1', port = 0 } = options;
  const requests: SeenRequest[] = [];
  const verdicts: number[] = [];
  const serve = async (incoming: IncomingMessage, response: ServerResponse) => {
    const { method = '', url: path = '', headers } = incoming;
    const seen: SeenRequest = { method, path, headers, body: await buffer(incoming) };
    requests.push(seen);
    const verdict = wall(seen);
    verdicts.push('status' in verdict ? verdict.status : 0);
    if ('status' in verdict) {
      const isText = typeof verdict.body === 'string';
      response.writeHead(verdict.status, {
        'content-type': isText ? 'text/xml' : 'application/json',
        ...verdict.headers,
      });
      response.end(isText ? verdict.body : JSON.stringify(verdict.body));
      return;
    }
    const { authorization: _, 'x-api-key': __, ...others } = headers;
    const forwarded = await fetch(`${await forwardTo}${verdict.path}`, {
      method,
      headers: {
        'content-type': 'application/json',
        'anthropic-version': verdict.version ?? String(others['anthropic-version'] ?? ''),
      },
      ...(method === 'GET' ? {} : { body: new Uint8Array(verdict.body) }),
    });
    response.writeHead(forwarded.status, { 'content-type': forwarded.headers.get('content-type') ?? '' });
    for await (const piece of forwarded.body ?? []) response.write(piece);
    response.end();
  };
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    serve(request, response).catch(() => response.destroy());
  };
  const server = tls === undefined ? createServer(listener) : https.createServer({ ...tls }, listener);
  server.listen(port, host);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the double has no port');
  return {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${address.port}`,
    port: address.port,
    requests,
    verdicts,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A proxy that leads every name to one port of this machine, and keeps what it could read of the traffic. */
export async function startProxy(port: number) {
  const tunnels: string[] = [];
  let read = '';
  const server = createServer((_request, response) => void response.writeHead(405).end());
  server.on('connect', (request, socket) => {
    tunnels.push(request.url ?? '');
    const onward = net.connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      onward.pipe(socket);
      socket.pipe(onward);
    });
    socket.on('data', (piece: Buffer) => {
      read += piece.toString('latin1');
    });
    for (const end of [socket, onward]) end.on('error', () => end.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    tunnels,
    read: () => read,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const anthropicError = (status: number, type: string, message: string): Answer => ({
  status,
  body: { type: 'error', error: { type, message }, request_id: `req_${randomBytes(6).toString('hex')}` },
});

/** A server that takes its key only as `Authorization: Bearer`, such as vLLM. */
export function bearerWall(key: string): Wall {
  return ({ headers, path, body }) =>
    headers.authorization === `Bearer ${key}`
      ? { path, body }
      : { status: 401, body: { error: 'Unauthorized' }, headers: { 'www-authenticate': 'Bearer' } };
}

const awsError = (type: string, message: string, status = 403): Answer => ({
  status,
  body: { __type: type, message },
  headers: { 'x-amzn-errortype': type },
});

/** Claude in Amazon Bedrock. It is strict about what it was asked, and knows models by its own names. */
export function bedrockWall(rules: SignatureRules): Wall {
  return (request) => {
    const fault = findSignatureFault(request, rules);
    if (fault !== undefined) return awsError(...fault);
    if (!/^\/anthropic\/v1\/messages(\?beta=true)?$/.test(request.path))
      return awsError('UnknownOperationException', '', 404);
    if (request.headers['anthropic-version'] === undefined) {
      return anthropicError(400, 'invalid_request_error', 'anthropic-version: header is required');
    }
    const { model } = JSON.parse(request.body.toString('utf8'));
    if (!/^(?:[a-z]+\.)?anthropic\.claude-/.test(String(model))) {
      return anthropicError(404, 'not_found_error', `The model '${model}' does not exist`);
    }
    return { path: request.path.replace('/anthropic', ''), body: request.body };
  };
}

export interface IssuedKeys {
  readonly keys: Map<string, SigningKey>;
  /** How long the next keys live, in milliseconds. */
  lifeMs: number;
}

function issueKeys(issued: IssuedKeys) {
  const id = `ASIA${randomBytes(8).toString('hex').toUpperCase()}`;
  const secret = randomBytes(20).toString('hex');
  const token = randomBytes(60).toString('base64');
  const expiresAt = Date.now() + issued.lifeMs;
  issued.keys.set(id, { secret, token, expiresAt });
  return { id, secret, token, expiration: new Date(expiresAt).toISOString().replace(/\.\d+Z$/, 'Z') };
}

export interface RoleRules {
  readonly roleARN: string;
  readonly subject: string;
  readonly trusted: TrustedKeys;
  readonly issued: IssuedKeys;
}

const stsError = (status: number, code: string, message: string): Answer => ({
  status,
  body: `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error><RequestId>r</RequestId></ErrorResponse>`,
});

/** AWS STS: keys of a role for a token of a ServiceAccount. */
export function stsWall({ roleARN, subject, trusted, issued }: RoleRules): Wall {
  return ({ body }) => {
    const form = new URLSearchParams(body.toString('utf8'));
    if (form.get('Action') !== 'AssumeRoleWithWebIdentity') return stsError(400, 'InvalidAction', 'no such action');
    try {
      const { sub } = verifyToken(form.get('WebIdentityToken') ?? '', trusted, 'sts.amazonaws.com');
      if (sub !== subject || form.get('RoleArn') !== roleARN) {
        return stsError(403, 'AccessDenied', 'Not authorized to perform sts:AssumeRoleWithWebIdentity');
      }
    } catch (error) {
      const message = error instanceof Error ? error.message : '';
      const code = message.includes('expired') ? 'ExpiredTokenException' : 'InvalidIdentityToken';
      return stsError(400, code, message);
    }
    const { id, secret, token, expiration } = issueKeys(issued);
    const credentials = `<Credentials><AccessKeyId>${id}</AccessKeyId><SecretAccessKey>${secret}</SecretAccessKey><SessionToken>${token}</SessionToken><Expiration>${expiration}</Expiration></Credentials>`;
    return {
      status: 200,
      body: `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>${credentials}</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
    };
  };
}

/** The agent of EKS Pod Identity on a node. */
export function podIdentityWall({ subject, trusted, issued }: Omit<RoleRules, 'roleARN'>): Wall {
  return ({ headers, path }) => {
    if (path !== '/v1/credentials') return { status: 404, body: {} };
    try {
      const { sub } = verifyToken(String(headers.authorization ?? ''), trusted, 'pods.eks.amazonaws.com');
      if (sub !== subject) throw new Error('no association of this ServiceAccount');
    } catch (error) {
      return {
        status: 400,
        body: { Code: 'InvalidTokenException', Message: error instanceof Error ? error.message : '' },
      };
    }
    const { id, secret, token, expiration } = issueKeys(issued);
    return {
      status: 200,
      body: {
        AccessKeyId: id,
        SecretAccessKey: secret,
        Token: token,
        Expiration: expiration,
        AccountId: '111122223333',
      },
    };
  };
}

export interface IssuedTokens {
  /** When each token expires. */
  readonly tokens: Map<string, number>;
  lifeMs: number;
}

function issueToken(issued: IssuedTokens) {
  const token = `ya29.${randomBytes(24).toString('base64url')}`;
  issued.tokens.set(token, Date.now() + issued.lifeMs);
  return { access_token: token, expires_in: Math.ceil(issued.lifeMs / 1000), token_type: 'Bearer' };
}

export interface GoogleRules {
  readonly issued: IssuedTokens;
  /** A service account that signs its own statements. */
  readonly serviceAccount?: { readonly email: string; readonly key: TrustedKeys };
  /** A workload identity pool, and the one identity that it takes. */
  readonly pool?: { readonly audience: string; readonly subject: string; readonly trusted: TrustedKeys };
  /** Whether this is the metadata server of a node. */
  readonly metadata?: boolean;
}

const oauthError = (error: string, description: string, status = 400): Answer => ({
  status,
  body: { error, error_description: description },
});

/** Google's token endpoints, and the metadata server of a node. */
export function googleWall({ issued, serviceAccount, pool, metadata = false }: GoogleRules): Wall {
  return ({ method, path, headers, body }) => {
    if (metadata && method === 'GET') {
      if (headers['metadata-flavor'] !== 'Google') return { status: 403, body: {} };
      const isToken = /^\/computeMetadata\/v1\/instance\/service-accounts\/default\/token(\?.*)?$/.test(path);
      const flavor = { 'metadata-flavor': 'Google' };
      return isToken
        ? { status: 200, body: issueToken(issued), headers: flavor }
        : { status: 404, body: {}, headers: flavor };
    }
    const form = new URLSearchParams(body.toString('utf8'));
    try {
      if (path === '/token' && serviceAccount !== undefined) {
        if (form.get('grant_type') !== 'urn:ietf:params:oauth:grant-type:jwt-bearer')
          throw new Error('another grant type');
        const audience = 'https://oauth2.googleapis.com/token';
        const said = verifyToken(form.get('assertion') ?? '', serviceAccount.key, audience);
        if (said.iss !== serviceAccount.email) throw new Error('Invalid issuer');
        if (!said.scope?.includes('cloud-platform')) return oauthError('invalid_scope', 'no scope');
        return { status: 200, body: issueToken(issued) };
      }
      if (path === '/v1/token' && pool !== undefined) {
        if (form.get('grant_type') !== 'urn:ietf:params:oauth:grant-type:token-exchange')
          throw new Error('another grant type');
        if (form.get('audience') !== pool.audience) return oauthError('invalid_target', 'no such provider');
        const said = verifyToken(
          form.get('subject_token') ?? '',
          pool.trusted,
          pool.audience.replace(/^\/\//, 'https://'),
        );
        if (said.sub !== pool.subject) return oauthError('unauthorized_client', 'the attribute condition refuses it');
        const issuedType = 'urn:ietf:params:oauth:token-type:access_token';
        return { status: 200, body: { ...issueToken(issued), issued_token_type: issuedType } };
      }
    } catch (error) {
      return oauthError('invalid_grant', error instanceof Error ? error.message : '');
    }
    return { status: 404, body: {} };
  };
}

const googleError = (code: number, status: string, message: string): Answer => ({
  status: code,
  body: [{ error: { code, message, status } }],
});

/** Claude in Vertex AI. */
export function vertexWall({
  project,
  region,
  issued,
}: {
  project: string;
  region: string;
  issued: IssuedTokens;
}): Wall {
  return ({ path, headers, body }) => {
    const [, token = ''] = /^Bearer (.+)$/.exec(String(headers.authorization ?? '')) ?? [];
    const expiresAt = issued.tokens.get(token);
    if (expiresAt === undefined || expiresAt <= Date.now()) {
      return googleError(401, 'UNAUTHENTICATED', 'Request had invalid authentication credentials.');
    }
    const place = `/v1/projects/${project}/locations/${region}/publishers/anthropic/models/`;
    const [model, method] = path.startsWith(place) ? path.slice(place.length).split(':') : [];
    if (model === undefined || !/^(?:streamRawPredict|rawPredict)$/.test(method ?? '')) {
      return googleError(403, 'PERMISSION_DENIED', `Permission denied on resource ${path}`);
    }
    const { anthropic_version: version, ...request } = JSON.parse(body.toString('utf8'));
    if (version !== 'vertex-2023-10-16')
      return anthropicError(400, 'invalid_request_error', 'anthropic_version: required');
    if ('model' in request) {
      return anthropicError(400, 'invalid_request_error', 'model: Extra inputs are not permitted');
    }
    if ((request.stream === true) !== (method === 'streamRawPredict')) {
      return anthropicError(400, 'invalid_request_error', 'stream: must match the method');
    }
    const plain = Buffer.from(JSON.stringify({ model: decodeURIComponent(model), ...request }));
    return { path: '/v1/messages', body: plain, version: '2023-06-01' };
  };
}
