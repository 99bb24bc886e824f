// The one catalogue of errors: every failure that a person or a caller can act on has a stable code here.

/** What follows from a code, wherever it appears. */
interface ErrorFacts {
  /** HTTP status of a refusal with this code, at the gateway, the intake and the shell server. */
  readonly status: number;
  /** Exit code of a command or process that ends with it. */
  readonly exitCode: number;
  /** Whether the same request may succeed later without a change. */
  readonly retry: boolean;
  /** For the reference. */
  readonly meaning: string;
}

/** Every code that there is. One that is missing here does not compile. */
export const ERRORS = {
  OPLAB_INVALID_INPUT: {
    status: 400,
    exitCode: 2,
    retry: false,
    meaning: 'Input from outside does not fit its schema. The message names the field, the value and the fix.',
  },
  OPLAB_UNAUTHENTICATED: {
    status: 401,
    exitCode: 1,
    retry: false,
    meaning:
      'The caller could not prove who it is: no token, a token of another audience, or one that is no longer valid.',
  },
  OPLAB_NO_LEASE: {
    status: 403,
    exitCode: 1,
    retry: false,
    meaning: 'The caller has no live lease: its Incident ended or was cancelled, or another attempt took over.',
  },
  OPLAB_NO_LEASE_YET: {
    status: 409,
    exitCode: 1,
    retry: true,
    meaning: "The attempt is known, but its pod is not yet in the Incident's status. Try again in a moment.",
  },
  OPLAB_SESSION_SEALED: {
    status: 403,
    exitCode: 1,
    retry: false,
    meaning: 'The session is sealed. Nothing can be added to it.',
  },
  OPLAB_LIMIT_REACHED: {
    status: 429,
    exitCode: 1,
    retry: false,
    meaning: 'A limit of the Incident (turns, tokens, cost or time) is reached. The gateway refuses further work.',
  },
  OPLAB_NOT_ALLOWED: {
    status: 400,
    exitCode: 1,
    retry: false,
    meaning: "The caller's AgentClass or the gateway does not allow the request. Trying again cannot help.",
  },
  OPLAB_NOT_FOUND: {
    status: 404,
    exitCode: 3,
    retry: false,
    meaning: 'What a command or a request names does not exist.',
  },
  OPLAB_TOO_LARGE: { status: 413, exitCode: 1, retry: false, meaning: 'A body is larger than its reader accepts.' },
  OPLAB_TOO_BUSY: {
    status: 503,
    exitCode: 1,
    retry: true,
    meaning: 'Too many requests of this caller are in progress. Try again in a moment.',
  },
  OPLAB_AUDIT_UNAVAILABLE: {
    status: 503,
    exitCode: 1,
    retry: true,
    meaning: 'The audit log cannot take entries, so nothing may run.',
  },
  OPLAB_AUDIT_CONFLICT: {
    status: 409,
    exitCode: 1,
    retry: false,
    meaning: 'The same client key came with another body: the caller reuses a key that is taken.',
  },
  OPLAB_UPSTREAM_UNAVAILABLE: {
    status: 503,
    exitCode: 1,
    retry: true,
    meaning: 'A server behind the gateway (model API, API server, Docker) cannot be reached. Try again.',
  },
  OPLAB_INTERNAL: {
    status: 500,
    exitCode: 1,
    retry: true,
    meaning: 'A failure without a code of its own. The log of the process that answered says why.',
  },
  OPLAB_GATEWAY_UNREACHABLE: {
    status: 503,
    exitCode: 1,
    retry: true,
    meaning: "The gateway's read API cannot be reached from here.",
  },
  OPLAB_GATEWAY_REFUSED: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: 'The gateway refused a request in words that this version does not know.',
  },
  OPLAB_KUBE_UNREACHABLE: {
    status: 500,
    exitCode: 1,
    retry: true,
    meaning: 'The API server cannot be reached, or did not answer in time.',
  },
  OPLAB_KUBE_API: {
    status: 500,
    exitCode: 1,
    retry: true,
    meaning: 'The API server refused a call. The message is its own.',
  },
  OPLAB_NO_ROUTE: {
    status: 422,
    exitCode: 1,
    retry: false,
    meaning: 'No route of the intake matches the labels of an alert. Add one, or do not send such alerts.',
  },
  OPLAB_ALERT_REFUSED: {
    status: 422,
    exitCode: 1,
    retry: false,
    meaning: 'The route of an alert cannot make an Incident of it. The message names what is missing.',
  },
  OPLAB_INTAKE_UNAVAILABLE: {
    status: 503,
    exitCode: 1,
    retry: true,
    meaning:
      'The intake cannot take alerts now: the API server, a token or room for one more is missing. Send them again.',
  },
  OPLAB_MODEL_REFUSED: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: 'The Messages API refused a request for good.',
  },
  OPLAB_CONTEXT_FULL: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: "The conversation no longer fits into the model's context window.",
  },
  OPLAB_NO_SUMMARY: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: 'The small model returned no summary of an output.',
  },
  OPLAB_SANDBOX_UNREACHABLE: {
    status: 500,
    exitCode: 1,
    retry: true,
    meaning: 'No shell server answers on the socket of the sandbox.',
  },
  OPLAB_SANDBOX_REFUSED: { status: 500, exitCode: 1, retry: false, meaning: 'The shell server refused a command.' },
  OPLAB_SANDBOX_LOST: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: 'The sandbox was lost while a command ran. Whether the command finished is not known.',
  },
  OPLAB_SANDBOX_STALLED: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: 'The shell server did not report the end of a command within its time limit. The attempt ends.',
  },
  OPLAB_VERIFICATION_FAILED: {
    status: 500,
    exitCode: 4,
    retry: false,
    meaning: 'The audit log is not consistent. What is wrong was printed.',
  },
  OPLAB_NOT_A_TERMINAL: {
    status: 500,
    exitCode: 2,
    retry: false,
    meaning: 'The command draws on the screen, but its input or output is a file or a pipe.',
  },
  OPLAB_UNFIT_NODE: { status: 500, exitCode: 1, retry: false, meaning: 'The Node that runs oplab is too old.' },
  OPLAB_TOOL_MISSING: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: 'Development: a program is missing, and it cannot be installed here.',
  },
  OPLAB_BUILD_FAILED: { status: 500, exitCode: 1, retry: false, meaning: 'Development: a build from source failed.' },
  OPLAB_DOCKER_UNAVAILABLE: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: 'Development: Docker does not run and cannot be started.',
  },
  OPLAB_CLUSTER_UNREACHABLE: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: 'Development: the cluster of the laboratory does not answer.',
  },
  OPLAB_PATIENT_UNHEALTHY: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: 'Development: the TiKV cluster of the laboratory did not become healthy.',
  },
  OPLAB_PATIENT_WAIT: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: 'Development: what a trial waits for did not happen in time.',
  },
  OPLAB_PATIENT_PROOF: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: 'Development: the TiKV cluster of the laboratory does not behave as its proof demands.',
  },
  OPLAB_DEMO_NOT_DETECTED: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: 'Development: no Monitor noticed the fault of the demo in time.',
  },
} as const satisfies Readonly<Record<`OPLAB_${string}`, ErrorFacts>>;

