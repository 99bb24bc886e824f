// The errors of oplab: one class for each failure that a caller can act on, each with its code.

import { ERRORS, type ErrorCode, isErrorCode } from './error-codes.ts';

/** A failure that someone can act on. The message says what is wrong and what to do next. */
export class OplabError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = code;
    this.code = code;
  }

  /** Exit code of a process that ends with this error. */
  get exitCode(): number {
    return ERRORS[this.code].exitCode;
  }
}

/**
 * Whether an error comes from this catalogue, whichever bundle threw it. Each bundle in dist/ has
 * its own copy of OplabError, so `instanceof` fails for errors from another bundle.
 */
export function isOplabError(error: unknown): error is OplabError {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && isErrorCode(error.code);
}

/** The input does not match its schema. The message names the field, the value and the fix. */
export class InvalidInput extends OplabError {
  constructor(message: string, cause?: unknown) {
    super('OPLAB_INVALID_INPUT', message, { cause });
  }
}

/**
 * The caller has no live lease: its Incident ended, was cancelled, or another attempt took over.
 */
export class NoLease extends OplabError {
  constructor(message: string) {
    super('OPLAB_NO_LEASE', message);
  }
}

/**
 * The Incident has reached a limit (turns, tokens, cost, time or record), or its class the quota of
 * the day. The gateway refuses further work.
 */
export class LimitReached extends OplabError {
  /** `record` is its share of the audit log, `day` the quota of its class. */
  readonly limit: 'turns' | 'tokens' | 'cost' | 'time' | 'record' | 'day';
  constructor(limit: LimitReached['limit'], message: string) {
    super('OPLAB_LIMIT_REACHED', message);
    this.limit = limit;
  }
}

/** The audit log cannot accept entries, so nothing may run. */
export class AuditUnavailable extends OplabError {
  constructor(message: string, cause?: unknown) {
    super('OPLAB_AUDIT_UNAVAILABLE', message, { cause });
  }
}

/** The caller reused a client key for a different entry. */
export class AuditConflict extends OplabError {
  constructor(message: string) {
    super('OPLAB_AUDIT_CONFLICT', message);
  }
}

/** The session is sealed. No more entries can be added to it. */
export class SessionSealed extends OplabError {
  constructor(message: string) {
    super('OPLAB_SESSION_SEALED', message);
  }
}

/** The caller's token is missing, has another audience or is no longer valid. */
export class Unauthenticated extends OplabError {
  constructor(message: string) {
    super('OPLAB_UNAUTHENTICATED', message);
  }
}

/** The attempt's pod is not yet in the Incident's status. The caller tries again in a moment. */
export class NoLeaseYet extends OplabError {
  constructor(message: string) {
    super('OPLAB_NO_LEASE_YET', message);
  }
}

/** The AgentClass or the gateway does not allow the request. A retry will not succeed. */
export class NotAllowed extends OplabError {
  constructor(message: string) {
    super('OPLAB_NOT_ALLOWED', message);
  }
}

/**
 * A server behind the gateway (model API, API server or Docker host) cannot be reached. Retryable.
 */
export class UpstreamUnavailable extends OplabError {
  constructor(message: string, cause?: unknown) {
    super('OPLAB_UPSTREAM_UNAVAILABLE', message, { cause });
  }
}

/** The caller has too many requests in progress. It tries again in a moment. */
export class TooBusy extends OplabError {
  constructor(message: string) {
    super('OPLAB_TOO_BUSY', message);
  }
}

/**
 * The caller uses more of the gateway than its share. It tries again in a moment. Nobody else is
 * refused because of it.
 */
export class OverQuota extends OplabError {
  /** When to try again, in seconds. */
  readonly retryAfterSeconds: number;
  constructor(message: string, retryAfterSeconds = 1) {
    super('OPLAB_OVER_QUOTA', message);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** A request or response body is larger than its limit. */
export class TooLarge extends OplabError {
  constructor(message: string) {
    super('OPLAB_TOO_LARGE', message);
  }
}

/** The object that a command or request names does not exist. */
export class NotFound extends OplabError {
  constructor(message: string, cause?: unknown) {
    super('OPLAB_NOT_FOUND', message, { cause });
  }
}

/** The audit log is not consistent. The findings were printed. */
export class VerificationFailed extends OplabError {
  constructor(message: string) {
    super('OPLAB_VERIFICATION_FAILED', message);
  }
}

/** An undo left something as it is. What and why was printed. */
export class UndoIncomplete extends OplabError {
  constructor(message: string) {
    super('OPLAB_UNDO_INCOMPLETE', message);
  }
}

/** The client cannot reach the gateway's read API. */
export class GatewayUnreachable extends OplabError {
  constructor(message: string, cause?: unknown) {
    super('OPLAB_GATEWAY_UNREACHABLE', message, { cause });
  }
}

/** The route of the intake does not match the labels of the alert. */
export class NoRoute extends OplabError {
  constructor(message: string) {
    super('OPLAB_NO_ROUTE', message);
  }
}

/** The matching route cannot turn the alert into an Incident. Sending it again does not help. */
export class AlertRefused extends OplabError {
  constructor(message: string, cause?: unknown) {
    super('OPLAB_ALERT_REFUSED', message, { cause });
  }
}

/** The intake cannot accept alerts now. The sender tries again. */
export class IntakeUnavailable extends OplabError {
  constructor(message: string, cause?: unknown) {
    super('OPLAB_INTAKE_UNAVAILABLE', message, { cause });
  }
}

/** The command needs a terminal, but its input or output is a file or a pipe. */
export class NotATerminal extends OplabError {
  constructor(message: string) {
    super('OPLAB_NOT_A_TERMINAL', message);
  }
}

/** The Node.js version that runs oplab is too old. */
export class UnfitNode extends OplabError {
  constructor(message: string) {
    super('OPLAB_UNFIT_NODE', message);
  }
}

/** The message of a thrown value of unknown type, for logs and conditions. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
