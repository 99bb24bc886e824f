// Reads request bodies as JSON, and answers with JSON or with a refusal that has a stable code.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type * as z from 'zod';
import { ERRORS, type ErrorCode } from '../error-codes.ts';
import { errorMessage, InvalidInput, LimitReached, OplabError, OverQuota, TooLarge } from '../errors.ts';
import { parseInput } from '../input/parse-input.ts';
import type { ErrorBody } from './error-body.ts';

/** A refusal as it is sent. */
export interface Refusal {
  readonly status: number;
  readonly code: ErrorCode;
  readonly message: string;
  /** Whether the same request may succeed later. */
  readonly retry: boolean;
}

/**
 * The refusal that a caller gets for a failure. A failure without a code is a bug of ours, so its
 * message appears only in the log.
 */
export function describeRefusal(error: unknown): Refusal {
  if (!(error instanceof OplabError)) {
    return { status: 500, code: 'OPLAB_INTERNAL', message: 'the gateway failed; its log says why', retry: true };
  }
  const { status, retry } = ERRORS[error.code];
  return { status, code: error.code, message: errorMessage(error), retry };
}

export function sendJson(response: ServerResponse, status: number, body: unknown, headers: object = {}): void {
  if (response.headersSent || response.destroyed) return;
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    ...headers,
  });
  response.end(text);
}

/** Answers with a refusal. An answer that has already begun is cut off instead. */
export function sendRefusal(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const { status, code, message, retry } = describeRefusal(error);
  const body: ErrorBody = { error: { code, message } };
  sendJson(response, status, body, retryHeaders(retry, error));
}

/** Clients of the Messages API obey these two headers. */
export function retryHeaders(retry: boolean, error: unknown): Record<string, string> {
  if (error instanceof LimitReached) return { 'x-should-retry': 'false' };
  return { 'x-should-retry': String(retry), ...(retry ? { 'retry-after': retryAfter(error) } : {}) };
}

/** The value of Retry-After for a refusal that may be tried again, in seconds. */
export function retryAfter(error: unknown): string {
  return String(error instanceof OverQuota ? error.retryAfterSeconds : 1);
}

/**
 * The whole body, up to `limit` bytes.
 * @param reserve called before bytes are kept in memory: for all that are announced, or else for
 * each piece. What it throws ends the reading
 * @throws TooLarge, InvalidInput when the caller hangs up before the end
 */
export async function readBody(
  request: IncomingMessage,
  limit: number,
  reserve: (bytes: number) => void = () => {},
): Promise<Buffer> {
  const announced = readLength(request, limit);
  if (announced !== undefined && announced > 0) reserve(announced);
  const pieces: Buffer[] = [];
  for await (const piece of bodyPieces(request, limit)) {
    if (announced === undefined) reserve(piece.length);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/**
 * Reads a body without keeping it. @returns its length in bytes
 * @param reserve as for `readBody`
 * @param onPiece sees each piece as it passes
 * @throws TooLarge, InvalidInput when the caller hangs up before the end
 */
export async function discardBody(
  request: IncomingMessage,
  limit: number,
  reserve: (bytes: number) => void = () => {},
  onPiece: (piece: Buffer) => void = () => {},
): Promise<number> {
  const announced = readLength(request, limit);
  if (announced !== undefined && announced > 0) reserve(announced);
  let size = 0;
  for await (const piece of bodyPieces(request, limit)) {
    if (announced === undefined) reserve(piece.length);
    size += piece.length;
    onPiece(piece);
  }
  return size;
}

/** The announced length in bytes; undefined for a body in chunks. @throws TooLarge */
function readLength({ headers }: IncomingMessage, limit: number): number | undefined {
  const length = headers['content-length'];
  if (length === undefined) return undefined;
  if (Number(length) > limit) throw new TooLarge(`the body has ${length} bytes; at most ${limit} are accepted`);
  return Number(length);
}

async function* bodyPieces(request: IncomingMessage, limit: number): AsyncGenerator<Buffer> {
  let size = 0;
  try {
    // Destroyed on return, the request could not be answered any more.
    for await (const piece of request.iterator({ destroyOnReturn: false })) {
      if (!Buffer.isBuffer(piece)) continue;
      size += piece.length;
      if (size > limit) throw new TooLarge(`the body is longer than ${limit} bytes`);
      yield piece;
    }
  } catch (error) {
    if (error instanceof OplabError) throw error;
    throw new InvalidInput('the body was cut off', error);
  }
}

/** Parses JSON with a schema. An empty body counts as `{}`. @throws InvalidInput */
export function parseJson<T>(body: Buffer, schema: z.ZodType<T>): T {
  let content: unknown;
  try {
    content = body.length === 0 ? {} : JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw new InvalidInput('the body is not JSON', error);
  }
  return parseInput(schema, content, 'the body is not valid', { values: 'hidden' });
}
