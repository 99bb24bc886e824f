// The quota of an AgentClass: what all its Incidents together may use in a day and at a time.

import * as z from 'zod';

/** Bounds on all Incidents of one class together. A day is a day in UTC. */
export const quota = z.object({
  maxCostMilliUSDPerDay: z
    .number()
    .int()
    .min(1)
    .max(1_000_000_000)
    .meta({ description: 'Cost of all model calls in a day (UTC), in thousandths of a US dollar. Default: 50000.' }),
  maxTokensPerDay: z.number().int().min(1000).max(1_000_000_000_000).meta({
    description:
      'Number of input, cache write and output tokens of all models together in a day (UTC). Default: 50000000.',
  }),
  maxOpenIncidentsPerNamespace: z.number().int().min(1).max(1000).meta({
    description: 'Number of Incidents of one namespace that may be in progress at the same time. Default: 16.',
  }),
  maxOpenIncidentsPerSource: z.number().int().min(1).max(1000).meta({
    description:
      'Number of Incidents of one source that may be in progress at the same time. A source is one Monitor, one route of the intake, or everybody who creates Incidents in one namespace. Default: 16.',
  }),
});
export type Quota = z.infer<typeof quota>;

/** The quota of a class that sets none. */
export const DEFAULT_QUOTA: Quota = {
  maxCostMilliUSDPerDay: 50_000,
  maxTokensPerDay: 50_000_000,
  maxOpenIncidentsPerNamespace: 16,
  maxOpenIncidentsPerSource: 16,
};

/** The quota of a class, with defaults for what is not set, or for a class that does not exist. */
export function resolveQuota(requested: { [K in keyof Quota]?: Quota[K] | undefined } | undefined): Quota {
  const value = (key: keyof Quota) => requested?.[key] ?? DEFAULT_QUOTA[key];
  return {
    maxCostMilliUSDPerDay: value('maxCostMilliUSDPerDay'),
    maxTokensPerDay: value('maxTokensPerDay'),
    maxOpenIncidentsPerNamespace: value('maxOpenIncidentsPerNamespace'),
    maxOpenIncidentsPerSource: value('maxOpenIncidentsPerSource'),
  };
}

/** What a class has used in a day. The gateway counts it in the audit log and writes it to status. */
export const dayUsage = z.object({
  date: z.string().max(10).meta({ description: 'The day in UTC, for example 2026-11-26.' }),
  costMilliUSD: z.number().int().meta({ description: 'Cost in thousandths of a US dollar, rounded up.' }),
  tokens: z.number().int().meta({ description: 'Number of input, cache write and output tokens.' }),
  limitReached: z.enum(['cost', 'tokens']).optional().meta({
    description:
      'The limit of the quota that was reached. Until the next day, or until the spec of the class changes, no attempt starts.',
  }),
  observedGeneration: z
    .number()
    .int()
    .optional()
    .meta({ description: 'The metadata.generation of the quota that limitReached refers to.' }),
});
export type DayUsage = z.infer<typeof dayUsage>;
export type DayLimit = NonNullable<DayUsage['limitReached']>;

/** The day in UTC of a time in epoch milliseconds, for example 2026-11-26. */
export function utcDate(epochMs: number): string {
  return new Date(epochMs).toISOString().slice(0, 10);
}

/** The beginning of the next day in UTC, in epoch milliseconds. */
export function nextUtcDay(epochMs: number): number {
  return Date.parse(`${utcDate(epochMs)}T00:00:00.000Z`) + 86_400_000;
}

/** The limit of the day that still holds for a class of this generation; undefined if none does. */
export function currentDayLimit(
  day: DayUsage | undefined,
  generation: number | undefined,
  now: number,
): DayLimit | undefined {
  if (day === undefined || day.date !== utcDate(now) || day.observedGeneration !== generation) return undefined;
  return day.limitReached;
}
