// Failures of calls to the API server, as errors that a caller can tell apart.

import { z } from 'zod';
import { OplabError } from '../errors.ts';

/** A `metav1.Status`, as far as oplab reads it. */
const statusBody = z.looseObject({
  kind: z.literal('Status').optional(),
  message: z.string().optional(),
  reason: z.string().optional(),
  code: z.number().optional(),
  details: z.looseObject({ retryAfterSeconds: z.number().optional() }).nullish(),
});

/** The API server refused a call, or could not be reached (`status` 0, reason `Unreachable` or `Timeout`). */
export class KubeError extends OplabError {
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  /** The machine-readable reason of the API server: NotFound, Conflict, AlreadyExists, Expired, Forbidden … */
  readonly reason: string;
  /** How long the server asked to wait before the next try; undefined when it did not say. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    status: number,
    reason: string,
    message: string,
    options: { cause?: unknown; retryAfterSeconds?: number | undefined } = {},
  ) {
    super(status === 0 ? 'OPLAB_KUBE_UNREACHABLE' : 'OPLAB_KUBE_API', message, { cause: options.cause });
    this.status = status;
    this.reason = reason;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  410: 'Expired',
  422: 'Invalid',
  429: 'TooManyRequests',
  503: 'ServiceUnavailable',
};

/** The error behind an answer with a status of 400 or more, or behind an ERROR event of a watch. */
export function kubeErrorFrom(status: number, body: string, doing: string): KubeError {
  let parsed: z.infer<typeof statusBody> = {};
  try {
    const result = statusBody.safeParse(JSON.parse(body));
    if (result.success) parsed = result.data;
  } catch {
    // Not JSON: a proxy or an aggregated API in between; its text is all there is.
  }
  const code = parsed.code ?? status;
  const text = parsed.message ?? body.slice(0, 512).trim();
  return new KubeError(code, parsed.reason || (REASONS[code] ?? 'Unknown'), `${doing}: ${text || `HTTP ${status}`}`, {
    retryAfterSeconds: parsed.details?.retryAfterSeconds,
  });
}

/** The object does not exist (or its kind is not known to the server). */
export function isNotFound(error: unknown): error is KubeError {
  return error instanceof KubeError && error.status === 404;
}

/** Somebody else changed the object first, or a precondition (uid, resourceVersion) does not hold. */
export function isConflict(error: unknown): error is KubeError {
  return error instanceof KubeError && error.status === 409 && error.reason !== 'AlreadyExists';
}

/** An object of that name exists already. */
export function isAlreadyExists(error: unknown): error is KubeError {
  return error instanceof KubeError && error.status === 409 && error.reason === 'AlreadyExists';
}

/** The resource version is too old to resume from: list again. */
export function isGone(error: unknown): error is KubeError {
  return error instanceof KubeError && (error.status === 410 || error.reason === 'Expired' || error.reason === 'Gone');
}

/** RBAC, an admission policy or a quota says no. */
export function isForbidden(error: unknown): error is KubeError {
  return error instanceof KubeError && error.status === 403;
}

/** The object fits no schema or rule; trying again cannot help. */
export function isInvalid(error: unknown): error is KubeError {
  return error instanceof KubeError && (error.status === 422 || error.status === 400);
}
