// The canary host: a port behind a name that nobody needs. A connection to it, from the pod of an
// attempt, touches a tripwire.

import { createServer, type Server } from 'node:net';
import type { AttemptId } from '../api/canary.ts';
import type { Logger } from '../observability/logger.ts';
import type { Tripwires } from './tripwires.ts';

/** It does not listen yet, and answers nothing. */
export function canaryHost(options: {
  /** The name under which pods find the port. */
  readonly host: string;
  readonly tripwires: Pick<Tripwires, 'trip'>;
  /** The attempt whose pod has an address. */
  readonly attemptAt: (address: string) => AttemptId | undefined;
  readonly logger: Logger;
}): Server {
  const { host, tripwires, attemptAt, logger } = options;
  return createServer((socket) => {
    socket.on('error', () => {});
    const address = (socket.remoteAddress ?? '').replace(/^::ffff:/, '');
    socket.destroy();
    const attempt = attemptAt(address);
    if (attempt === undefined) logger.warn({ address, host }, 'a connection to the canary host is from no agent pod');
    else void tripwires.trip(attempt, 'host', `a connection to the host ${host}`);
  });
}
