// An Incident for people: its row in a list.

import * as z from 'zod';
import type { CONDITIONS } from '../../api/incident.ts';
import { withoutControls } from '../../audit/controls.ts';
import { parseInput } from '../../input/parse-input.ts';
import type { KubeObject } from '../../kube/client.ts';
import { age, cost } from '../format.ts';

/** The fields that a row shows. The schema of an Incident takes longer to build than the rest of a list. */
const shown = z.looseObject({
  metadata: z.looseObject({
    name: z.string(),
    namespace: z.string().optional(),
    creationTimestamp: z.string().nullish(),
  }),
  spec: z.looseObject({
    summary: z.string(),
    severity: z.string().default(''),
    agentClassName: z.string().default(''),
  }),
  status: z
    .looseObject({
      phase: z.string().optional(),
      message: z.string().optional(),
      attempts: z.array(z.unknown()).optional(),
      limits: z.looseObject({ attempts: z.number().optional() }).optional(),
      claim: z.looseObject({ outcome: z.string() }).optional(),
      usage: z.looseObject({ costMilliUSD: z.number().optional() }).optional(),
      audit: z.looseObject({ entries: z.number().optional() }).optional(),
      conditions: z.array(z.looseObject({ type: z.string(), status: z.string() })).optional(),
    })
    .optional(),
});
const VERIFIED = 'Verified' satisfies keyof typeof CONDITIONS;

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

/** The row of one Incident, with the columns of the header. @throws InvalidInput */
export function incidentRow(incident: KubeObject, now: Date, { allNamespaces, wide }: IncidentColumns): string[] {
  const { namespace = '', name: called } = incident.metadata;
  const { metadata, spec, status } = parseInput(
    shown,
    incident,
    `this version of oplab cannot read Incident ${namespace}/${called}`,
    { values: 'shown' },
  );
  const attempts = status?.attempts?.length ?? 0;
  const allowed = status?.limits?.attempts;
  return [
    ...(allNamespaces ? [metadata.namespace ?? ''] : []),
    metadata.name,
    status?.phase ?? 'Pending',
    spec.severity,
    attempts === 0 ? '' : `${attempts}${allowed === undefined ? '' : `/${allowed}`}`,
    status?.claim?.outcome ?? '',
    status?.conditions?.find(({ type }) => type === VERIFIED)?.status ?? '',
    cost(status?.usage?.costMilliUSD),
    age(metadata.creationTimestamp ?? undefined, now),
    ...(wide
      ? [spec.agentClassName, String(status?.audit?.entries ?? ''), withoutControls(status?.message ?? '')]
      : []),
    withoutControls(spec.summary),
  ];
}
