// What a door is to the front: data and a few functions. And what all doors share.

import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { NewEntry, Receipt, Writer } from '../../audit/entry.ts';
import type { AuditLog } from '../../audit/log.ts';
import type { OutgoingRequest } from '../../net/request.ts';
import type { Logger } from '../../observability/logger.ts';
import type { AttemptTokens } from '../attempt-tokens.ts';
import type { Budgets } from '../budget.ts';
import type { Concurrency } from '../concurrency.ts';
import type { Identities, Identity } from '../identity.ts';
import type { InFlight } from '../in-flight.ts';
import type { LeaseRegistry } from '../lease-registry.ts';
import type { Lease, Purpose } from '../leases.ts';
import type { LiveOutput } from '../live-output.ts';
import type { GatewayMetrics } from '../metrics.ts';
import type { StatusWriter } from '../status-writer.ts';

/** What the doors work with. Made once by the gateway. */
export interface GatewayContext {
  readonly log: AuditLog;
  readonly identities: Identities;
  readonly leases: LeaseRegistry;
  readonly budgets: Budgets;
  readonly attemptTokens: AttemptTokens;
  readonly status: StatusWriter;
  readonly live: LiveOutput;
  readonly inFlight: InFlight;
  readonly metrics: GatewayMetrics;
  readonly logger: Logger;
}

/** An admitted caller: who it is, and what its lease says. */
export interface Caller {
  readonly identity: Identity;
  readonly lease: Lease;
}

/** One request at a door, and where its answer goes. */
export type Exchange =
  | { readonly type: 'request'; readonly request: IncomingMessage; readonly response: ServerResponse }
  | {
      readonly type: 'upgrade';
      readonly request: IncomingMessage;
      readonly socket: Duplex;
      /** What the caller has already sent after the head of its request. */
      readonly head: Buffer;
    };

/** How a write ended. */
export interface Outcome {
  /** HTTP status; null when there was no answer. */
  readonly status: number | null;
  /** The answer, when it was collected. */
  readonly body?: Buffer;
  /** Bytes that went through a stream. */
  readonly bytesIn?: number;
  readonly bytesOut?: number;
  /** How a stream ended, or why there is no answer. */
  readonly ended?: string;
}

/** An intent on record, waiting for its outcome. */
export interface Intent {
  outcome(outcome: Outcome): Promise<void>;
}

/** A request as it is put on record and sent to an upstream. */
export interface ForwardedRequest {
  readonly method: string;
  /** Path and query, byte by byte. */
  readonly path: string;
  /** All that is said in headers, but for the credentials of the gateway's side. */
  readonly headers: Readonly<OutgoingHttpHeaders>;
  readonly body: Buffer;
}

/**
 * A request that goes on to an upstream. The front hands the same value to `record` and to `open`.
 */
export interface ForwardPlan {
  /** Who answers, for messages: "the API server". */
  readonly upstream: string;
  /** May change something: its outcome is on record before the caller sees the answer. */
  readonly writes: boolean;
  /** The answer goes on as long as somebody listens. */
  readonly follows: boolean;
  readonly request: ForwardedRequest;
  /**
   * Puts the intent on record, if there is to be one. Resolves when it is on disk.
   * @throws AuditUnavailable
   */
  record(request: ForwardedRequest): Promise<Intent | undefined>;
  /** Opens the request to the upstream, with its time limits; its body is still to be sent. */
  open(request: ForwardedRequest): OutgoingRequest;
  /** The headers of an answer that go back. */
  headers(answer: IncomingMessage): OutgoingHttpHeaders;
  /** Makes less of a read's answer, if it was a good one. */
  readonly reduce?: (body: Buffer) => Buffer;
  /**
   * Of an upgrade: what the caller has sent of the new protocol, where that is not all of the
   * exchange's head.
   */
  readonly head?: Buffer;
}

/** A request that the gateway answers itself. */
export interface AnswerPlan {
  answer(response: ServerResponse): Promise<void>;
}

/** A refusal in the words of the door's callers. */
export interface Refused {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
  readonly body: string;
}

/**
 * A door: everything that the front does not know. `Wanted` is the request as the door reads it.
 */
export interface Door<Wanted> {
  /** In metrics and logs. */
  readonly name: 'agent' | 'audit' | 'model' | 'kube' | 'docker';
  /** Of the token that callers prove themselves with. */
  readonly audience: string;
  /** Which state of a lease is enough. */
  readonly purpose: Purpose;
  /**
   * Closed while the audit log cannot be written. The doors whose every request is an append learn
   * it from that.
   */
  readonly requiresAudit: boolean;
  readonly concurrency: Concurrency;
  /** Reads what is wanted from the line of the request. @throws InvalidInput, NotAllowed */
  read(request: IncomingMessage): Wanted;
  /** Decides what becomes of it, and reads its body. @throws what the caller is refused with */
  plan(caller: Caller, wanted: Wanted, exchange: Exchange): Promise<ForwardPlan | AnswerPlan>;
  refusal(error: unknown, request: IncomingMessage): Refused;
  /** Counts it once it is over. `wanted` is undefined where it was refused before it was read. */
  count?(wanted: Wanted | undefined, status: number): void;
}

/** Appends and measures. Resolves when the entry is on disk. */
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
