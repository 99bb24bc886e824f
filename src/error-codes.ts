// The closed catalogue of error codes: status, exit code, and whether a retry can help.

/** The properties of a code. They are the same wherever the code appears. */
interface ErrorFacts {
  /** HTTP status of a response with this code from the gateway, the intake or the shell server. */
  readonly status: number;
  /** Exit code of a command or process that ends with this code. */
  readonly exitCode: number;
  /** Whether the same request may succeed later without a change. */
  readonly retry: boolean;
  /** Description for the generated reference. */
  readonly meaning: string;
}

/** All codes. A code that is not listed here does not compile. */
export const ERRORS = {
  OPLAB_INVALID_INPUT: {
    status: 400,
    exitCode: 2,
    retry: false,
    meaning: 'The input does not match its schema. The message names the field, the value and the fix.',
  },
  OPLAB_UNAUTHENTICATED: {
    status: 401,
    exitCode: 1,
    retry: false,
    meaning:
      'The caller could not prove its identity: the token is missing, has another audience or is no longer valid.',
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
    meaning: 'The session is sealed. No more entries can be added to it.',
  },
  OPLAB_LIMIT_REACHED: {
    status: 429,
    exitCode: 1,
    retry: false,
    meaning:
      'The Incident has reached a limit (turns, tokens, cost, time or its share of the audit log), or its AgentClass the quota of the day. The gateway refuses further work.',
  },
  OPLAB_NOT_ALLOWED: {
    status: 400,
    exitCode: 1,
    retry: false,
    meaning: "The caller's AgentClass or the gateway does not allow the request. A retry will not succeed.",
  },
  OPLAB_NOT_FOUND: {
    status: 404,
    exitCode: 3,
    retry: false,
    meaning: 'The object that the command or request names does not exist.',
  },
  OPLAB_TOO_LARGE: {
    status: 413,
    exitCode: 1,
    retry: false,
    meaning: 'A request or response body is larger than its limit.',
  },
  OPLAB_TOO_BUSY: {
    status: 503,
    exitCode: 1,
    retry: true,
    meaning: 'The caller has too many requests in progress. Try again in a moment.',
  },
  OPLAB_OVER_QUOTA: {
    status: 429,
    exitCode: 1,
    retry: true,
    meaning:
      'The Incident uses more of the gateway than its share: bytes in memory, or requests or bytes a second. Try again in a moment.',
  },
  OPLAB_UNDO_INCOMPLETE: {
    status: 409,
    exitCode: 5,
    retry: false,
    meaning: 'An undo left something as it is: somebody else changed it since, or it cannot be put back.',
  },
  OPLAB_AUDIT_UNAVAILABLE: {
    status: 503,
    exitCode: 1,
    retry: true,
    meaning: 'The audit log cannot accept entries, so the gateway lets nothing run.',
  },
  OPLAB_AUDIT_CONFLICT: {
    status: 409,
    exitCode: 1,
    retry: false,
    meaning: 'The caller reused a client key for a different entry. A new entry needs a new key.',
  },
  OPLAB_UPSTREAM_UNAVAILABLE: {
    status: 503,
    exitCode: 1,
    retry: true,
    meaning: 'The gateway cannot reach a server behind it (model API, API server or Docker host). Try again.',
  },
  OPLAB_INTERNAL: {
    status: 500,
    exitCode: 1,
    retry: true,
    meaning: 'An unexpected failure. The log of the process that answered gives the reason.',
  },
  OPLAB_GATEWAY_UNREACHABLE: {
    status: 503,
    exitCode: 1,
    retry: true,
    meaning: "The client cannot reach the gateway's read API.",
  },
  OPLAB_GATEWAY_REFUSED: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: 'The gateway refused a request with an answer that this version does not know.',
  },
  OPLAB_KUBE_UNREACHABLE: {
    status: 500,
    exitCode: 1,
    retry: true,
    meaning: 'The API server cannot be reached or did not answer in time.',
  },
  OPLAB_KUBE_API: {
    status: 500,
    exitCode: 1,
    retry: true,
    meaning: "The API server refused a call. The message is the API server's.",
  },
  OPLAB_NO_ROUTE: {
    status: 422,
    exitCode: 1,
    retry: false,
    meaning:
      'The route of the intake does not match the labels of the alert. Correct its match, or stop sending such alerts.',
  },
  OPLAB_ALERT_REFUSED: {
    status: 422,
    exitCode: 1,
    retry: false,
    meaning: 'The matching route cannot turn the alert into an Incident. The message gives the reason.',
  },
  OPLAB_INTAKE_UNAVAILABLE: {
    status: 503,
    exitCode: 1,
    retry: true,
    meaning:
      'The intake cannot accept alerts now: it is busy, its route is disabled, or it cannot reach the API server or read the token. Send again.',
  },
  OPLAB_MODEL_KEY_REFUSED: {
    status: 424,
    exitCode: 1,
    retry: false,
    meaning:
      'The model API refuses the credential of the gateway. Put a valid key into its Secret, or give its identity access to the model.',
  },
  OPLAB_MODEL_ACCOUNT: {
    status: 424,
    exitCode: 1,
    retry: false,
    meaning: 'The account of the model API may not spend more. Add credit, or raise its limit at the vendor.',
  },
  OPLAB_MODEL_UNKNOWN: {
    status: 424,
    exitCode: 1,
    retry: false,
    meaning:
      'The model API does not know the model, or is not a Messages API. Correct the model of the AgentClass, or the base URL of the gateway.',
  },
  OPLAB_MODEL_DECLINED: {
    status: 424,
    exitCode: 1,
    retry: false,
    meaning:
      'The model declined to continue. Name another model in spec.model.fallbackName of the AgentClass, or let a person continue.',
  },
  OPLAB_MODEL_REFUSED: {
    status: 424,
    exitCode: 1,
    retry: false,
    meaning: 'The model API refused a request, or failed three times in the same way. A retry will not succeed.',
  },
  OPLAB_THINKING_REFUSED: {
    status: 424,
    exitCode: 1,
    retry: false,
    meaning:
      'The model API refuses the thinking parameter or the thinking of the conversation. The agent asks without.',
  },
  OPLAB_CONTEXT_FULL: {
    status: 424,
    exitCode: 1,
    retry: false,
    meaning: "The conversation no longer fits in the model's context window.",
  },
  OPLAB_NO_SUMMARY: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: 'The summary model returned no summary of an output.',
  },
  OPLAB_SANDBOX_UNREACHABLE: {
    status: 500,
    exitCode: 1,
    retry: true,
    meaning: "No shell server answers on the sandbox's socket.",
  },
  OPLAB_SANDBOX_REFUSED: { status: 500, exitCode: 1, retry: false, meaning: 'The shell server refused a command.' },
  OPLAB_SANDBOX_LOST: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: 'The sandbox was lost while a command was running. It is not known whether the command finished.',
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
    meaning: 'The audit log is not consistent. The command printed the findings.',
  },
  OPLAB_NOT_A_TERMINAL: {
    status: 500,
    exitCode: 2,
    retry: false,
    meaning: 'The command needs a terminal, but its input or output is a file or a pipe.',
  },
  OPLAB_UNFIT_NODE: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: 'The Node.js version that runs oplab is too old.',
  },
  OPLAB_TOOL_MISSING: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: 'Development: a required program is missing and cannot be installed here.',
  },
  OPLAB_BUILD_FAILED: { status: 500, exitCode: 1, retry: false, meaning: 'Development: a build from source failed.' },
  OPLAB_DOCKER_UNAVAILABLE: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: 'Development: Docker is not running and cannot be started.',
  },
  OPLAB_CLUSTER_UNREACHABLE: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: "Development: the lab's cluster does not answer.",
  },
  OPLAB_PATIENT_UNHEALTHY: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: "Development: the lab's TiKV cluster did not become healthy.",
  },
  OPLAB_PATIENT_WAIT: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: 'Development: a condition that a trial waits for was not met in time.',
  },
  OPLAB_PATIENT_PROOF: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: "Development: the lab's TiKV cluster did not pass its proof.",
  },
  OPLAB_DEMO_NOT_DETECTED: {
    status: 500,
    exitCode: 1,
    retry: false,
    meaning: "Development: no Monitor detected the demo's fault in time.",
  },
} as const satisfies Readonly<Record<`OPLAB_${string}`, ErrorFacts>>;

/**
 * A stable, searchable error code. Conditions, logs, the audit trail and the CLI show the same
 * code.
 */
export type ErrorCode = keyof typeof ERRORS;

/** Whether a text, for example from another process, is a code in this catalogue. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERRORS, text);
}
