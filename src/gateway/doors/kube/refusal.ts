// Refusals in the API server's format, so that kubectl shows the message and retries correctly.

import { describeRefusal, retryAfter } from '../../../net/http-answer.ts';

const REASONS: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  // The lease does not exist yet. Clients obey Retry-After only with 429 and 503.
  409: 'ServiceUnavailable',
  413: 'RequestEntityTooLarge',
  415: 'UnsupportedMediaType',
  429: 'TooManyRequests',
  503: 'ServiceUnavailable',
};

/**
 * Paths of objects and collections. For others (discovery, OpenAPI, version), clients do not read a
 * Status.
 */
const OF_OBJECTS = /^\/(api\/[^/]+|apis\/[^/]+\/[^/]+)\/[^?/]/;

/**
 * A refusal as metav1.Status. For discovery as plain text, because kubectl shows nothing else
 * there.
 */
export function buildRefusal(
  error: unknown,
  url: string,
): { status: number; body: string; headers: Record<string, string> } {
  const refusal = describeRefusal(error);
  // A reached limit is final, but clients would retry a 429.
  const isFinal = refusal.code === 'OPLAB_LIMIT_REACHED';
  const status = isFinal ? 403 : refusal.status === 409 ? 503 : refusal.status;
  const message = `${refusal.code}: ${refusal.message}`;
  const plain = !OF_OBJECTS.test(url);
  const body = plain
    ? `${message}\n`
    : JSON.stringify({
        kind: 'Status',
        apiVersion: 'v1',
        metadata: {},
        status: 'Failure',
        message,
        reason: REASONS[isFinal ? 403 : refusal.status] ?? 'InternalError',
        code: status,
      });
  return {
    status,
    body,
    headers: {
      'content-type': plain ? 'text/plain; charset=utf-8' : 'application/json',
      'content-length': String(Buffer.byteLength(body)),
      ...(status === 503 || status === 429 ? { 'retry-after': retryAfter(error) } : {}),
    },
  };
}
