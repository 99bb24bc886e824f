// What an error of the Messages API means: whether it can pass, and if not, who has to do what. Pure.
//
// Judged by the code of the error first, then its type, then its status. Texts come last, as they may
// change: only for what the API tells by no other means, and for servers that imitate it.

import { truncate } from './truncate.ts';

/** The codes of errors that no retry removes. */
export type ModelErrorCode =
  | 'OPLAB_MODEL_KEY_REFUSED'
  | 'OPLAB_MODEL_ACCOUNT'
  | 'OPLAB_MODEL_UNKNOWN'
  | 'OPLAB_CONTEXT_FULL'
  | 'OPLAB_THINKING_REFUSED'
  | 'OPLAB_MODEL_REFUSED';

/** An error as the API answered it. */
export interface ModelError {
  /** Undefined for an `error` event inside of a stream. */
  readonly status: number | undefined;
  /** The body, or the data of the event: parsed JSON if it is JSON. */
  readonly body: unknown;
  /** The header x-should-retry. */
  readonly shouldRetry?: string | null | undefined;
  /** Removes secrets from the text, before it is cut: half a secret would not be recognized. */
  readonly redact?: ((text: string) => string) | undefined;
}

export interface ModelVerdict {
  /** Undefined if the same request may succeed later. */
  readonly code: ModelErrorCode | undefined;
  /** The text of the API, on one line, of printable characters. */
  readonly message: string;
}

/** By `error.type` of Anthropic, and the names that AWS, Google and llama.cpp have for the same. */
const BY_TYPE: Readonly<Record<string, ModelErrorCode | 'passing'>> = {
  authentication_error: 'OPLAB_MODEL_KEY_REFUSED',
  permission_error: 'OPLAB_MODEL_KEY_REFUSED',
  billing_error: 'OPLAB_MODEL_ACCOUNT',
  not_found_error: 'OPLAB_MODEL_UNKNOWN',
  request_too_large: 'OPLAB_CONTEXT_FULL',
  exceed_context_size_error: 'OPLAB_CONTEXT_FULL',
  rate_limit_error: 'passing',
  overloaded_error: 'passing',
  timeout_error: 'passing',
  api_error: 'passing',
  // LiteLLM without a database, about a key that is not its master key, with status 400.
  no_db_connection: 'OPLAB_MODEL_KEY_REFUSED',
  AccessDeniedException: 'OPLAB_MODEL_KEY_REFUSED',
  AccessDenied: 'OPLAB_MODEL_KEY_REFUSED',
  UnrecognizedClientException: 'OPLAB_MODEL_KEY_REFUSED',
  InvalidClientTokenId: 'OPLAB_MODEL_KEY_REFUSED',
  ExpiredTokenException: 'OPLAB_MODEL_KEY_REFUSED',
  ExpiredToken: 'OPLAB_MODEL_KEY_REFUSED',
  RequestExpired: 'OPLAB_MODEL_KEY_REFUSED',
  InvalidSignatureException: 'OPLAB_MODEL_KEY_REFUSED',
  SignatureDoesNotMatch: 'OPLAB_MODEL_KEY_REFUSED',
  IncompleteSignature: 'OPLAB_MODEL_KEY_REFUSED',
  MissingAuthenticationToken: 'OPLAB_MODEL_KEY_REFUSED',
  MissingAuthenticationTokenException: 'OPLAB_MODEL_KEY_REFUSED',
  ServiceQuotaExceededException: 'OPLAB_MODEL_ACCOUNT',
  budget_exceeded: 'OPLAB_MODEL_ACCOUNT',
  ResourceNotFoundException: 'OPLAB_MODEL_UNKNOWN',
  ThrottlingException: 'passing',
  ServiceUnavailableException: 'passing',
  ModelNotReadyException: 'passing',
  ModelTimeoutException: 'passing',
  ModelErrorException: 'passing',
  ModelStreamErrorException: 'passing',
  InternalServerException: 'passing',
  UNAUTHENTICATED: 'OPLAB_MODEL_KEY_REFUSED',
  PERMISSION_DENIED: 'OPLAB_MODEL_KEY_REFUSED',
  NOT_FOUND: 'OPLAB_MODEL_UNKNOWN',
  RESOURCE_EXHAUSTED: 'passing',
  UNAVAILABLE: 'passing',
  DEADLINE_EXCEEDED: 'passing',
};

