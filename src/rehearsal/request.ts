// Parses requests of the Messages API, as strictly as the rules need.

import * as z from 'zod';
import { checkInput, joinProblems } from '../input/parse-input.ts';
import { faultIn, messageParam } from './conversation.ts';

/** The only model of this server. It is not Claude. */
export const REHEARSAL_MODEL = 'rehearsal-1';

export const messagesRequest = z.looseObject({
  model: z.string().min(1),
  max_tokens: z.number().int().min(1),
  messages: z.array(messageParam).min(1),
  system: z.union([z.string(), z.array(z.looseObject({ type: z.literal('text'), text: z.string() }))]).optional(),
  tools: z.array(z.looseObject({ name: z.string(), input_schema: z.looseObject({}).optional() })).optional(),
  stream: z.boolean().default(false),
});
export type MessagesRequest = z.infer<typeof messagesRequest>;

/** An error in the API's format. */
export interface ApiError {
  readonly status: number;
  readonly type: 'invalid_request_error' | 'not_found_error' | 'request_too_large' | 'api_error';
  readonly message: string;
}

/** Parses a body, or returns the error that the API would return. */
export function parseRequest(body: unknown): { request: MessagesRequest } | { error: ApiError } {
  const parsed = checkInput(messagesRequest, body, { values: 'hidden' });
  if (!parsed.success) {
    const message = joinProblems('', parsed.problems);
    return { error: { status: 400, type: 'invalid_request_error', message } };
  }
  if (parsed.data.model !== REHEARSAL_MODEL) {
    const message = `model: ${parsed.data.model} (this is oplab's rehearsal server, a stand-in; its only model is ${REHEARSAL_MODEL})`;
    return { error: { status: 404, type: 'not_found_error', message } };
  }
  const fault = faultIn(parsed.data.messages);
  return fault === undefined
    ? { request: parsed.data }
    : { error: { status: 400, type: 'invalid_request_error', message: fault } };
}
