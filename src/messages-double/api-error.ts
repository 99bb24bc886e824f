// An error in the API's format.

import type Anthropic from '@anthropic-ai/sdk';

/** The types of errors, and the status of each. `request_too_large` comes from the API's front. */
export const ERROR_STATUS = {
  invalid_request_error: 400,
  authentication_error: 401,
  billing_error: 402,
  permission_error: 403,
  not_found_error: 404,
  conflict_error: 409,
  memory_path_conflict_error: 409,
  memory_precondition_failed_error: 412,
  request_too_large: 413,
  rate_limit_error: 429,
  api_error: 500,
  timeout_error: 504,
  overloaded_error: 529,
} as const satisfies Readonly<Record<Anthropic.ErrorType | 'request_too_large', number>>;

export interface APIError {
  readonly type: keyof typeof ERROR_STATUS;
  readonly message: string;
  /** What the SDK calls `errorCode`. */
  readonly code?: string;
}

/** An error of a request that is not valid. */
export const invalid = (message: string): APIError => ({ type: 'invalid_request_error', message });

/** The body of an error, and the data of an `error` event. */
export function errorBody({ type, message, code }: APIError, requestId: string) {
  const details = code === undefined ? {} : { details: { error_code: code } };
  return { type: 'error', error: { type, message, ...details }, request_id: requestId };
}
