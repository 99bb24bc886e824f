// Limits of an Incident: the author's wishes, the class's ceilings, and what comes out of the two.

import { z } from 'zod';

/** Per Incident, all attempts together. */
export const limits = z.object({
  timeoutSeconds: z
    .number()
    .int()
    .min(30)
    .max(86400)
    .meta({ description: 'Wall-clock time from the first attempt to the end, in seconds.' }),
  maxTurns: z.number().int().min(1).max(1000).meta({ description: 'Answers of the agent model.' }),
  maxTokens: z
    .number()
    .int()
    .min(1000)
    .max(1_000_000_000)
    .meta({ description: 'Input, cache and output tokens, all models together.' }),
  maxCostMilliUSD: z
    .number()
    .int()
    .min(0)
    .max(1_000_000_000)
    .meta({ description: 'Cost of all model calls in thousandths of a US dollar.' }),
  attempts: z.number().int().min(1).max(10).meta({ description: 'Agent pods that may be started, one after another.' }),
});
export type Limits = z.infer<typeof limits>;

/** What the author of an Incident may ask for: any subset, lower than the class's ceilings. */
export const requestedLimits = limits.partial();
export type RequestedLimits = z.infer<typeof requestedLimits>;

/** For a schema with both: a soak that cannot end within the time limit could never be verified. */
export const SOAK_FITS = {
  rule: '!has(self.limits) || !has(self.limits.timeoutSeconds) || self.verify.soakSeconds < self.limits.timeoutSeconds',
  message: 'the soak must be shorter than limits.timeoutSeconds; shorten the one or raise the other',
  fieldPath: '.verify.soakSeconds',
} as const;

/** Ceilings of a class that sets none; the numbers of the example in the documentation. */
export const DEFAULT_CEILINGS: Limits = {
  timeoutSeconds: 900,
  maxTurns: 60,
  maxTokens: 2_000_000,
  maxCostMilliUSD: 2000,
  attempts: 2,
};

/** The limits that are enforced: an author may lower a ceiling, never raise it. */
export function effectiveLimits(
  requested: { [K in keyof Limits]?: Limits[K] | undefined } | undefined,
  ceilings: Limits,
): Limits {
  const lower = (key: keyof Limits) => Math.min(requested?.[key] ?? ceilings[key], ceilings[key]);
  return {
    timeoutSeconds: lower('timeoutSeconds'),
    maxTurns: lower('maxTurns'),
    maxTokens: lower('maxTokens'),
    maxCostMilliUSD: lower('maxCostMilliUSD'),
    attempts: lower('attempts'),
  };
}

/** Why a soak can never be verified under these limits; undefined when it can. {@link SOAK_FITS} knows no ceilings. */
export function soakProblem(
  soakSeconds: number,
  { timeoutSeconds }: Pick<Limits, 'timeoutSeconds'>,
  agentClassName: string,
): string | undefined {
  if (soakSeconds < timeoutSeconds) return undefined;
  return `verify.soakSeconds: ${soakSeconds} s do not fit into the time limit of ${timeoutSeconds} s (the lower of limits.timeoutSeconds and the ceiling of AgentClass ${agentClassName}); use a shorter soak or a class with a higher ceiling`;
}
