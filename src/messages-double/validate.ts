// Judges a request as the API does: its headers, its fields, then the rules.

import type { IncomingHttpHeaders } from 'node:http';
import type * as z from 'zod';
import { isTooDeep } from '../input/depth.ts';
import { type APIError, invalid } from './api-error.ts';
import { CONVERSATION_RULES } from './conversation-rules.ts';
import type { ModelRules } from './model-rules.ts';
import { PARAMETER_RULES } from './parameter-rules.ts';
import { countRequest, type MessagesRequest, UNSERVED_BLOCKS, VERSIONS } from './request.ts';

/** The size of a request that the API accepts. */
export const MAX_BODY_BYTES = 32 * 1024 * 1024;

/** Features in beta that the double serves; the API refuses names that it does not know. */
const BETAS: readonly string[] = [
  'extended-cache-ttl-2025-04-11',
  'fine-grained-tool-streaming-2025-05-14',
  'interleaved-thinking-2025-05-14',
  'prompt-caching-2024-07-31',
];

export interface ValidationOptions {
  /** Whether a credential is valid. Without it, requests need none. */
  readonly isCredential?: ((credential: string) => boolean) | undefined;
  /** Whether there is such a model. Default: any. */
  readonly isModel?: ((id: string) => boolean) | undefined;
  /** What is said to who asks for another model. */
  readonly aboutModels?: string | undefined;
  readonly rulesOf: (model: string) => ModelRules;
  /** Whose key signs thinking. Undefined: whatever is signed is taken, such as thinking of a recording. */
  readonly account: string | undefined;
}

export type Judged<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: APIError };
const refuse = (error: APIError) => ({ ok: false, error }) as const;

function one(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header.join(',') : header;
}

/** Judges who asks. The version comes first, as at the API. */
export function judgeHeaders(
  headers: IncomingHttpHeaders,
  { isCredential }: Pick<ValidationOptions, 'isCredential'>,
): Judged<keyof typeof VERSIONS> {
  const key = one(headers['x-api-key']);
  const [, bearer] = /^Bearer (.+)$/i.exec(headers.authorization ?? '') ?? [];
  if (isCredential !== undefined) {
    const denied = (message: string) => refuse({ type: 'authentication_error', message });
    if (key === undefined && bearer === undefined) return denied('x-api-key header is required');
    if (key !== undefined && !isCredential(key)) return denied('invalid x-api-key');
    if (key === undefined && bearer !== undefined && !isCredential(bearer)) return denied('Invalid bearer token');
  }
  const version = one(headers['anthropic-version']);
  if (version === undefined) return refuse(invalid('anthropic-version: header is required'));
  if (!isVersion(version)) return refuse(invalid(`anthropic-version: "${version}" is not a valid version`));
  for (const name of (one(headers['anthropic-beta']) ?? '').split(',')) {
    const beta = name.trim();
    if (beta === '' || BETAS.includes(beta)) continue;
    return refuse(
      invalid(
        `Unexpected value(s) \`${beta}\` for the \`anthropic-beta\` header. Please consult our documentation or try again without the header.`,
      ),
    );
  }
  return { ok: true, value: version };
}

function isVersion(version: string): version is keyof typeof VERSIONS {
  return Object.hasOwn(VERSIONS, version);
}

/** What an issue is called by the API, whose validator is not ours. */
function issueText(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'unrecognized_keys':
      return 'Extra inputs are not permitted';
    case 'invalid_union': {
      if (issue.discriminator === undefined) return issue.message;
      const type = typeof issue.input === 'object' && issue.input !== null && 'type' in issue.input && issue.input.type;
      if (typeof type !== 'string') return 'Field required';
      const note = UNSERVED_BLOCKS.includes(type) ? ' (the API has it, but the double does not serve it)' : '';
      return `Input tag '${type}' found using 'type' does not match any of the expected tags${note}`;
    }
    case 'invalid_type':
      if (issue.message !== '') return issue.message;
      return issue.input === undefined
        ? 'Field required'
        : `Input should be a valid ${TYPES[issue.expected] ?? issue.expected}`;
    case 'invalid_value':
      return issue.message === ''
        ? `Input should be ${issue.values.map((it) => `'${String(it)}'`).join(' or ')}`
        : issue.message;
    default:
      return issue.message === '' ? 'Input is not valid' : issue.message;
  }
}

