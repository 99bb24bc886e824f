// The one catalogue of errors: every failure that a person or a caller can act on has a stable code here.

/** A stable, searchable error code; the same string stands in conditions, logs, the audit trail and the CLI. */
export type ErrorCode = `OPLAB_${string}`;

/** A failure that somebody can act on. The message says what is wrong and what to do next. */
export class OplabError extends Error {
  readonly code: ErrorCode;
  /** Process exit code that the CLI uses for this failure. */
  readonly exitCode: number;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; exitCode?: number } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = code;
    this.code = code;
    this.exitCode = options.exitCode ?? 1;
  }
}

/**
 * Whether it is one of ours, whichever bundle threw it: each bundle of dist/ has its own copy of the class, which
 * `instanceof` in another one does not know.
 */
export function isOplabError(error: unknown): error is OplabError {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    error.code.startsWith('OPLAB_') &&
    'exitCode' in error &&
    typeof error.exitCode === 'number'
  );
}

/** Input from outside does not fit its schema; the message names the field, the value and the fix. */
export class InvalidInput extends OplabError {
  constructor(message: string, cause?: unknown) {
    super('OPLAB_INVALID_INPUT', message, { cause, exitCode: 2 });
  }
}

/** The caller has no live lease: its Incident ended, was cancelled, or another attempt took over. */
export class NoLease extends OplabError {
  constructor(message: string) {
    super('OPLAB_NO_LEASE', message);
  }
}

/** A limit (turns, tokens, cost, time) is reached; the gateway refuses to go on. */
export class LimitReached extends OplabError {
  readonly limit: 'turns' | 'tokens' | 'cost' | 'time';
  constructor(limit: LimitReached['limit'], message: string) {
    super('OPLAB_LIMIT_REACHED', message);
    this.limit = limit;
  }
}

/** The audit log cannot take entries, so nothing may run. */
export class AuditUnavailable extends OplabError {
  constructor(message: string, cause?: unknown) {
    super('OPLAB_AUDIT_UNAVAILABLE', message, { cause });
  }
}

/** The same client key came with another body: the caller reuses a key that is taken. */
export class AuditConflict extends OplabError {
  constructor(message: string) {
    super('OPLAB_AUDIT_CONFLICT', message);
  }
}

/** The session is sealed: nothing can be added to it any more. */
export class SessionSealed extends OplabError {
  constructor(message: string) {
    super('OPLAB_SESSION_SEALED', message);
  }
}

/** The caller could not prove who it is: no token, a token of another audience, or one that is not valid any more. */
export class Unauthenticated extends OplabError {
  constructor(message: string) {
    super('OPLAB_UNAUTHENTICATED', message);
  }
}

/** The attempt is known, but its pod is not yet entered in the Incident's status; the caller tries again in a moment. */
export class NoLeaseYet extends OplabError {
  constructor(message: string) {
    super('OPLAB_NO_LEASE_YET', message);
  }
}

/** The request asks for something that the caller's AgentClass or the gateway does not allow; trying again cannot help. */
export class NotAllowed extends OplabError {
  constructor(message: string) {
    super('OPLAB_NOT_ALLOWED', message);
  }
}

/** A server behind the gateway (model API, API server) cannot be reached; the caller tries again. */
export class UpstreamUnavailable extends OplabError {
  constructor(message: string, cause?: unknown) {
    super('OPLAB_UPSTREAM_UNAVAILABLE', message, { cause });
  }
}

/** Too many requests of this caller are under way; it tries again in a moment. */
export class TooBusy extends OplabError {
  constructor(message: string) {
    super('OPLAB_TOO_BUSY', message);
  }
}

/** A body is larger than what its reader takes. */
export class TooLarge extends OplabError {
  constructor(message: string) {
    super('OPLAB_TOO_LARGE', message);
  }
}

/** What a command names does not exist. */
export class NotFound extends OplabError {
  constructor(message: string, cause?: unknown) {
    super('OPLAB_NOT_FOUND', message, { cause, exitCode: 3 });
  }
}

/** The audit log does not add up; what is wrong was printed. */
export class VerificationFailed extends OplabError {
  constructor(message: string) {
    super('OPLAB_VERIFICATION_FAILED', message, { exitCode: 4 });
  }
}

/** The gateway's read API cannot be reached from here. */
export class GatewayUnreachable extends OplabError {
  constructor(message: string, cause?: unknown) {
    super('OPLAB_GATEWAY_UNREACHABLE', message, { cause });
  }
}

/** No route of the intake matches the labels of an alert; add one, or do not send such alerts. */
export class NoRoute extends OplabError {
  constructor(message: string) {
    super('OPLAB_NO_ROUTE', message);
  }
}

/** An alert's route cannot make an Incident of it; the message names what is missing. Sending it again cannot help. */
export class AlertRefused extends OplabError {
  constructor(message: string, cause?: unknown) {
    super('OPLAB_ALERT_REFUSED', message, { cause });
  }
}

/** The intake cannot take alerts just now: API server, token or room for one more is missing. The sender tries again. */
export class IntakeUnavailable extends OplabError {
  constructor(message: string, cause?: unknown) {
    super('OPLAB_INTAKE_UNAVAILABLE', message, { cause });
  }
}

/** The command draws on the screen, and there is none: input or output is a file or a pipe. */
export class NotATerminal extends OplabError {
  constructor(message: string) {
    super('OPLAB_NOT_A_TERMINAL', message, { exitCode: 2 });
  }
}

/** The Node that runs us is too old. */
export class UnfitNode extends OplabError {
  constructor(message: string) {
    super('OPLAB_UNFIT_NODE', message);
  }
}

/** The text of an unknown failure, for logs and conditions. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
