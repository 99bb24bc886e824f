// The logger of every process: JSON lines on stdout, with the values of credential fields redacted.

import { destination, type Logger as PinoLogger, pino, stdSerializers } from 'pino';
import * as z from 'zod';
import { parseEnvironment } from '../environment.ts';

const environment = z.object({
  OPLAB_LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
});

export type Logger = PinoLogger;

/** Names of headers and fields whose values are redacted, at the top and up to two levels below. */
const SECRET_FIELDS = [
  'authorization',
  'Authorization',
  'proxy-authorization',
  'x-api-key',
  'X-Api-Key',
  'cookie',
  'set-cookie',
  'token',
  'apiKey',
  'password',
];

const REDACTED_PATHS = SECRET_FIELDS.flatMap((field) => [`["${field}"]`, `*["${field}"]`, `*.*["${field}"]`]);

/** An error, which JSON shows as `{}`. Not what libraries hang on it, such as a request with its credential. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { type, message, stack, code } = stdSerializers.err(error);
  return { type, message, stack, ...(typeof code === 'string' ? { code } : {}) };
}

/** Receives the lines. Tests pass in their own. */
export interface LogStream {
  write(line: string): void;
}

/**
 * Creates a logger that is named after its process or component.
 * The level comes from OPLAB_LOG_LEVEL (default: info).
 */
export function createLogger(name: string, options: { level?: string; stream?: LogStream } = {}): Logger {
  return pino(
    {
      name,
      level: options.level ?? parseEnvironment(environment).OPLAB_LOG_LEVEL,
      base: { name },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: describeError, err: describeError },
      redact: { paths: REDACTED_PATHS, censor: '[redacted]' },
    },
    // Synchronous, so that the last lines of a process that ends are not lost.
    options.stream ?? destination({ fd: 1, sync: true }),
  );
}
