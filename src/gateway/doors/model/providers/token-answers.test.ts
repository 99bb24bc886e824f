// What the services that issue credentials may answer beside a credential: redirections, garbage, and
// bodies without an end. And credentials that no header can carry.

import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { parseEnvironment } from '../../../../environment.ts';
import { errorMessage, isOplabError } from '../../../../errors.ts';
import { gatewayEnvironment } from '../../../environment.ts';
import { createModelAPI } from './create.ts';
import { googleMetadata } from './google-identity.ts';

const TOKEN = 'eyJhbGciOiJub25lIn0.the-pod.token';
const MIB = 1024 * 1024;
let folder: string;
let servers: Server[];

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'oplab-token-answers-'));
  servers = [];
});
afterEach(async () => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  await rm(folder, { recursive: true });
});

/** A server that answers all requests alike. */
async function serve(answer: (response: ServerResponse) => void): Promise<{ url: string; bodies: string[] }> {
  const bodies: string[] = [];
  const server = createServer(async (request, response) => {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece);
    bodies.push(Buffer.concat(pieces).toString());
    answer(response);
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, bodies };
}

/** Bytes until nobody reads them any more, or `mib` MiB. */
function flood(response: ServerResponse, count: { mib: number }, mib: number): void {
  const more = () => {
    if (response.destroyed) return;
    if (count.mib === mib) return void response.end();
    count.mib += 1;
    if (response.write(Buffer.alloc(MIB, 'a'))) setImmediate(more);
    else response.once('drain', more);
  };
  response.writeHead(200, { 'content-type': 'application/json' });
  more();
}

async function put(name: string, content: string): Promise<string> {
  const file = path.join(folder, name);
  await writeFile(file, content);
  return file;
}

const ways = {
  async google(url: string) {
    const subject = await put('token', TOKEN);
    const credentials = {
      ...{ type: 'external_account', audience: 'a', token_url: `${url}/v1/token` },
      ...{ subject_token_type: 'urn:ietf:params:oauth:token-type:jwt', credential_source: { file: subject } },
    };
    await put('credentials.json', JSON.stringify(credentials));
    return {
      ...{ OPLAB_MODEL_PROVIDER: 'vertex', OPLAB_MODEL_AUTH: 'credentials-file', OPLAB_MODEL_REGION: 'eu' },
      ...{ OPLAB_MODEL_PROJECT: 'my-project', OPLAB_MODEL_SECRET_DIR: folder },
    };
  },
  async aws(url: string) {
    return {
      ...{ OPLAB_MODEL_PROVIDER: 'bedrock', OPLAB_MODEL_REGION: 'eu-west-1', AWS_ENDPOINT_URL_STS: url },
      ...{ AWS_ROLE_ARN: 'arn:aws:iam::111122223333:role/oplab' },
      AWS_WEB_IDENTITY_TOKEN_FILE: await put('token', TOKEN),
    };
  },
};

/** The error of a call. @throws if there is none */
async function failure(settings: NodeJS.ProcessEnv): Promise<{ code: string; message: string }> {
  const api = createModelAPI(parseEnvironment(gatewayEnvironment, settings), () => {});
  const call = { request: { model: 'm', stream: true }, body: Buffer.from('{}'), beta: false, headers: {} };
  try {
    const answer = await api.send(call, AbortSignal.timeout(30_000));
    answer.destroy();
  } catch (error) {
    return { code: isOplabError(error) ? error.code : 'none', message: errorMessage(error) };
  }
  throw new Error('the call was sent');
}

describe.each(Object.entries(ways))('the token service of %s', (_, way) => {
  it.each([301, 302, 307, 308])('cannot send the token of the pod on with a redirection (%i)', async (status) => {
    const thief = await serve((response) => response.end('{}'));
    const service = await serve((response) => response.writeHead(status, { location: `${thief.url}/` }).end());
    expect(await failure(await way(service.url))).toMatchObject({ code: 'OPLAB_UPSTREAM_UNAVAILABLE' });
    expect(service.bodies.join()).toContain(encodeURIComponent(TOKEN));
    expect(thief.bodies).toEqual([]);
  });

  it('cannot fill the memory of the gateway', async () => {
    const sent = { mib: 0 };
    const service = await serve((response) => flood(response, sent, 60));
    const { code, message } = await failure(await way(service.url));
    expect(code).toBe('OPLAB_UPSTREAM_UNAVAILABLE');
    expect(message).not.toContain('aaaa');
    expect(sent.mib).toBeLessThan(30);
  });

  it.each([
    [200, '{"access_token":"ya29.c0ASRK0GZ-secret",'],
    [200, 'access_token=s3cr3t-in-another-form'],
    [200, '<SecretAccessKey>s3cr3t</SecretAccessKey><'],
    [400, '{"error":"invalid_grant","error_description":"for ya29.c0ASRK0GZ-secret"}'],
    [500, 's3cr3t'],
  ])(
    'answers %i %s, which is in no error',
    async (status, body) => {
      const service = await serve((response) => {
        response.writeHead(status, { 'content-type': 'application/json' }).end(body);
      });
      const { message } = await failure(await way(service.url));
      expect(message).toMatch(/^the .* cannot be fetched: ./);
      expect(message).not.toMatch(/s3cr3t|secret/);
    },
    30_000,
  );
});

it.each(['sk-ant\u200b', 'sk-ant\nanother', '\0s\0k', 'sk-“ant”'])(
  'refuses the key %j, which no header can carry, and says what to do',
  async (key) => {
    const api = await serve((response) => response.end());
    const settings = { OPLAB_UPSTREAM_URL: api.url, OPLAB_MODEL_KEY_FILE: await put('api-key', key) };
    for (const auth of ['x-api-key', 'bearer']) {
      const { code, message } = await failure({ ...settings, OPLAB_MODEL_AUTH: auth });
      expect(code).toBe('OPLAB_MODEL_KEY_REFUSED');
      expect(message).toMatch(/character that no header can carry.*put .* into the Secret of model\.apiKey/);
      expect(message).not.toContain('sk-');
    }
    expect(api.bodies).toEqual([]);
  },
);

it.each(['NO_PROXY', 'no_proxy'])(
  'asks the metadata server of the node without a proxy, and keeps %s',
  async (name) => {
    const metadata = await serve((response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'metadata-flavor': 'Google' });
      response.end('{"access_token":"mine","expires_in":3600}');
    });
    const proxy = await serve((response) => response.end('{"access_token":"theirs"}'));
    let tunnels = 0;
    servers.at(-1)?.on('connect', (_request, socket) => {
      tunnels += 1;
      socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    });
    try {
      for (const variable of ['HTTPS_PROXY', 'HTTP_PROXY']) vi.stubEnv(variable, proxy.url);
      for (const variable of ['NO_PROXY', 'no_proxy']) vi.stubEnv(variable, undefined);
      vi.stubEnv(name, 'a.example');
      vi.stubEnv('GCE_METADATA_HOST', new URL(metadata.url).host);
      const tokens = googleMetadata(() => {});
      expect(await tokens.current()).toBe('mine');
      expect([proxy.bodies.length, tunnels]).toEqual([0, 0]);
      expect(process.env.NO_PROXY?.split(',')).toContain('a.example');
    } finally {
      vi.unstubAllEnvs();
    }
  },
);
