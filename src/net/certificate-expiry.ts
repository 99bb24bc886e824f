// Says when certificates end: as a metric, and as a warning in the log a month before.

import { X509Certificate } from 'node:crypto';
import { errorMessage } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import { Gauge, type Registry } from '../observability/metrics.ts';
import { readPem } from './certificate-files.ts';

const DAY_MS = 24 * 3600 * 1000;
/** How long before the end of a certificate the log warns, in milliseconds. */
const WARN_MS = 30 * DAY_MS;

export interface CertificateExpiryOptions {
  readonly registry: Registry;
  readonly logger: Pick<Logger, 'warn'>;
  /** The files by the names that the metric has for them. */
  readonly files: Readonly<Record<string, string>>;
  /** Stops the warnings. */
  readonly signal: AbortSignal;
  readonly now?: () => number;
}

/**
 * When the first certificate of a file ends, in epoch milliseconds: a chain is valid only as long as
 * all of it is.
 * @throws InvalidInput that names the file, or an error of the parser
 */
export function readExpiry(file: string): number {
  const blocks = readPem(file).match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  const ends = blocks.map((block) => Date.parse(new X509Certificate(block).validTo));
  if (ends.length === 0) throw new Error(`${file} holds no certificate`);
  return Math.min(...ends);
}

/** Registers the metric, and warns now and every day about certificates that end soon. */
export function watchExpiry({ registry, logger, files, signal, now = Date.now }: CertificateExpiryOptions): void {
  const gauge = new Gauge({
    name: 'oplab_certificate_expiry_timestamp_seconds',
    help: 'When a certificate ends, in seconds since 1970; NaN while its file cannot be read.',
    labelNames: ['certificate'],
    registers: [registry],
    collect() {
      for (const [certificate, file] of Object.entries(files)) this.set({ certificate }, expirySeconds(file));
    },
  });
  gauge.reset();
  const warn = () => {
    for (const [certificate, file] of Object.entries(files)) {
      try {
        const end = readExpiry(file);
        if (end - now() > WARN_MS) continue;
        const what = end <= now() ? 'a certificate has expired' : 'a certificate expires soon';
        logger.warn({ certificate, file, end: new Date(end).toISOString() }, `${what}; replace it`);
      } catch (error) {
        logger.warn({ certificate, file, error: errorMessage(error) }, 'a certificate cannot be read');
      }
    }
  };
  warn();
  const timer = setInterval(warn, DAY_MS);
  timer.unref();
  signal.addEventListener('abort', () => clearInterval(timer), { once: true });
}

function expirySeconds(file: string): number {
  try {
    return readExpiry(file) / 1000;
  } catch {
    return Number.NaN;
  }
}