/** A stable, searchable error code. Conditions, logs, the audit trail and the CLI show the same one. */
export type ErrorCode = keyof typeof ERRORS;

/** Whether a text, for example from another process, is a code of this catalogue. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERRORS, text);
}

/** A failure that somebody can act on. The message says what is wrong and what to do next. */
export class OplabError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = code;
    this.code = code;
  }

  /** Exit code of a process that ends with this failure. */
  get exitCode(): number {
    return ERRORS[this.code].exitCode;
  }
}

/**
 * Whether it is one of ours, whichever bundle threw it. Each bundle of dist/ has its own copy of the class, which
 * `instanceof` in another one does not know.
 */
export function isOplabError(error: unknown): error is OplabError {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && isErrorCode(error.code);
}

/** Input from outside does not fit its schema; the message names the field, the value and the fix. */
export class InvalidInput extends OplabError {
  constructor(message: string, cause?: unknown) {
    super('OPLAB_INVALID_INPUT', message, { cause });
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
    super('OPLAB_NOT_FOUND', message, { cause });
  }
}

/** The audit log does not add up; what is wrong was printed. */
export class VerificationFailed extends OplabError {
  constructor(message: string) {
    super('OPLAB_VERIFICATION_FAILED', message);
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
    super('OPLAB_NOT_A_TERMINAL', message);
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
