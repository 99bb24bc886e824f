// What the loop tells whoever listens, in the order in which it happens; the process logs it, tests read it.

import type { IsolationReport } from '../sandbox/protocol.ts';

/** Why the loop stopped. */
export type LoopEnd =
  /** The agent made its claim and the gateway has it. */
  | { readonly reason: 'concluded' }
  /** The lease is dead or a ceiling is reached; gateway and controller know why. */
  | { readonly reason: 'lease-over'; readonly message: string }
  /** The model ended its turns without a claim, though reminded. */
  | { readonly reason: 'silent' }
  /** The model declined to go on, or its API refuses the request for good. */
  | { readonly reason: 'model-refused'; readonly message: string }
  /** The shell server kept no time limit, so nothing more can be run in this sandbox. */
  | { readonly reason: 'sandbox-stalled'; readonly message: string }
  /** SIGTERM, or the deadline. */
  | { readonly reason: 'stopped'; readonly message: string };

export type AgentEvent =
  | { readonly type: 'interrupted' }
  | { readonly type: 'isolation'; readonly report: IsolationReport }
  | {
      readonly type: 'answer';
      readonly turn: number;
      readonly stopReason: string | null;
      readonly inputTokens: number;
      readonly outputTokens: number;
    }
  | { readonly type: 'tool-call'; readonly turn: number; readonly tool: string; readonly callKey: string }
  | {
      readonly type: 'tool-result';
      readonly turn: number;
      readonly tool: string;
      readonly callKey: string;
      readonly isError: boolean;
      readonly summary: string;
    }
  | { readonly type: 'context-trimmed'; readonly results: number }
  | { readonly type: 'reminded'; readonly count: number }
  | { readonly type: 'ended'; readonly end: LoopEnd };