const TYPES: Readonly<Record<string, string>> = {
  array: 'list',
  object: 'dictionary',
  record: 'dictionary',
  int: 'integer',
};

/** The first issue, inside of the member of a union that fits best. */
function deepest(
  issue: z.core.$ZodIssue,
  at: readonly PropertyKey[] = [],
): { at: PropertyKey[]; issue: z.core.$ZodIssue } {
  const path = [...at, ...issue.path];
  if (issue.code === 'invalid_union' && issue.discriminator === undefined) {
    // Members whose own type differs from that of the input say so at their root.
    const inner = issue.errors.find(([first]) => first !== undefined && first.path.length > 0) ?? issue.errors.at(-1);
    if (inner?.[0] !== undefined) return deepest(inner[0], path);
  }
  return { at: issue.code === 'unrecognized_keys' ? [...path, issue.keys[0] ?? ''] : path, issue };
}

/** Half of a surrogate pair is JSON to JavaScript, and not to the API. The value is not nested too deeply. */
function isWellFormed(value: unknown): boolean {
  if (typeof value === 'string') return value.isWellFormed();
  if (typeof value !== 'object' || value === null) return true;
  return Object.entries(value).every(([key, inner]) => key.isWellFormed() && isWellFormed(inner));
}

/** The error of the API for a model that it does not have. */
export function unknownModel(model: string, about: string | undefined): APIError {
  return { type: 'not_found_error', message: `model: ${model}${about === undefined ? '' : ` (${about})`}` };
}

type BodyOptions = Omit<ValidationOptions, 'isCredential'>;

/** Parses a body: its fields, and whether there is the model. */
function parseBody<T extends { readonly model: string }>(
  schema: z.ZodType<T>,
  body: unknown,
  { isModel = () => true, aboutModels }: BodyOptions,
): Judged<T> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    return refuse(invalid('Input should be a valid dictionary'));
  }
  if (isTooDeep(body)) return refuse(invalid('The request body is nested too deeply'));
  if (!isWellFormed(body)) return refuse(invalid('The request body is not valid JSON: no low surrogate in string'));
  const parsed = schema.safeParse(body, { reportInput: true, error: () => '' });
  if (!parsed.success) {
    const [first] = parsed.error.issues;
    if (first === undefined) return refuse(invalid('Input is not valid'));
    const { at, issue } = deepest(first);
    return refuse(invalid(`${at.map(String).join('.')}: ${issueText(issue)}`));
  }
  const { model } = parsed.data;
  if (!isModel(model)) return refuse(unknownModel(model, aboutModels));
  return { ok: true, value: parsed.data };
}

/** Judges the body of a request for an answer. */
export function judgeBody(
  body: unknown,
  version: keyof typeof VERSIONS,
  options: BodyOptions,
): Judged<MessagesRequest> {
  const parsed = parseBody<MessagesRequest>(VERSIONS[version], body, options);
  if (!parsed.ok) return parsed;
  const model = options.rulesOf(parsed.value.model);
  for (const rule of [...CONVERSATION_RULES, ...PARAMETER_RULES]) {
    const error = rule(parsed.value, model, options.account);
    if (error !== undefined) return refuse(error);
  }
  return parsed;
}

/** Judges the body of a question for a number of tokens. */
export function judgeCount(body: unknown, options: BodyOptions): Judged<MessagesRequest> {
  const parsed = parseBody(countRequest, body, options);
  if (!parsed.ok) return parsed;
  const request: MessagesRequest = { ...parsed.value, max_tokens: 1 };
  const model = options.rulesOf(request.model);
  for (const rule of CONVERSATION_RULES) {
    const error = rule(request, model, options.account);
    if (error !== undefined) return refuse(error);
  }
  return { ok: true, value: request };
}
