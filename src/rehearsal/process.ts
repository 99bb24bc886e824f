// The process `oplab rehearsal`: the stand-in for Claude, for demos and tests.

import * as z from 'zod';
import { parseEnvironment } from '../environment.ts';
import { createLogger } from '../observability/logger.ts';
import { faultPlan } from './fault-plan.ts';
import { DEFAULT_RULES, REHEARSAL_MODEL, startRehearsal } from './server.ts';

const environment = z.object({
  OPLAB_REHEARSAL_PORT: z.coerce.number().int().min(0).max(65535).default(8080),
  OPLAB_REHEARSAL_RULES: z.string().default(DEFAULT_RULES),
  OPLAB_REHEARSAL_FAULTS: faultPlan.optional(),
});

/** Serves until SIGTERM. */
export async function runRehearsal(): Promise<void> {
  const env = parseEnvironment(environment);
  const logger = createLogger('rehearsal');
  const server = await startRehearsal({
    port: env.OPLAB_REHEARSAL_PORT,
    rulesDir: env.OPLAB_REHEARSAL_RULES,
    ...(env.OPLAB_REHEARSAL_FAULTS === undefined ? {} : { fault: env.OPLAB_REHEARSAL_FAULTS }),
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
