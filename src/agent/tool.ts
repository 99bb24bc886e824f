// What a tool is to the loop: a definition for the model, a parser of its input, and something that happens.

import type Anthropic from '@anthropic-ai/sdk';
import type { z } from 'zod';

/** What came of a call. */
export interface ToolOutcome {
  /** For the model. */
  readonly text: string;
  readonly isError: boolean;
  /** For the log: one line, or the text to summarise. */
  readonly summary: string | { readonly command: string };
  readonly exitCode?: number;
  readonly durationMs?: number;
  readonly params?: z.core.util.JSONType;
  /** The full text for the log, if there is more than the summary. */
  readonly blob?: string;
  /** The attempt ends with this call, because the agent made its claim. */
  readonly concluded?: boolean;
  /** The attempt ends with this call, because no other can follow: the reason. */
  readonly fatal?: string;
}

/** A call whose input is understood; running it is all that is left. */
export interface PreparedCall {
  /** As it is recorded before it happens. */
  readonly params: z.core.util.JSONType;
  /** Why, in the model's words. */
  readonly reasoning: string;
  run(callKey: string, signal: AbortSignal): Promise<ToolOutcome>;
}

export interface Tool {
  readonly definition: Anthropic.Tool;
  /** Whether it may only come alone: its meaning depends on having seen the results of all that went before. */
  readonly alone: boolean;
  /** The call, or a sentence for the model that says what is wrong with its input and what to write instead. */
  prepare(input: unknown): PreparedCall | string;
}
