// A limit has refused a request: say so in the log once, and in status at once, so that the controller can end the attempt.

import { type LimitReached, messageOf } from '../../errors.ts';
import { LIMIT_REACHED_EVENT } from '../budget.ts';
import type { Lease } from '../leases.ts';
import { type GatewayContext, record } from './door.ts';

const reported = new WeakMap<GatewayContext, Set<string>>();

/** Never throws: the refusal stands whether it could be recorded or not. */
export async function reportLimitReached(doors: GatewayContext, lease: Lease, reached: LimitReached): Promise<void> {
  const { session, attempt } = lease;
  const sessions = reported.get(doors) ?? new Set();
  reported.set(doors, sessions);
  if (sessions.has(session)) return;
  try {
    const budget = await doors.budgets.of(session);
    budget.reach(reached.limit, reached.message);
    const done = doors.inFlight.begin(session);
    try {
      await record(doors, lease, 'gateway', {
        // One per session: limits are of the Incident, and the first one that was hit is the reason.
        clientKey: 'limit-reached',
        kind: 'lifecycle',
        params: { event: LIMIT_REACHED_EVENT, limit: reached.limit, attempt },
        content: reached.message,
      });
      sessions.add(session);
    } finally {
      done();
    }
  } catch (error) {
    doors.logger.warn({ session, error: messageOf(error) }, 'a spent limit could not be recorded');
  }
  doors.status.touch(session, true);
}
