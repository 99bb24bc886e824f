// The gateway's path to the model API and its own certificate: a proxy, a private CA, and files
// that change while it runs.

import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import tls from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { HELLO, MODEL_KEY, message } from '../support/fake-model-api.ts';
import type { Attempt } from '../support/gateway-attempts.ts';
import { type GatewayHarness, startGatewayHarness } from '../support/gateway-harness.ts';

const exec = promisify(execFile);
/** Only the proxy can resolve this name. */
const MODEL_HOST = 'model.oplab.test';

let dir: string;
let model: https.Server;
let proxy: Server;
let lab: GatewayHarness;
let attempt: Attempt;
let caFile: string;
/** What the proxy was asked for, and everything that it could read of the traffic. */
const tunnels: string[] = [];
let readByProxy = '';
let proxyWorks = true;

/** A private CA, and a certificate for the model API that it has signed. */
async function issue(name: string): Promise<{ ca: string; cert: string; key: string }> {
  const home = path.join(dir, name);
  await mkdir(home);
  const file = (suffix: string) => path.join(home, suffix);
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  await exec('openssl', [
    ...['req', '-x509', ...ec, '-subj', `/CN=${name}`, '-keyout', file('ca.key'), '-out', file('ca.crt')],
  ]);
  await exec('openssl', [
    ...['req', '-x509', ...ec, '-CA', file('ca.crt'), '-CAkey', file('ca.key'), '-subj', `/CN=${MODEL_HOST}`],
    ...['-addext', `subjectAltName=DNS:${MODEL_HOST}`, '-addext', 'basicConstraints=critical,CA:FALSE'],
    ...['-keyout', file('tls.key'), '-out', file('tls.crt')],
  ]);
  const [ca, cert, key] = await Promise.all(['ca.crt', 'tls.crt', 'tls.key'].map((it) => readFile(file(it), 'utf8')));
  return { ca: ca ?? '', cert: cert ?? '', key: key ?? '' };
}

async function listening(server: Server | https.Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'oplab-upstream-'));
  caFile = path.join(dir, 'ca.crt');
  const first = await issue('first');
  await writeFile(caFile, first.ca);
  model = https.createServer({ cert: first.cert, key: first.key }, (request, response) => {
    void text(request).then(() => {
      const known = request.headers['x-api-key'] === MODEL_KEY;
      response.writeHead(known ? 200 : 401, { 'content-type': 'application/json' });
      response.end(JSON.stringify(message('claude-opus-5-5', { input_tokens: 10, output_tokens: 1 })));
    });
  });
  const modelPort = await listening(model);
  proxy = createServer((_request, response) => void response.writeHead(405).end());
  proxy.on('connect', (request, socket, head) => {
    tunnels.push(request.url ?? '');
    if (!proxyWorks) {
      socket.end('HTTP/1.1 503 Service Unavailable\r\n\r\n');
      return;
    }
    const onward = net.connect(modelPort, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      onward.write(head);
      onward.pipe(socket);
      socket.pipe(onward);
    });
    socket.on('data', (chunk: Buffer) => {
      readByProxy += chunk.toString('latin1');
    });
    for (const end of [socket, onward]) end.on('error', () => end.destroy());
  });
  const proxyPort = await listening(proxy);
  lab = await startGatewayHarness(async () => ({
    OPLAB_UPSTREAM_URL: `https://${MODEL_HOST}`,
    OPLAB_UPSTREAM_CA_FILE: caFile,
    OPLAB_UPSTREAM_PROXY: `http://127.0.0.1:${proxyPort}`,
  }));
  attempt = await lab.open('upstream');
});
afterAll(async () => {
  await lab?.close();
  for (const server of [model, proxy]) {
    server?.closeAllConnections();
    server?.close();
  }
  await rm(dir, { recursive: true, force: true });
});

const ask = () =>
  lab.ask(attempt, 'POST', '/v1/messages', { model: 'claude-opus-5-5', max_tokens: 1000, messages: HELLO });

describe('the path to the model API', () => {
  it('goes through the proxy, which sees only the destination', async () => {
    expect((await ask()).status).toBe(200);
    expect(tunnels).toEqual([`${MODEL_HOST}:443`]);
    expect(readByProxy.length).toBeGreaterThan(0);
    expect(readByProxy).not.toContain(MODEL_KEY);
  });

  it('trusts only CAs in the CA file, and charges nothing for a refused server', async () => {
    const stranger = await issue('stranger');
    await writeFile(caFile, stranger.ca);
    const refused = await ask();
    expect(refused.status).toBe(502);
    expect(refused.text).toMatch(/OPLAB_UPSTREAM_UNAVAILABLE.*certificate/);
    const entries = await lab.entries(attempt);
    const call = entries.filter((entry) => entry.kind === 'model_call').at(-1);
    expect(call?.params).toMatchObject({ status: null });
    expect(call?.params).not.toHaveProperty('costMicroUSD');
  });

  it('uses a new CA from the file without a restart', async () => {
    const second = await issue('second');
    model.setSecureContext({ cert: second.cert, key: second.key });
    model.closeAllConnections();
    await writeFile(caFile, second.ca);
    expect((await ask()).status).toBe(200);
  });

  it('is closed while the proxy refuses, and open when it works again', async () => {
    proxyWorks = false;
    model.closeAllConnections();
    const refused = await ask();
    expect(refused.status).toBe(502);
    expect(refused.text).toContain(`the model API at ${MODEL_HOST} does not answer`);
    proxyWorks = true;
    expect((await ask()).status).toBe(200);
  });

  it('never bypasses the proxy', () => {
    expect(new Set(tunnels)).toEqual(new Set([`${MODEL_HOST}:443`]));
    expect(tunnels.length).toBeGreaterThanOrEqual(4);
  });
});

describe('the certificate of the doors', () => {
  const shown = () =>
    new Promise<string>((resolve, reject) => {
      const socket = tls.connect(
        { host: '127.0.0.1', port: lab.gateway.ports.agent, rejectUnauthorized: false },
        () => {
          resolve(socket.getPeerCertificate().fingerprint256);
          socket.destroy();
        },
      );
      socket.on('error', reject);
    });

  it('is read again when the files change, keeps old connections, and ignores half a change', async () => {
    const before = await shown();
    const open = tls.connect({ host: '127.0.0.1', port: lab.gateway.ports.agent, rejectUnauthorized: false });
    await new Promise((resolve) => open.once('secureConnect', resolve));
    const next = await issue('doors');
    // As in the middle of an update by the kubelet: certificate and key do not match.
    await writeFile(path.join(lab.dir, 'tls.crt'), next.cert);
    await eventually(() => (lab.logLines.some((line) => line.includes('cannot be read again')) ? true : undefined), {
      withinMs: 20_000,
    });
    expect(await shown()).toBe(before);
    await writeFile(path.join(lab.dir, 'tls.key'), next.key);
    const after = await eventually(
      async () => {
        const now = await shown();
        return now === before ? undefined : now;
      },
      { withinMs: 20_000 },
    );
    expect(after).toBe(new (await import('node:crypto')).X509Certificate(next.cert).fingerprint256);
    expect(open.destroyed).toBe(false);
    open.destroy();
  }, 60_000);
});
