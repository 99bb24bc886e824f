// The rehearsal server: the Messages API over plain HTTP, answered from rules. A stand-in for
// Claude.

import path from 'node:path';
import type { FaultName } from '../messages-double/faults.ts';
import { type DoubleServer, startDouble } from '../messages-double/server.ts';
import { answerTo } from './message.ts';
import { loadRules } from './rule.ts';

/** The only model of this server. It is not Claude. */
export const REHEARSAL_MODEL = 'rehearsal-1';

/** The rules shipped with oplab, next to this file and next to the bundle. */
export const DEFAULT_RULES = path.join(import.meta.dirname, 'rules');

export interface RehearsalOptions {
  /** Default: any free port. */
  readonly port?: number;
  readonly rulesDir?: string;
  readonly host?: string;
  /** The fault with which a request is answered instead, by its number from 1. */
  readonly fault?: (count: number) => FaultName | undefined;
}

/** Starts the server. It needs no key. */
export async function startRehearsal(options: RehearsalOptions = {}): Promise<DoubleServer> {
  const book = await loadRules(options.rulesDir ?? DEFAULT_RULES);
  return startDouble({
    port: options.port,
    host: options.host ?? '0.0.0.0',
    requestIdPrefix: 'req_rehearsal_',
    account: 'rehearsal',
    isModel: (id) => id === REHEARSAL_MODEL,
    aboutModels: `this is oplab's rehearsal server, a stand-in; its only model is ${REHEARSAL_MODEL}`,
    displayName: () => 'Rehearsal 1, a stand-in for Claude',
    fault: (_request, count) => options.fault?.(count),
    answer: (request) => answerTo(book, request),
  });
}
