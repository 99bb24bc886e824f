// Reports that a limit refused a request: once in the log, and immediately in status, so that the
// controller can end the attempt.

import { errorMessage, type LimitReached } from '../../errors.ts';
import { LIMIT_REACHED_EVENT } from '../budget.ts';
import type { Lease } from '../leases.ts';
import { type GatewayContext, record } from './door.ts';

/** Never throws: the request is refused even if that cannot be recorded. */
export async function reportLimitReached(gateway: GatewayContext, lease: Lease, reached: LimitReached): Promise<void> {
  const { session, attempt } = lease;
  try {
    const budget = await gateway.budgets.of(session);
    if (budget.isLimitReported) return;
    budget.reach(reached.limit, reached.message);
    const done = gateway.inFlight.begin(session);
    try {
      await record(gateway, lease, 'gateway', {
        // One per session: limits belong to the Incident, and the first one reached is the reason.
        clientKey: 'limit-reached',
        kind: 'lifecycle',
        params: { event: LIMIT_REACHED_EVENT, limit: reached.limit, attempt },
        content: reached.message,
      });
      budget.isLimitReported = true;
    } finally {
      done();
    }
  } catch (error) {
    gateway.logger.warn({ session, error: errorMessage(error) }, 'the reached limit could not be recorded');
  }
  gateway.status.touch(session, true);
}
