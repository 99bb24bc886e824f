// Certificate files that are replaced while a server or a client uses them.

import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { issueCertificate, type KeyPair } from '../../test/support/certificates.ts';
import { InvalidInput } from '../errors.ts';
import { followCertificates, keepFresh, readCertificates } from './certificate-files.ts';

let dir: string;
let [first, second]: KeyPair[] = [];
const files = () => ({ certFile: path.join(dir, 'tls.crt'), keyFile: path.join(dir, 'tls.key') });

async function put(pair: Partial<KeyPair> | undefined): Promise<void> {
  if (pair?.cert !== undefined) await writeFile(files().certFile, pair.cert);
  if (pair?.key !== undefined) await writeFile(files().keyFile, pair.key);
}

beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'oplab-certificates-'));
  [first, second] = await Promise.all([issueCertificate('first'), issueCertificate('second')]);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** A server that follows the files, and the common name that it presents. */
async function follow() {
  await put(first);
  const current = readCertificates(files());
  const server = tls.createServer(current, (socket) => socket.on('error', () => undefined));
  const logger = { info: vi.fn(), warn: vi.fn() };
  const stop = new AbortController();
  followCertificates(server, files(), { current, logger, signal: stop.signal, rereadMs: 20 });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const connect = async () => {
    const socket = tls.connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    return socket;
  };
  const shown = async () => {
    const socket = await connect();
    const { subject } = socket.getPeerCertificate();
    socket.destroy();
    return subject.CN;
  };
  const close = () => {
    stop.abort();
    server.close();
  };
  return { logger, connect, shown, stop, close };
}

it('presents a new pair to new connections, and keeps the existing ones', async () => {
  const { connect, shown, logger, close } = await follow();
  const open = await connect();
  expect(await shown()).toBe('first');
  await put(second);
  await vi.waitFor(async () => expect(await shown()).toBe('second'), 5000);
  expect(open.destroyed).toBe(false);
  expect(logger.info).toHaveBeenCalledTimes(1);
  open.destroy();
  close();
});

it.each([
  ['whose key belongs to another certificate', () => put({ cert: second?.cert ?? '' })],
  ['that is broken', () => put({ cert: 'not PEM', key: 'not PEM' })],
  ['whose certificate is not written yet', () => put({ cert: '' })],
  ['of which nothing is written yet', () => put({ cert: '', key: '' })],
  ['that is cut off', () => put({ cert: second?.cert.slice(0, 200) ?? '', key: second?.key ?? '' })],
  ['that is gone', () => rm(files().keyFile)],
])('keeps the old pair instead of one %s, says so, and takes the next good one', async (_, damage) => {
  const { shown, logger, close } = await follow();
  await damage();
  await vi.waitFor(() => expect(logger.warn).toHaveBeenCalled(), 5000);
  expect(await shown()).toBe('first');
  await put(second);
  await vi.waitFor(async () => expect(await shown()).toBe('second'), 5000);
  close();
});

it('stops when the signal aborts', async () => {
  const { shown, stop, close } = await follow();
  stop.abort();
  await put(second);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(await shown()).toBe('first');
  close();
});

it('names a file that cannot be read', () => {
  const read = () => readCertificates({ certFile: '/nowhere/tls.crt', keyFile: '/nowhere/tls.key' });
  expect(read).toThrow(InvalidInput);
  expect(read).toThrow('/nowhere/tls.crt cannot be read');
});

it.each(['', '\n', '-----BEGIN CERTIFICATE-----\nMIIB'])('refuses a file without a PEM block: %j', async (text) => {
  const caFile = path.join(dir, 'ca.crt');
  await put(first);
  await writeFile(caFile, text);
  expect(() => readCertificates({ ...files(), caFile })).toThrow(`${caFile} has no PEM block`);
});

it('keeps the files of a client for a while, but not a failure to read them', () => {
  vi.useFakeTimers();
  try {
    let reads = 0;
    const fresh = keepFresh(() => {
      reads += 1;
      if (reads === 1) throw new Error('half written');
      return reads;
    }, 1000);
    expect(fresh).toThrow('half written');
    expect([fresh(), fresh()]).toEqual([2, 2]);
    vi.advanceTimersByTime(1000);
    expect(fresh()).toBe(3);
  } finally {
    vi.useRealTimers();
  }
});
