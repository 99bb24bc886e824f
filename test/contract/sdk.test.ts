// What the installed SDK knows of the API: whatever an upgrade adds fails here until somebody says what
// it means to oplab.

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, it } from 'vitest';
import { judgeModelError, type ModelErrorCode } from '../../src/api/model-error.ts';

const sdk = path.resolve(import.meta.dirname, '../../node_modules/@anthropic-ai/sdk');
const messages = await readFile(path.join(sdk, 'resources/messages/messages.d.ts'), 'utf8');
const shared = await readFile(path.join(sdk, 'resources/shared.d.ts'), 'utf8');
const errors = await readFile(path.join(sdk, 'core/error.d.ts'), 'utf8');

/** The members of a union of the SDK. */
function membersOf(declarations: string, name: string): string[] {
  const [, union] = new RegExp(`export type ${name} = ([^;]+);`).exec(declarations) ?? [];
  return (union ?? '').split('|').map((member) => member.trim().replaceAll("'", ''));
}

it.each<[string, readonly string[]]>([
  // The last three end an answer early; `wasCutOff`, `describeRefusal` and the loop say what follows.
  [
    'StopReason',
    [
      ...['end_turn', 'max_tokens', 'stop_sequence', 'tool_use', 'pause_turn'],
      ...['refusal', 'model_context_window_exceeded'],
    ],
  ],
  // Counted by the meter but for citations, which nobody asks for, and signatures, which are not billed.
  ['RawContentBlockDelta', ['TextDelta', 'InputJSONDelta', 'CitationsDelta', 'ThinkingDelta', 'SignatureDelta']],
  [
    'RawMessageStreamEvent',
    [
      ...['RawMessageStartEvent', 'RawMessageDeltaEvent', 'RawMessageStopEvent'],
      ...['RawContentBlockStartEvent', 'RawContentBlockDeltaEvent', 'RawContentBlockStopEvent'],
    ],
  ],
  // The first four are sent back. The others are of tools on the side of the vendor, which the gateway refuses.
  [
    'ContentBlock',
    [
      ...['TextBlock', 'ThinkingBlock', 'RedactedThinkingBlock', 'ToolUseBlock'],
      ...['ServerToolUseBlock', 'WebSearchToolResultBlock', 'WebFetchToolResultBlock', 'CodeExecutionToolResultBlock'],
      ...['BashCodeExecutionToolResultBlock', 'TextEditorCodeExecutionToolResultBlock', 'ToolSearchToolResultBlock'],
      'ContainerUploadBlock',
    ],
  ],
])('%s has the members that are handled', (name, handled) => {
  expect(membersOf(messages, name).sort()).toEqual([...handled].sort());
});

const PASSES = undefined;

/** What becomes of each type of error, inside of a stream. */
const BY_TYPE: Readonly<Record<string, ModelErrorCode | undefined>> = {
  invalid_request_error: 'OPLAB_MODEL_REFUSED',
  authentication_error: 'OPLAB_MODEL_KEY_REFUSED',
  billing_error: 'OPLAB_MODEL_ACCOUNT',
  permission_error: 'OPLAB_MODEL_KEY_REFUSED',
  not_found_error: 'OPLAB_MODEL_UNKNOWN',
  rate_limit_error: PASSES,
  timeout_error: PASSES,
  api_error: PASSES,
  overloaded_error: PASSES,
  conflict_error: PASSES,
  // Of another part of the API.
  memory_precondition_failed_error: PASSES,
  memory_path_conflict_error: PASSES,
};

it('every type of error has a verdict', () => {
  expect(membersOf(shared, 'ErrorType').sort()).toEqual(Object.keys(BY_TYPE).sort());
  for (const [type, code] of Object.entries(BY_TYPE)) {
    const body = { type: 'error', error: { type, message: 'made up' } };
    expect([type, judgeModelError({ status: undefined, body }).code]).toEqual([type, code]);
  }
});

/** What becomes of each status that the SDK has a class for, without any text. */
const BY_STATUS: Readonly<Record<string, ModelErrorCode | undefined>> = {
  400: 'OPLAB_MODEL_REFUSED',
  401: 'OPLAB_MODEL_KEY_REFUSED',
  402: 'OPLAB_MODEL_ACCOUNT',
  403: 'OPLAB_MODEL_KEY_REFUSED',
  404: 'OPLAB_MODEL_UNKNOWN',
  408: PASSES,
  409: PASSES,
  412: 'OPLAB_MODEL_REFUSED',
  413: 'OPLAB_CONTEXT_FULL',
  422: 'OPLAB_MODEL_REFUSED',
  429: PASSES,
  431: 'OPLAB_MODEL_REFUSED',
  // A proxy that gave up.
  499: PASSES,
  501: 'OPLAB_MODEL_UNKNOWN',
  503: PASSES,
  504: PASSES,
  529: PASSES,
};

it('every status that the SDK has a class for has a verdict', () => {
  const found = [...errors.matchAll(/extends APIError<(\d+)|readonly status: (\d+)/g)].map(([, a, b]) => a ?? b);
  expect(found.length).toBeGreaterThan(10);
  expect(found.toSorted()).toEqual(Object.keys(BY_STATUS).toSorted());
  for (const [status, code] of Object.entries(BY_STATUS)) {
    expect([status, judgeModelError({ status: Number(status), body: '' }).code]).toEqual([status, code]);
  }
});