/** Codes in `error.details.error_code` or `error.code` that concern the account. */
const ACCOUNT_CODE = /spend_limit|credit|billing|insufficient_quota|payment/i;
const CONTEXT_CODE = /context_length|context_window|context_size/i;
const KEY_CODE = /invalid_api_key|invalid_authentication/i;
/** The API has no code for these. */
const ACCOUNT_TEXT =
  /credit balance|specified API usage limits|spend(?:ing)? (?:limit|cap)|insufficient (?:credit|funds|quota)|exceeded your current quota|payment required|budget has been exceeded|exceeded (?:the |your )?budget|billing (?:to be |must be |is not )?enabled|billing account|(?:organization|account)(?: is| has been)? (?:disabled|suspended|not active|inactive|closed|past due)/i;
const KEY_TEXT =
  /(?:invalid|incorrect|unknown|expired|revoked|missing) (?:x-)?(?:api|auth)?[ _-]?(?:key|token|credentials?)\b|(?:api[ _-]?key|access token|security token|credentials?)\b.{0,60}?(?:not valid|is invalid|has expired|is expired|was revoked|is missing|not found)/i;
const CONTEXT_TEXT =
  /prompt is too long|input is too long|too many (?:input )?tokens|context[ _](?:length|window|limit|size)|maximum context|exceeds? (?:the )?(?:model'?s )?(?:maximum|available) (?:context|number of (?:input )?tokens)|token count .{0,40}exceeds|reduce the length of the (?:messages|prompt|input)/i;
const MODEL_TEXT =
  /\bmodel(?:s|_id| identifier| id)?\b.{0,120}(?:not found|does not exist|not exist|is not supported|unknown|invalid|no longer available)|(?:invalid|unknown|unsupported) model/i;
const THINKING_TEXT = /thinking/i;

/** Judges an error. Every input has a verdict. */
export function judgeModelError({ status, body, shouldRetry, redact = (words) => words }: ModelError): ModelVerdict {
  const { type, codes, text } = readError(body);
  const said = redact(text.slice(0, MAX_READ));
  const message = oneLine(said === '' ? `status ${status ?? 'unknown'} without a text` : said);
  const verdict = (code: ModelErrorCode | undefined): ModelVerdict => ({ code, message });
  if (codes.some((code) => ACCOUNT_CODE.test(code))) return verdict('OPLAB_MODEL_ACCOUNT');
  const isRequestFault = status === 400 || status === 422 || (status === undefined && type === 'invalid_request_error');
  // Some servers in front of a model wrap what it said into a type or a status of their own.
  if (isRequestFault || (status !== undefined && status >= 500)) {
    const isByCode = codes.some((code) => CONTEXT_CODE.test(code));
    if (isByCode || CONTEXT_TEXT.test(text)) return verdict('OPLAB_CONTEXT_FULL');
  }
  const byType = type === undefined || !Object.hasOwn(BY_TYPE, type) ? undefined : BY_TYPE[type];
  if (isRequestFault) {
    if (ACCOUNT_TEXT.test(text)) return verdict('OPLAB_MODEL_ACCOUNT');
    if (codes.some((code) => KEY_CODE.test(code)) || KEY_TEXT.test(text)) return verdict('OPLAB_MODEL_KEY_REFUSED');
    if (THINKING_TEXT.test(text) && !/max_tokens/.test(text)) return verdict('OPLAB_THINKING_REFUSED');
    if (byType !== undefined && byType !== 'passing') return verdict(byType);
    if (MODEL_TEXT.test(text) && !/max_tokens/.test(text)) return verdict('OPLAB_MODEL_UNKNOWN');
    return verdict('OPLAB_MODEL_REFUSED');
  }
  if (status === 429) {
    // The API says so of limits that are not lifted within minutes.
    const isFinal = shouldRetry === 'false' || ACCOUNT_TEXT.test(text);
    return verdict(isFinal ? 'OPLAB_MODEL_ACCOUNT' : undefined);
  }
  if (byType === 'passing') return verdict(undefined);
  const code = byType ?? byStatus(status);
  // Vendors refuse the key of an account that owes them something.
  return verdict(code === 'OPLAB_MODEL_KEY_REFUSED' && ACCOUNT_TEXT.test(text) ? 'OPLAB_MODEL_ACCOUNT' : code);
}

function byStatus(status: number | undefined): ModelErrorCode | undefined {
  switch (status) {
    case undefined:
    case 408:
    case 409:
    case 425:
    case 499:
      return undefined;
    case 401:
    case 403:
    case 407:
      return 'OPLAB_MODEL_KEY_REFUSED';
    case 402:
      return 'OPLAB_MODEL_ACCOUNT';
    case 404:
    case 405:
    case 410:
    case 501:
      return 'OPLAB_MODEL_UNKNOWN';
    case 413:
      return 'OPLAB_CONTEXT_FULL';
    default:
      if (status >= 500) return undefined;
      // A redirection is not followed: it may lead the key to somebody else.
      return status < 400 ? 'OPLAB_MODEL_UNKNOWN' : 'OPLAB_MODEL_REFUSED';
  }
}

/** What a person has to do about an error that does not pass. */
export const MODEL_ERROR_FIX: Readonly<Record<ModelErrorCode, string>> = {
  OPLAB_MODEL_KEY_REFUSED:
    'the model API refuses the credential of the gateway: put a valid key into the Secret of model.apiKey in the values of the chart (oplab-model-key by default), or give the identity of the gateway access to the model',
  OPLAB_MODEL_ACCOUNT: 'the account of the model API may not spend more: add credit or raise its limit at the vendor',
  OPLAB_MODEL_UNKNOWN:
    'the model API does not know the model, or is not one: correct spec.model of the AgentClass, or model.baseURL in the values of the chart',
  OPLAB_CONTEXT_FULL:
    "the conversation is longer than the model's context window: use a model with a larger one, or correct spec.model.contextWindow of the AgentClass",
  OPLAB_THINKING_REFUSED:
    'the model API refuses the thinking of the conversation: set spec.model.thinking of the AgentClass to off',
  OPLAB_MODEL_REFUSED: 'the model API refuses the request: correct spec.model of the AgentClass',
};

interface ReadError {
  readonly type: string | undefined;
  readonly codes: readonly string[];
  readonly text: string;
}

/** The type, codes and text of an error, in the shapes that servers have for it. */
function readError(body: unknown): ReadError {
  if (typeof body === 'string') {
    try {
      return readError(JSON.parse(body));
    } catch {
      return { type: undefined, codes: [], text: body };
    }
  }
  // Google answers a list with one error.
  if (Array.isArray(body)) return readError(body[0] ?? '');
  const whole = asObject(body);
  const error = typeof whole.error === 'string' ? { message: whole.error } : asObject(whole.error);
  const inner = Object.keys(error).length === 0 ? whole : error;
  const texts = [inner.message, whole.message, whole.Message, whole.detail, whole.error_description, whole.title];
  const type = [inner.type, inner.status, whole.__type, whole.code].find(
    (value): value is string => typeof value === 'string' && value !== 'error',
  );
  const codes = [asObject(inner.details).error_code, inner.error_code, inner.code, whole.code];
  return {
    // AWS puts a namespace in front.
    type: type?.split('#').at(-1),
    codes: codes.filter((code) => typeof code === 'string'),
    text: texts.find((text): text is string => typeof text === 'string' && text.trim() !== '') ?? '',
  };
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value))
    : {};
}

/** Of a text that is looked at, in characters. */
const MAX_READ = 16_384;

/** A text from outside on one line, without what a terminal obeys or a reader does not see. */
export function oneLine(text: string, max = 500): string {
  const line = text
    .slice(0, MAX_READ)
    .replaceAll(/[\s\p{Cc}\p{Cf}]+/gu, ' ')
    .trim();
  return truncate(line.toWellFormed(), max);
}
