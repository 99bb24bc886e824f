// One logger for every process: JSON lines on stdout, with whatever looks like a credential taken out.

import { destination, type Logger as PinoLogger, pino } from 'pino';
import { z } from 'zod';
import { parseEnvironment } from '../environment.ts';

const environment = z.object({
  OPLAB_LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
});

/** What oplab's code logs with. */
export type Logger = PinoLogger;

/** Header and field names whose values never reach a log, at the top and two levels down. */
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

const redactedPaths = SECRET_FIELDS.flatMap((field) => [`["${field}"]`, `*["${field}"]`, `*.*["${field}"]`]);

/** Where the lines go; a test hands in its own. */
export interface LogStream {
  write(line: string): void;
}

/**
 * A logger named after its process or part.
 * The level comes from OPLAB_LOG_LEVEL (default info).
 */
export function createLogger(name: string, options: { level?: string; stream?: LogStream } = {}): Logger {
  return pino(
    {
      name,
      level: options.level ?? parseEnvironment(environment).OPLAB_LOG_LEVEL,
      base: { name },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: redactedPaths, censor: '[redacted]' },
    },
    // Synchronous, so that the last words of a dying process are on record.
    options.stream ?? destination({ fd: 1, sync: true }),
  );
}

/** A logger that says nothing, for tests. */
export function silentLogger(): Logger {
  return pino({ level: 'silent' });
}
