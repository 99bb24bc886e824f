// What recorded answers are made of, and what is expected of them.

import type { AgentReport } from '../../../src/api/agent-report.ts';

/** The events of an answer, or its bytes where they are the point. */
export type Recording = readonly object[] | string;

/** What becomes of an answer. */
export interface Expected {
  /**
   * - `answer`: it is one, and the conversation goes on with the next question
   * - `again`: the same question is asked again, because this may pass
   * - an end: the attempt ends after so many questions
   */
  readonly verdict: 'answer' | 'again' | { readonly questions: number; readonly code: AgentReport['code'] };
  /** The commands that are run, in order. */
  readonly run?: readonly string[];
  /** The types of the blocks that are sent back with the next question. */
  readonly replay?: readonly string[];
  /** Tokens: input, written to the cache, read from it, output. */
  readonly charge?: readonly [number, number, number, number] | 'nothing';
  /** Output is charged by what may have been made; at most so many tokens. */
  readonly outputAtMost?: number;
  /** It counts as a turn. */
  readonly isTurn?: boolean;
  /** What the Incident keeps of a refusal. */
  readonly refusal?: object;
  /** A text in the report or on record. */
  readonly says?: RegExp;
}

export interface Case {
  readonly name: string;
  readonly events: Recording;
  readonly expect: Expected;
  /** Of an answer that is no stream. */
  readonly contentType?: string;
  /** The connection is reset behind the last event. */
  readonly reset?: boolean;
}

export const USAGE = {
  input_tokens: 5,
  cache_creation_input_tokens: 2400,
  cache_read_input_tokens: 0,
  cache_creation: { ephemeral_5m_input_tokens: 2400, ephemeral_1h_input_tokens: 0 },
  output_tokens: 2,
  service_tier: 'standard',
  inference_geo: 'global',
};
/** The tokens of most recordings. */
export const WHOLE = [5, 2400, 0, 77] as const;

export const DECLINED = { model: 'claude-opus-5-5', requestID: 'req_recorded' };

export const start = (usage: object | null = USAGE, more: object = {}) => ({
  type: 'message_start',
  message: {
    ...{ id: 'msg_recorded', type: 'message', role: 'assistant', model: 'claude-opus-5-5', content: [] },
    ...{ stop_reason: null, stop_sequence: null, stop_details: null, usage, ...more },
  },
});
export const ping = { type: 'ping' };
export const opens = (index: number, block: object) => ({ type: 'content_block_start', index, content_block: block });
export const delta = (index: number, part: object) => ({ type: 'content_block_delta', index, delta: part });
export const closes = (index: number) => ({ type: 'content_block_stop', index });
export const ends = (
  reason: string | null,
  usage: object | null | undefined = { output_tokens: 77 },
  more: object = {},
) => ({
  type: 'message_delta',
  delta: { stop_reason: reason, stop_sequence: null, stop_details: null, ...more },
  ...(usage === undefined ? {} : { usage }),
});
export const stop = { type: 'message_stop' };
export const error = (type: string, more: object = {}) => ({
  type: 'error',
  error: { type, message: 'made up', ...more },
  request_id: 'req_recorded',
});

export const text = (index: number, ...parts: readonly string[]) => [
  opens(index, { type: 'text', text: '' }),
  ...parts.map((part) => delta(index, { type: 'text_delta', text: part })),
  closes(index),
];
export const thinking = (index: number, parts: readonly string[], signature: string | undefined) => [
  opens(index, { type: 'thinking', thinking: '', signature: '' }),
  ...parts.map((part) => delta(index, { type: 'thinking_delta', thinking: part })),
  ...(signature === undefined ? [] : [delta(index, { type: 'signature_delta', signature })]),
  closes(index),
];
export const tool = (index: number, name: string, json: readonly string[], more: object = {}) => [
  opens(index, { type: 'tool_use', id: `toolu_recorded_${index}`, name, input: {}, ...more }),
  ...json.map((part) => delta(index, { type: 'input_json_delta', partial_json: part })),
  closes(index),
];
export const call = (index: number, command = 'kubectl get pods') =>
  tool(index, 'shell', ['', '{"comm', `and": ${JSON.stringify(command)}, "purp`, 'ose": "see"}']);

export const answer = (more: Partial<Expected> = {}): Expected => ({
  ...{ verdict: 'answer', run: [], charge: WHOLE },
  ...more,
});
export const ran = (replay: readonly string[], ...run: readonly string[]): Expected =>
  answer({ run: run.length > 0 ? run : ['kubectl get pods'], replay });
export const final = (code: AgentReport['code'], questions: number, more: Partial<Expected> = {}): Expected => ({
  ...{ verdict: { code, questions }, run: [] },
  ...more,
});
