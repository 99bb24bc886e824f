// Tells everybody that the audit log accepts no new work: the process's log, and a condition and an
// event of every Incident that is not finished.

import { CONDITIONS, type Incident } from '../api/incident.ts';
import { isTrue } from '../api/meta.ts';
import type { AuditStore } from '../audit/store.ts';
import type { LogFailure } from '../audit/store-protocol.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Logger } from '../observability/logger.ts';
import { recordAuditEvent } from './audit-event.ts';
import { AUDIT_LOG_FAILED, AUDIT_LOG_FULL } from './status-document.ts';

export interface LogFailuresOptions {
  readonly log: Pick<AuditStore, 'failureDetails' | 'onFailureChange'>;
  readonly client: Pick<KubeClient, 'create'>;
  readonly incidents: () => Incident[];
  /** Writes the status of a session soon. */
  readonly touch: (session: string) => void;
  readonly logger: Logger;
}

/** Reports each change from now on. @returns a function that reports the current state again */
export function reportLogFailures({ log, client, incidents, touch, logger }: LogFailuresOptions): () => void {
  /** The Incidents that have an event of this failure. */
  const told = new Set<string>();
  const report = (failure: LogFailure | undefined) => {
    if (failure === undefined) told.clear();
    for (const incident of incidents()) {
      const { uid } = incident.metadata;
      if (isTrue(incident.status?.conditions, CONDITIONS.Finished)) continue;
      touch(uid);
      if (failure === undefined || told.has(uid)) continue;
      told.add(uid);
      const reason = failure.isFull ? AUDIT_LOG_FULL : AUDIT_LOG_FAILED;
      recordAuditEvent(client, logger, incident, reason, failure.message);
    }
  };
  log.onFailureChange((failure) => {
    if (failure === undefined) logger.info('the audit log accepts entries again');
    else if (failure.acceptsClosing) {
      logger.error({ failure: failure.message }, 'the audit log accepts no new work: all doors are closed');
    } else logger.error({ failure: failure.message }, 'the audit log cannot be written: all doors are closed');
    report(failure);
  });
  return () => {
    if (log.failureDetails !== undefined) report(log.failureDetails);
  };
}
