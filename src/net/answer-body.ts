// Reads the body of an answer with limits on its size, on silence and on time.

import type { IncomingMessage } from 'node:http';
import { toError } from './request.ts';
import { TimedOut } from './timed-out.ts';

/** When to stop reading. */
export interface ReadLimits {
  /** The longest pause between two pieces, in milliseconds, without the time of the reader. */
  readonly silenceMs?: number;
  /** How long the whole body may take, in milliseconds. */
  readonly wholeMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** The body has more bytes than its reader accepts. */
export class BodyTooLarge extends Error {
  constructor(maxBytes: number) {
    super(`the answer is larger than ${maxBytes} bytes`);
  }
}

/** The connection ended before the end of the body. */
export class CutOff extends Error {
  constructor(cause?: unknown) {
    super('the answer was cut off', { cause });
  }
}

/**
 * Yields a body piece by piece, no faster than its reader asks for it.
 * @throws TimedOut, CutOff, or the reason of the signal
 */
export async function* readPieces(answer: IncomingMessage, limits: ReadLimits = {}): AsyncGenerator<Buffer> {
  const { silenceMs, wholeMs, signal } = limits;
  let stopped: Error | undefined;
  const stop = (why: Error) => {
    stopped ??= why;
    answer.destroy(why);
  };
  const abort = () => stop(toError(signal?.reason));
  const after = (ms: number | undefined, phase: 'silence' | 'whole') =>
    ms === undefined ? undefined : setTimeout(() => stop(new TimedOut(phase, ms)), ms);
  const whole = after(wholeMs, 'whole');
  let silence = after(silenceMs, 'silence');
  signal?.addEventListener('abort', abort, { once: true });
  if (signal?.aborted) abort();
  try {
    for await (const piece of answer) {
      clearTimeout(silence);
      if (stopped !== undefined) throw stopped;
      yield Buffer.from(piece);
      silence = after(silenceMs, 'silence');
    }
    if (!answer.complete) throw new CutOff();
  } catch (error) {
    // The time limit of the whole request also arrives here.
    throw stopped ?? (error instanceof TimedOut || error instanceof CutOff ? error : new CutOff(error));
  } finally {
    clearTimeout(silence);
    clearTimeout(whole);
    signal?.removeEventListener('abort', abort);
  }
}

/** The whole body. @throws BodyTooLarge, TimedOut, CutOff, or the reason of the signal */
export async function readAnswer(answer: IncomingMessage, maxBytes: number, limits: ReadLimits = {}): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of readPieces(answer, limits)) {
    size += piece.length;
    if (size > maxBytes) throw new BodyTooLarge(maxBytes);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/**
 * The beginning of a body that only explains something: at most `maxBytes`, and only the part that
 * arrived within `wholeMs`. Never throws.
 */
export async function readBeginning(answer: IncomingMessage, maxBytes: number, wholeMs: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  try {
    for await (const piece of readPieces(answer, { wholeMs })) {
      pieces.push(piece);
      size += piece.length;
      if (size >= maxBytes) break;
    }
  } catch {
    // The part that arrived is enough.
  }
  return Buffer.concat(pieces).subarray(0, maxBytes);
}
