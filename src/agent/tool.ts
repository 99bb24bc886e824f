// A tool of the loop: a definition for the model, a parser of its input, and an action.

import type Anthropic from '@anthropic-ai/sdk';
import * as z from 'zod';

/** The outcome of a call. */
export const toolOutcome = z.object({
  /** The text for the model. */
  text: z.string(),
  isError: z.boolean(),
  /** The summary for the log: one line, or the command whose result is to be summarized. */
  summary: z.union([z.string(), z.object({ command: z.string() })]),
  exitCode: z.number().int().optional(),
  durationMs: z.number().optional(),
  params: z.json().optional(),
  /** The full text for the log, if it is longer than the summary. */
  blob: z.string().optional(),
  /** True if this call ends the attempt because the agent made its claim. */
  concluded: z.boolean().optional(),
  /** The attempt ends with this call, because no other can follow: the reason. */
  fatal: z.string().optional(),
});
export type ToolOutcome = Readonly<z.infer<typeof toolOutcome>>;

/** A call with valid input, ready to run. */
export interface PreparedCall {
  /** The parameters that are recorded before the call runs. */
  readonly params: z.core.util.JSONType;
  /** What the model says that the call is for. */
  readonly purpose: string;
  run(callKey: string, signal: AbortSignal): Promise<ToolOutcome>;
  /** The outcome of a call that was in flight when the agent was killed. Runs nothing a second time. */
  resume(callKey: string, signal: AbortSignal): Promise<ToolOutcome>;
}

/** A tool that the model can call. */
export interface Tool {
  readonly definition: Anthropic.Tool;
  /**
   * Whether it must be the only call in an answer, because the model must see all results before
   * it.
   */
  readonly alone: boolean;
  /** The call, or a message for the model that says what is wrong with its input and what to do. */
  prepare(input: unknown): PreparedCall | string;
}
