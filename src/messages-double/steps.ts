// What the double does on a connection, as data.

import type { ServerResponse } from 'node:http';
import { type APIError, ERROR_STATUS, errorBody } from './api-error.ts';
import { formatEvent, type StreamEvent } from './stream.ts';

export type Step =
  | { readonly do: 'head'; readonly status: number; readonly headers: Readonly<Record<string, string>> }
  | { readonly do: 'write'; readonly text: string }
  /** Nothing more, until the client goes. */
  | { readonly do: 'stall' }
  /** The connection breaks. */
  | { readonly do: 'cut' }
  | { readonly do: 'end' }
  /** Whatever a test wants. */
  | { readonly do: 'raw'; readonly respond: (response: ServerResponse) => void | Promise<void> };

const write = (text: string): Step => ({ do: 'write', text });
const END: Step = { do: 'end' };

/** One JSON body. */
export function jsonSteps(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Step[] {
  return [
    { do: 'head', status, headers: { 'content-type': 'application/json', ...headers } },
    write(JSON.stringify(body)),
    END,
  ];
}

/** Errors that may pass, of which the API says so. */
const PASSING: readonly APIError['type'][] = ['rate_limit_error', 'api_error', 'timeout_error', 'overloaded_error'];

/** An error as the answer, with the headers of the API. */
export function errorSteps(error: APIError, requestId: string, headers: Readonly<Record<string, string>> = {}): Step[] {
  return jsonSteps(ERROR_STATUS[error.type], errorBody(error, requestId), {
    'x-should-retry': String(PASSING.includes(error.type)),
    ...headers,
  });
}

/** A stream of events, to its end or to another. */
export function streamSteps(events: readonly StreamEvent[], ...ending: Step[]): Step[] {
  return [
    {
      do: 'head',
      status: 200,
      headers: { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' },
    },
    ...events.map((event, index) => write(formatEvent(event, index))),
    ...(ending.length === 0 ? [END] : ending),
  ];
}
