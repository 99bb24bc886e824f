// Schemas for the `params` of entries that readers display. Params have no fixed form, so readers
// skip those that do not match.

import * as z from 'zod';

/** Params of a tool_call of the shell. */
export const callParams = z.looseObject({ command: z.string() });

/** Params of a tool_call that concludes the attempt. */
export const claimParams = z.looseObject({
  outcome: z.string(),
  rootCause: z.string().default(''),
  actions: z.array(z.string()).default([]),
});

/** Params of a tool_result. `call` is the client key of its tool_call. */
export const resultParams = z.looseObject({
  call: z.string().optional(),
  timedOut: z.boolean().optional(),
  indeterminate: z.boolean().optional(),
  truncated: z.boolean().optional(),
  /** Characters that a terminal would not show at the end, and neither does the record. */
  hiddenCharacters: z.number().optional(),
  signal: z.string().nullish(),
  killedProcesses: z.number().optional(),
  /** What was left when the command had ended, in words. */
  leftBehind: z.array(z.string()).optional(),
});

/** The step of a lifecycle entry that adds a summary to the result before. */
export const SUMMARY_STEP = 'summary';

/** Params of a summary: the sequence number of its tool_result. */
export const summaryParams = z.looseObject({ step: z.literal(SUMMARY_STEP), result: z.number().int() });

/** Params of an intent: the command that was running, or that none was. */
export const intentParams = z.looseObject({
  commandSeq: z.number().int().optional(),
  unexplained: z.boolean().default(false),
});

/** Params of a model_call that used tokens: its cost in millionths of a US dollar. */
export const costParams = z.looseObject({ costMicroUSD: z.number() });

/** What the outcome of a Kubernetes write says about whether the write was done. */
export interface WriteOutcome {
  /** HTTP status; null when there was no answer. */
  readonly status: number | null;
  readonly subresource?: string | undefined;
  /** The reason in the API server's own answer. */
  readonly reason?: string | undefined;
}

/** Reasons with which the API server refuses a request before it reaches the server behind a proxy. */
const REFUSED_BEFORE_PROXY: readonly (string | undefined)[] = ['Forbidden', 'Unauthorized', 'NotFound'];

/**
 * Whether a write surely changed nothing. A server error does not say that, and neither does the
 * error of a server behind a proxy, which may have done something first.
 */
export function wasRefused({ status, subresource, reason }: WriteOutcome): boolean {
  if (status === null || status < 400 || status >= 500) return false;
  return subresource !== 'proxy' || REFUSED_BEFORE_PROXY.includes(reason);
}
