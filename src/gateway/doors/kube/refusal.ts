// Refusals in the words of the API server, so that kubectl shows the message and knows whether to try again.

import { refusalOf } from '../../../net/http-answer.ts';

const REASONS: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  // The pod is a moment too early; clients of the API obey Retry-After on 429 and 503 only.
  409: 'ServiceUnavailable',
  413: 'RequestEntityTooLarge',
  415: 'UnsupportedMediaType',
  429: 'Forbidden',
  503: 'ServiceUnavailable',
};

/** Paths of objects and collections; what else there is (discovery, OpenAPI, version) is not read as a Status by clients. */
const OF_OBJECTS = /^\/(api\/[^/]+|apis\/[^/]+\/[^/]+)\/[^?/]/;

/** A refusal as metav1.Status; for discovery as plain text, because there kubectl shows nothing else. */
export function statusOf(
  error: unknown,
  url: string,
): { status: number; body: string; headers: Record<string, string> } {
  const refusal = refusalOf(error);
  // A limit that is reached is final: a client that retries 429 would only wait.
  const status = refusal.status === 429 ? 403 : refusal.status === 409 ? 503 : refusal.status;
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
        reason: REASONS[refusal.status] ?? 'InternalError',
        code: status,
      });
  return {
    status,
    body,
    headers: {
      'content-type': plain ? 'text/plain; charset=utf-8' : 'application/json',
      'content-length': String(Buffer.byteLength(body)),
      ...(status === 503 ? { 'retry-after': '1' } : {}),
    },
  };
}
