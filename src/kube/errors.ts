// Errors of calls to the API server, with predicates that distinguish their causes.

import * as z from 'zod';
import { OplabError } from '../errors.ts';

/** The part of a `metav1.Status` that oplab reads. */
const statusBody = z.looseObject({
  kind: z.literal('Status').optional(),
  message: z.string().optional(),
  reason: z.string().optional(),
  code: z.number().optional(),
  details: z.looseObject({ retryAfterSeconds: z.number().optional() }).nullish(),
});

/**
 * The API server refused a call, or cannot be reached (`status` 0, reason `Unreachable` or
 * `Timeout`).
 */
export class KubeError extends OplabError {
  /** HTTP status; 0 if there was no answer. */
  readonly status: number;
  /**
   * The machine-readable reason of the API server: NotFound, Conflict, AlreadyExists, Expired,
   * Forbidden …
   */
  readonly reason: string;
  /** How long the server asks to wait before the next attempt; undefined if it does not say. */
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

/** The error in an answer with a status of 400 or more, or in an ERROR event of a watch. */
export function kubeErrorFrom(status: number, body: string, doing: string): KubeError {
  let parsed: z.infer<typeof statusBody> = {};
  try {
    const result = statusBody.safeParse(JSON.parse(body));
    if (result.success) parsed = result.data;
  } catch {
    // The answer of a proxy or an aggregated API may not be JSON. Its text is all there is.
  }
  const code = parsed.code ?? status;
  const text = parsed.message ?? body.slice(0, 512).trim();
  return new KubeError(code, parsed.reason || (REASONS[code] ?? 'Unknown'), `${doing}: ${text || `HTTP ${status}`}`, {
    retryAfterSeconds: parsed.details?.retryAfterSeconds,
  });
}

/** The object does not exist, or the server does not know its kind. */
export function isNotFound(error: unknown): error is KubeError {
  return error instanceof KubeError && error.status === 404;
}

/**
 * Another client changed the object first, or a precondition (uid, resourceVersion) does not hold.
 */
export function isConflict(error: unknown): error is KubeError {
  return error instanceof KubeError && error.status === 409 && error.reason !== 'AlreadyExists';
}

/** An object with the same name already exists. */
export function isAlreadyExists(error: unknown): error is KubeError {
  return error instanceof KubeError && error.status === 409 && error.reason === 'AlreadyExists';
}

/** The resource version is too old to resume from, so the caller must list again. */
export function isGone(error: unknown): error is KubeError {
  return error instanceof KubeError && (error.status === 410 || error.reason === 'Expired' || error.reason === 'Gone');
}

/** RBAC, an admission policy or a quota forbids the call. */
export function isForbidden(error: unknown): error is KubeError {
  return error instanceof KubeError && error.status === 403;
}

/**
 * A ResourceQuota forbids the call until something is deleted. Kubernetes has no reason of its own
 * for this, only the text of its admission plugin.
 */
export function isQuotaExceeded(error: unknown): error is KubeError {
  return isForbidden(error) && error.message.includes('exceeded quota: ');
}

/** The object violates its schema or a rule. Trying again does not help. */
export function isInvalid(error: unknown): error is KubeError {
  return error instanceof KubeError && (error.status === 422 || error.status === 400);
}
