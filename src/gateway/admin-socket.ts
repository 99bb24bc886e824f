// The admin API: prunes the audit log on request. It listens on a Unix socket in the gateway's container:
// access is controlled by the Kubernetes permission to exec into the pod, which is more than the
// read API's permission to port-forward.

import { chmod, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import * as z from 'zod';
import { selectPrunable } from '../audit/prune.ts';
import { parseDays } from '../audit/retention.ts';
import type { AuditStore } from '../audit/store.ts';
import { errorMessage } from '../errors.ts';
import { parseJson, readBody, sendJson, sendRefusal } from '../net/http-answer.ts';
import type { Logger } from '../observability/logger.ts';

const MAX_BODY = 4096;

/** POST /prune */
export const pruneRequest = z.object({
  /** A number of days such as 90d. */
  olderThan: z.string(),
  /** Only lists what would be deleted. */
  dryRun: z.boolean().default(false),
});

export interface AdminOptions {
  readonly log: Pick<AuditStore, 'prune' | 'sessions'>;
  readonly logger: Logger;
  readonly path: string;
}

/** Starts the server. Resolves when it listens. */
export async function startAdminServer(options: AdminOptions): Promise<Server> {
  const { path, logger } = options;
  const server = createServer((request, response) => {
    answer(options, request, response).catch((error: unknown) => {
      logger.warn({ error: errorMessage(error), path: request.url }, 'the admin API failed');
      sendRefusal(response, error);
    });
  });
  // A prune may take long, and the socket of an earlier process may still be there.
  server.requestTimeout = 0;
  await rm(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  await chmod(path, 0o600);
  return server;
}

async function answer({ log, logger }: AdminOptions, request: IncomingMessage, response: ServerResponse) {
  if (request.method !== 'POST' || request.url !== '/prune') {
    request.resume();
    const message = `${request.method} ${request.url} is not an endpoint of this API; use POST /prune`;
    sendJson(response, 404, { error: { code: 'OPLAB_NOT_FOUND', message } });
    return;
  }
  const { olderThan, dryRun } = parseJson(await readBody(request, MAX_BODY), pruneRequest);
  const before = new Date(Date.now() - parseDays(olderThan, 'olderThan'));
  if (dryRun) {
    sendJson(response, 200, { items: selectPrunable(await log.sessions(), before) });
    return;
  }
  const items = await log.prune(before);
  for (const { session, incident, entries } of items) {
    logger.info({ session, ...incident, entries, olderThan }, 'session pruned on request');
  }
  sendJson(response, 200, { items });
}
