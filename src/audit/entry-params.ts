// What stands in the `params` of entries, as far as readers show it. Params are free in form: what does not fit is not shown.

import { z } from 'zod';

/** Of a tool_call of the shell. */
export const callParams = z.looseObject({ command: z.string() });

/** Of a tool_call that concludes. */
export const claimParams = z.looseObject({
  outcome: z.string(),
  rootCause: z.string().default(''),
  actions: z.array(z.string()).default([]),
});

/** Of a tool_result; `call` is the client key of its tool_call. */
export const resultParams = z.looseObject({
  call: z.string().optional(),
  timedOut: z.boolean().optional(),
  indeterminate: z.boolean().optional(),
  truncated: z.boolean().optional(),
  signal: z.string().nullish(),
  killedProcesses: z.number().optional(),
});

/** Of a model_call that used anything: its cost in millionths of a US dollar. */
export const costParams = z.looseObject({ costMicroUSD: z.number() });
