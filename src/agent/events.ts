// The events of the loop, in order. The process logs them; tests read them.

import type { ModelRefusal } from '../api/agent-report.ts';
import type { ErrorCode } from '../error-codes.ts';
import type { IsolationReport } from '../sandbox/protocol.ts';

/** Why the loop stopped. */
export type LoopEnd =
  /** The agent made its claim, and the gateway recorded it. */
  | { readonly reason: 'concluded' }
  /** The lease is over or a limit is reached; gateway and controller know why. */
  | { readonly reason: 'lease-over'; readonly message: string }
  /** The model stopped calling tools without a claim, despite reminders. */
  | { readonly reason: 'silent' }
  /** The model declined to continue, or its API fails in a way that does not pass. */
  | {
      readonly reason: 'model-failed';
      readonly code: ErrorCode;
      readonly message: string;
      readonly refusal?: ModelRefusal;
    }
  /** The shell server kept no time limit, so nothing more can be run in this sandbox. */
  | { readonly reason: 'sandbox-stalled'; readonly message: string }
  /** The process was killed, and what is kept of the conversation is not enough to go on. */
  | { readonly reason: 'interrupted'; readonly message: string }
  /** SIGTERM, or the deadline. */
  | { readonly reason: 'stopped'; readonly message: string };

export type AgentEvent =
  /** A process before this one was killed. */
  | { readonly type: 'resumed'; readonly restarts: number; readonly turn: number }
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
  /** The model declined, and the fallback model of the class is asked. */
  | { readonly type: 'fallback'; readonly model: string; readonly reason: string }
  | { readonly type: 'context-trimmed'; readonly results: number }
  | { readonly type: 'reminded'; readonly count: number }
  | { readonly type: 'ended'; readonly end: LoopEnd };
