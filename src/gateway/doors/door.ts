// The interface between the front and a door, and what all doors share.

import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { NewEntry, Receipt, Writer } from '../../audit/entry.ts';
import type { AuditLog } from '../../audit/log.ts';
import type { OutgoingRequest } from '../../net/request.ts';
import type { Logger } from '../../observability/logger.ts';
import type { AttemptTokens } from '../attempt-tokens.ts';
import type { BodyMemory, MemoryHold } from '../body-memory.ts';
import type { Budgets } from '../budget.ts';
import type { Concurrency } from '../concurrency.ts';
import type { Conversations } from '../conversations.ts';
import type { DayQuota, QuotaClass } from '../day-quota.ts';
import type { Identities, Identity } from '../identity.ts';
import type { InFlight } from '../in-flight.ts';
import type { LeaseRegistry } from '../lease-registry.ts';
import type { Lease, Purpose } from '../leases.ts';
import type { LiveOutput } from '../live-output.ts';
import type { GatewayMetrics } from '../metrics.ts';
import type { ModelTroubles } from '../model-troubles.ts';
import { type Explanation, type RunningCommands, UNEXPLAINED_MARK } from '../running-commands.ts';
import type { StatusWriter } from '../status-writer.ts';
import type { Tripwires } from '../tripwires.ts';

/** The services that the doors use. The gateway creates it once. */
export interface GatewayContext {
  readonly log: AuditLog;
  readonly identities: Identities;
  readonly leases: LeaseRegistry;
  readonly budgets: Budgets;
  readonly dayQuota: Pick<DayQuota, 'reserve'>;
  /** The quota that is in force for the class of this name. */
  readonly quotaClass: (name: string) => QuotaClass;
  readonly attemptTokens: AttemptTokens;
  readonly status: StatusWriter;
  readonly tripwires: Tripwires;
  readonly modelTroubles: Pick<ModelTroubles, 'note' | 'clear'>;
  readonly live: LiveOutput;
  /** Removes known secrets from a text that is shown but not stored. */
  readonly redact: (text: string) => string;
  readonly inFlight: InFlight;
  readonly conversations: Pick<Conversations, 'begin' | 'read' | 'append'>;
  readonly commands: Pick<RunningCommands, 'explain' | 'ended' | 'latest' | 'whenOver'>;
  readonly memory: BodyMemory;
  readonly metrics: GatewayMetrics;
  readonly logger: Logger;
}

/** An admitted caller: its identity and its lease, and the memory of its request. */
export interface Caller {
  readonly identity: Identity;
  readonly lease: Lease;
  /** For every body that is kept as a whole. The front gives it back at the end of the request. */
  readonly memory: MemoryHold;
  /** Whether it has hung up. Nothing is forwarded for it any more. */
  isGone(): boolean;
}

/** One request at a door, and the response or socket for its answer. */
export type Exchange =
  | { readonly type: 'request'; readonly request: IncomingMessage; readonly response: ServerResponse }
  | {
      readonly type: 'upgrade';
      readonly request: IncomingMessage;
      readonly socket: Duplex;
      /** The bytes that the caller has already sent after the head of its request. */
      readonly head: Buffer;
    };

/** How a write ended. */
export interface Outcome {
  /** HTTP status; null when there was no answer. */
  readonly status: number | null;
  /** The answer, if it was collected. */
  readonly body?: Buffer;
  /** `body` is only the beginning of an answer that is too large to be kept. */
  readonly isPartial?: boolean;
  /** Bytes that were forwarded in a stream. */
  readonly bytesIn?: number;
  readonly bytesOut?: number;
  /** How a stream ended, or why there is no answer. */
  readonly ended?: string;
}

/** A recorded intent, which waits for its outcome. */
export interface Intent {
  /** The command that the request belongs to. Without one, the request is not forwarded. */
  readonly explanation: Explanation;
  outcome(outcome: Outcome): Promise<void>;
}

/** A request as it is recorded and sent to an upstream. */
export interface ForwardedRequest {
  readonly method: string;
  /** Path and query, exactly as they are sent. */
  readonly path: string;
  /** All headers except the gateway's own credentials. */
  readonly headers: Readonly<OutgoingHttpHeaders>;
  readonly body: Buffer;
}

/** A request to forward. The front passes the same `request` to `record` and to `open`. */
export interface ForwardPlan {
  /** The name of the upstream in messages: "the API server". */
  readonly upstream: string;
  /** It may change something, so its outcome is recorded before the caller sees the answer. */
  readonly writes: boolean;
  /** The answer continues until the caller or the upstream ends it, such as a watch. */
  readonly follows: boolean;
  readonly request: ForwardedRequest;
  /**
   * Records the intent, if the request needs one. Resolves when it is on disk.
   * @throws AuditUnavailable
   */
  record(request: ForwardedRequest): Promise<Intent | undefined>;
  /** Opens the request to the upstream, with its time limits. The body is not sent yet. */
  open(request: ForwardedRequest): OutgoingRequest;
  /** The headers of the answer that the caller gets. */
  headers(answer: IncomingMessage): OutgoingHttpHeaders;
  /** Filters the answer to a read if its status is 200. */
  readonly reduce?: (body: Buffer) => Buffer;
  /**
   * For an upgrade: the bytes of the new protocol that the caller has sent, if they are not all of
   * the exchange's head.
   */
  readonly head?: Buffer;
}

/** A request that the gateway answers itself. */
export interface AnswerPlan {
  answer(response: ServerResponse): Promise<void>;
}

/** A refusal in the format that the door's callers expect. */
export interface Refused {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
  readonly body: string;
}

/** A door: all that the front does not know. `Wanted` is the request as the door parses it. */
export interface Door<Wanted> {
  /** For metrics and logs. */
  readonly name: 'agent' | 'audit' | 'model' | 'kube' | 'docker';
  /** The audience of the tokens that callers authenticate with. */
  readonly audience: string;
  /** The purpose that the caller's lease must allow. */
  readonly purpose: Purpose;
  /**
   * Whether the door is closed while the audit log cannot be written. A door that appends an entry
   * for every request does not need it: the append fails.
   */
  readonly requiresAudit: boolean;
  readonly concurrency: Concurrency;
  /** Parses the request line. @throws InvalidInput, NotAllowed */
  read(request: IncomingMessage): Wanted;
  /** Decides how the request is answered, and reads its body. @throws the reason of a refusal */
  plan(caller: Caller, wanted: Wanted, exchange: Exchange): Promise<ForwardPlan | AnswerPlan>;
  refusal(error: unknown, request: IncomingMessage): Refused;
  /** Counts the request at its end. `wanted` is undefined if it was refused before parsing. */
  count?(wanted: Wanted | undefined, status: number): void;
}

/** The text of an intent's entry. That no command explains it is said wherever the text is shown. */
export function describeIntent(text: string, explanation: Explanation): string {
  return 'unexplained' in explanation ? `${UNEXPLAINED_MARK}${text}` : text;
}

/** Appends an entry and measures how long that takes. Resolves when the entry is on disk. */
export async function record(
  { log, metrics }: Pick<GatewayContext, 'log' | 'metrics'>,
  { session, attempt }: Lease,
  writer: Writer,
  entry: NewEntry,
): Promise<Receipt> {
  const started = performance.now();
  const receipt = await log.append({ session, attempt, writer }, entry);
  metrics.ackSeconds.observe((performance.now() - started) / 1000);
  return receipt;
}
