// Limits of an Incident: what its author requests, what its class allows, and what results.

import * as z from 'zod';

/** Limits of an Incident. Each covers all attempts together. */
export const limits = z.object({
  timeoutSeconds: z
    .number()
    .int()
    .min(30)
    .max(86400)
    .meta({ description: 'Wall-clock time from the first attempt to the end of the Incident, in seconds.' }),
  maxTurns: z.number().int().min(1).max(1000).meta({ description: 'Number of responses of the agent model.' }),
  maxTokens: z.number().int().min(1000).max(1_000_000_000).meta({
    description:
      'Number of input, cache write and output tokens of all models together. Cache reads count only in the cost.',
  }),
  maxCostMilliUSD: z
    .number()
    .int()
    .min(0)
    .max(1_000_000_000)
    .meta({ description: 'Cost of all model calls in thousandths of a US dollar.' }),
  attempts: z
    .number()
    .int()
    .min(1)
    .max(10)
    .meta({ description: 'Number of agent pods that may be started, one after another.' }),
});
export type Limits = z.infer<typeof limits>;

/**
 * What the author of an Incident may request: any subset of the limits, below the class's ceilings.
 */
export const requestedLimits = limits.partial();
export type RequestedLimits = z.infer<typeof requestedLimits>;

/** How long the checks of an Incident must hold; the same field in Incidents and Monitors. */
export const soakSeconds = z
  .number()
  .int()
  .min(0)
  .max(3600)
  .default(30)
  .meta({ description: 'How long all checks must hold without interruption before a repair counts, in seconds.' });

/** A rule for a schema with both: a soak that is longer than the time limit can never end. */
export const SOAK_FITS = {
  rule: '!has(self.limits) || !has(self.limits.timeoutSeconds) || self.verify.soakSeconds < self.limits.timeoutSeconds',
  message: 'soakSeconds must be less than limits.timeoutSeconds; lower soakSeconds, or raise the time limit',
  fieldPath: '.verify.soakSeconds',
} as const;

/** Ceilings of a class that sets none. The example in the documentation uses the same numbers. */
export const DEFAULT_CEILINGS: Limits = {
  timeoutSeconds: 900,
  maxTurns: 60,
  maxTokens: 2_000_000,
  maxCostMilliUSD: 5000,
  attempts: 2,
};

/** The limits that are enforced. An author can lower a ceiling, but never raise it. */
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

/**
 * Why a soak can never end within these limits; undefined if it can. {@link SOAK_FITS} does not
 * know the ceilings.
 */
export function soakProblem(
  soakSeconds: number,
  { timeoutSeconds }: Pick<Limits, 'timeoutSeconds'>,
  agentClassName: string,
): string | undefined {
  if (soakSeconds < timeoutSeconds) return undefined;
  return `verify.soakSeconds: ${soakSeconds} s must be less than the time limit of ${timeoutSeconds} s (the lower of limits.timeoutSeconds and the ceiling of AgentClass ${agentClassName}); shorten the soak, or use a class with a higher ceiling`;
}
