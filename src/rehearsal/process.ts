// The process `oplab rehearsal`: the stand-in for Claude, for demos and tests.

import * as z from 'zod';
import { parseEnvironment } from '../environment.ts';
import { createLogger } from '../observability/logger.ts';
import { REHEARSAL_MODEL } from './request.ts';
import { DEFAULT_RULES, startRehearsal } from './server.ts';

const environment = z.object({
  OPLAB_REHEARSAL_PORT: z.coerce.number().int().min(0).max(65535).default(8080),
  OPLAB_REHEARSAL_RULES: z.string().default(DEFAULT_RULES),
});

/** Serves until SIGTERM. */
export async function runRehearsal(): Promise<void> {
  const env = parseEnvironment(environment);
  const logger = createLogger('rehearsal');
  const server = await startRehearsal({
    port: env.OPLAB_REHEARSAL_PORT,
    rulesDir: env.OPLAB_REHEARSAL_RULES,
  });
  logger.info(
    { url: server.url, model: REHEARSAL_MODEL },
    'serving the Messages API from rules; this is a stand-in for Claude',
  );
  await new Promise<void>((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
  });
  await server.close();
}
