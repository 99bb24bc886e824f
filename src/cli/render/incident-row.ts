// An Incident for people: its row in a list.

import { CONDITIONS, type Incident } from '../../api/incident.ts';
import { findCondition } from '../../api/meta.ts';
import { withoutControls } from '../../audit/controls.ts';
import { age, cost } from '../format.ts';

export interface IncidentColumns {
  readonly allNamespaces: boolean;
  readonly wide: boolean;
}

/** The header of `incident list`. */
export function incidentHeader({ allNamespaces, wide }: IncidentColumns): string[] {
  return [
    ...(allNamespaces ? ['NAMESPACE'] : []),
    ...['NAME', 'PHASE', 'SEVERITY', 'ATTEMPT', 'CLAIM', 'VERIFIED', 'COST', 'AGE'],
    ...(wide ? ['CLASS', 'ENTRIES', 'MESSAGE'] : []),
    'SUMMARY',
  ];
}

/** The row of one Incident, with the columns of the header. */
export function incidentRow(incident: Incident, now: Date, { allNamespaces, wide }: IncidentColumns): string[] {
  const { metadata, spec, status } = incident;
  const attempts = status?.attempts?.length ?? 0;
  const allowed = status?.limits?.attempts;
  return [
    ...(allNamespaces ? [metadata.namespace ?? ''] : []),
    metadata.name,
    status?.phase ?? 'Pending',
    spec.severity,
    attempts === 0 ? '' : `${attempts}${allowed === undefined ? '' : `/${allowed}`}`,
    status?.claim?.outcome ?? '',
    findCondition(status?.conditions, CONDITIONS.Verified)?.status ?? '',
    cost(status?.usage?.costMilliUSD),
    age(metadata.creationTimestamp, now),
    ...(wide
      ? [spec.agentClassName, String(status?.audit?.entries ?? ''), withoutControls(status?.message ?? '')]
      : []),
    withoutControls(spec.summary),
  ];
}
