// When certificates end, on a clock that is turned.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { issueCertificate } from '../../test/support/certificates.ts';
import { createRegistry } from '../observability/metrics.ts';
import { readExpiry, watchExpiry } from './certificate-expiry.ts';

const DAY_MS = 24 * 3600 * 1000;
let dir: string;
let file: string;
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'oplab-expiry-'));
  file = path.join(dir, 'tls.crt');
  // Valid for two days.
  await writeFile(file, (await issueCertificate('short')).cert);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** What is logged and measured at a time. */
async function watchAt(now: number, files: Record<string, string>) {
  const registry = createRegistry('test');
  const logger = { warn: vi.fn() };
  const stop = new AbortController();
  watchExpiry({ registry, logger, files, signal: stop.signal, now: () => now });
  stop.abort();
  return { metrics: await registry.metrics(), warnings: logger.warn.mock.calls.map(([, message]) => message) };
}

it('the metric has the end of each certificate, and NaN for a file that cannot be read', async () => {
  const { metrics } = await watchAt(Date.now(), { gateway: file, gone: path.join(dir, 'none') });
  expect(metrics).toMatch(new RegExp(`certificate="gateway".*} ${readExpiry(file) / 1000}\n`));
  expect(metrics).toMatch(/certificate="gone".*} Nan/i);
});

it('a chain ends with its first certificate', async () => {
  const chain = path.join(dir, 'chain.crt');
  const later = await issueCertificate('later');
  await writeFile(chain, `${later.cert}\n${await import('node:fs/promises').then((fs) => fs.readFile(file, 'utf8'))}`);
  expect(readExpiry(chain)).toBe(readExpiry(file));
});

it('the log warns from a month before the end on, and after it', async () => {
  const end = readExpiry(file);
  expect((await watchAt(end - 31 * DAY_MS, { gateway: file })).warnings).toEqual([]);
  expect((await watchAt(end - 29 * DAY_MS, { gateway: file })).warnings).toEqual([
    'a certificate expires soon; replace it',
  ]);
  expect((await watchAt(end, { gateway: file })).warnings).toEqual(['a certificate has expired; replace it']);
  const gone = { gateway: path.join(dir, 'none') };
  expect((await watchAt(end, gone)).warnings).toEqual(['a certificate cannot be read']);
});
