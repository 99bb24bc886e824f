// Refusals in the Docker API's format, so that the docker command shows the message.

import { describeRefusal, retryAfter } from '../../../net/http-answer.ts';

/** A refusal as {"message": …}. */
export function dockerRefusal(error: unknown): { status: number; body: string; headers: Record<string, string> } {
  const refusal = describeRefusal(error);
  // A request that the class does not allow gets 403, as from the daemon's own authorization
  // plugins.
  const status =
    refusal.code === 'OPLAB_NOT_ALLOWED' || refusal.code === 'OPLAB_LIMIT_REACHED'
      ? 403
      : refusal.status === 409
        ? 503
        : refusal.status;
  const body = `${JSON.stringify({ message: refusal.code === 'OPLAB_NOT_FOUND' ? refusal.message : `${refusal.code}: ${refusal.message}` })}\n`;
  return {
    status,
    body,
    headers: {
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(body)),
      ...(status === 429 || status === 503 ? { 'retry-after': retryAfter(error) } : {}),
    },
  };
}
