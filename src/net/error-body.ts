// The body of a refusal, which the agent and the CLI read.
import * as z from 'zod';

/** The body of every refusal. */
export const errorBody = z.object({ error: z.object({ code: z.string(), message: z.string() }) });
export type ErrorBody = z.infer<typeof errorBody>;
