// Forwards the stream of an answer, and says why one is incomplete.

import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import * as z from 'zod';
import { judgeModelError } from '../../../api/model-error.ts';
import { errorMessage, UpstreamUnavailable } from '../../../errors.ts';
import { BodyTooLarge, CutOff, readPieces } from '../../../net/answer-body.ts';
import { TimedOut } from '../../../net/timed-out.ts';
import { type ModelTrouble, troubleOfEvent } from '../../model-troubles.ts';
import type { Seen, UsageMeter } from './usage-meter.ts';

/**
 * A stream without any data for this long, not even a ping, is dead. In milliseconds. Pings are not
 * guaranteed, and the API holds back a parameter of a call until it is whole.
 */
export const SILENCE_MS = 300_000;
/** A caller that does not read for this long is considered disconnected. In milliseconds. */
const UNREAD_MS = 60_000;

/** An event that is longer than this is forwarded in pieces. In bytes. */
const MAX_HELD = 1024 * 1024;

export interface ForwardOptions {
  readonly meter: UsageMeter;
  readonly alive: () => boolean;
  readonly redact: (text: string) => string;
  readonly signal: AbortSignal;
}

/**
 * Forwards a stream by whole events, no faster than the caller reads, while the lease is alive. From an
 * error on without secrets: it may repeat the request with its credential.
 */
export async function forwardStream(
  from: IncomingMessage,
  to: ServerResponse,
  { meter, alive, redact, signal }: ForwardOptions,
): Promise<void> {
  let held: Buffer = Buffer.alloc(0);
  const send = async (bytes: Buffer) => {
    const told = meter.failed ? Buffer.from(redact(bytes.toString('utf8'))) : bytes;
    if (told.length === 0 || to.write(told)) return;
    await once(to, 'drain', { signal: AbortSignal.any([signal, AbortSignal.timeout(UNREAD_MS)]) });
  };
  for await (const piece of readPieces(from, { silenceMs: SILENCE_MS, signal })) {
    if (!alive()) throw new UpstreamUnavailable('the lease ended');
    meter.feed(piece);
    const known = held.length === 0 ? piece : Buffer.concat([held, piece]);
    const end = known.length > MAX_HELD ? known.length : endOfEvents(known);
    held = known.subarray(end);
    await send(known.subarray(0, end));
  }
  await send(held);
}

/** Where the last whole event ends; 0 if there is none. */
function endOfEvents(bytes: Buffer): number {
  const ends = ['\n\n', '\r\r', '\r\n\r\n'].map((end) => ({ at: bytes.lastIndexOf(end), length: end.length }));
  return Math.max(...ends.map(({ at, length }) => (at < 0 ? 0 : at + length)));
}

/** Says why there is no complete answer. */
export function describeCut(error: unknown): string {
  if (error instanceof BodyTooLarge) return 'the answer of the model API is too large';
  if (error instanceof CutOff) return 'the model API closed the connection before the end of its answer';
  if (error instanceof TimedOut) return `the model API sent no data for ${SILENCE_MS / 1000} s`;
  return errorMessage(error);
}

/** What is wrong with an answer that is not complete; undefined if nothing is, or if it will not pass. */
export function describeTrouble(
  { complete, failed, failure }: Seen,
  cut: string | undefined,
  redact: (text: string) => string,
): ModelTrouble | undefined {
  if (failed) {
    const { code, message } = judgeModelError({ status: undefined, body: failure, redact });
    const { type } = streamError.safeParse(failure).data?.error ?? {};
    return code === undefined ? troubleOfEvent(type, message) : undefined;
  }
  if (complete && cut === undefined) return undefined;
  return { reason: 'AnswerCutOff', message: cut ?? 'the model API ended its answer before its end' };
}

const streamError = z.looseObject({ error: z.looseObject({ type: z.string().optional() }) });
