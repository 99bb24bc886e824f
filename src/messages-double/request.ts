// The schema of a request: each field that the API knows, and no other.
//
// The fields come from the types of the SDK, so that a version with a new one does not compile until
// somebody says here what the double does with it.

import type Anthropic from '@anthropic-ai/sdk';
import * as z from 'zod';
import { EFFORTS } from '../api/model-table.ts';

type Shape<T> = { readonly [K in keyof T]-?: z.ZodType };

/** A strict object with exactly the fields of `T`. */
const fieldsOf =
  <T>() =>
  <const S extends Shape<T>>(shape: S & Readonly<Record<Exclude<keyof S, keyof T>, never>>) => {
    const exact: S = shape;
    return z.strictObject(exact);
  };

const UNSERVED = 'the API has this field, but the double does not serve it';
/** A field that the API has and oplab does not use. */
const unserved = z.undefined(UNSERVED).optional();

const NAME = /^[a-zA-Z0-9_-]{1,128}$/;
const ID = /^[a-zA-Z0-9_-]+$/;
const matching = (pattern: RegExp) => z.string().regex(pattern, `String should match pattern '${pattern.source}'`);

const cacheControl = fieldsOf<Anthropic.CacheControlEphemeral>()({
  type: z.literal('ephemeral'),
  ttl: z.enum(['5m', '1h']).optional(),
});
const mark = cacheControl.nullish();

const text = fieldsOf<Anthropic.TextBlockParam>()({
  type: z.literal('text'),
  text: z.string(),
  cache_control: mark,
  citations: z.null().optional(),
});
const thinking = fieldsOf<Anthropic.ThinkingBlockParam>()({
  type: z.literal('thinking'),
  thinking: z.string(),
  signature: z.string(),
});
const redactedThinking = fieldsOf<Anthropic.RedactedThinkingBlockParam>()({
  type: z.literal('redacted_thinking'),
  data: z.string(),
});
const toolUse = fieldsOf<Anthropic.ToolUseBlockParam>()({
  type: z.literal('tool_use'),
  id: matching(ID),
  name: matching(NAME),
  input: z.record(z.string(), z.unknown()),
  cache_control: mark,
  caller: fieldsOf<Anthropic.DirectCaller>()({ type: z.literal('direct') }).optional(),
  toolset_name: z.null().optional(),
});
const toolResult = fieldsOf<Anthropic.ToolResultBlockParam>()({
  type: z.literal('tool_result'),
  tool_use_id: matching(ID),
  content: z.union([z.string(), z.array(text)]).optional(),
  is_error: z.boolean().optional(),
  cache_control: mark,
  toolset_name: z.null().optional(),
});

const SERVED = [text, thinking, redactedThinking, toolUse, toolResult] as const;
/** Every kind of block, and whether the double serves it. */
const BLOCKS: Readonly<Record<Anthropic.ContentBlockParam['type'], boolean>> = {
  text: true,
  thinking: true,
  redacted_thinking: true,
  tool_use: true,
  tool_result: true,
  image: false,
  document: false,
  search_result: false,
  server_tool_use: false,
  web_search_tool_result: false,
  web_fetch_tool_result: false,
  code_execution_tool_result: false,
  bash_code_execution_tool_result: false,
  text_editor_code_execution_tool_result: false,
  tool_search_tool_result: false,
  container_upload: false,
};

/** The kinds of blocks that the API has and the double does not serve. */
export const UNSERVED_BLOCKS = Object.keys(BLOCKS).filter((type) => !SERVED.some((it) => it.shape.type.value === type));

const contentBlock = z.discriminatedUnion('type', [...SERVED]);
const content = z.union([z.string(), z.array(contentBlock)]);

/** The roles of messages. `system` is a message in the middle of a conversation, which oplab does not send. */
const ROLES: Readonly<Record<Anthropic.MessageParam['role'], boolean>> = { user: true, assistant: true, system: false };

const message = fieldsOf<Anthropic.MessageParam>()({
  role: z.enum(['user', 'assistant'], {
    error: ({ input }) => (Object.hasOwn(ROLES, String(input)) ? UNSERVED : "Input should be 'user' or 'assistant'"),
  }),
  content,
});

const tool = fieldsOf<Anthropic.Tool>()({
  type: z.literal('custom').nullish(),
  name: matching(NAME),
  description: z.string().optional(),
  input_schema: z.looseObject({
    type: z.literal('object'),
    properties: z.record(z.string(), z.unknown()).nullish(),
    required: z.array(z.string()).nullish(),
  }),
  cache_control: mark,
  eager_input_streaming: z.boolean().nullish(),
  strict: z.boolean().optional(),
  input_examples: z.array(z.record(z.string(), z.unknown())).optional(),
  allowed_callers: unserved,
  defer_loading: unserved,
});

const parallel = { disable_parallel_tool_use: z.boolean().optional() };
const toolChoice = z.discriminatedUnion('type', [
  fieldsOf<Anthropic.ToolChoiceAuto>()({ type: z.literal('auto'), ...parallel }),
  fieldsOf<Anthropic.ToolChoiceAny>()({ type: z.literal('any'), ...parallel }),
  fieldsOf<Anthropic.ToolChoiceTool>()({ type: z.literal('tool'), name: z.string(), ...parallel }),
  fieldsOf<Anthropic.ToolChoiceNone>()({ type: z.literal('none') }),
]);

const display = z.enum(['summarized', 'omitted']).nullish();
const thinkingConfig = z.discriminatedUnion('type', [
  fieldsOf<Anthropic.ThinkingConfigAdaptive>()({ type: z.literal('adaptive'), display }),
  fieldsOf<Anthropic.ThinkingConfigEnabled>()({
    type: z.literal('enabled'),
    budget_tokens: z.number().int().min(1024, 'Input should be greater than or equal to 1024'),
    display,
  }),
  fieldsOf<Anthropic.ThinkingConfigDisabled>()({ type: z.literal('disabled') }),
]);

const fields = {
  model: z.string().min(1),
  max_tokens: z.number().int().min(1, 'Input should be greater than or equal to 1'),
  messages: z.array(message).max(100_000),
  system: z.union([z.string(), z.array(text)]).optional(),
  tools: z.array(tool).optional(),
  tool_choice: toolChoice.optional(),
  thinking: thinkingConfig.optional(),
  output_config: fieldsOf<Anthropic.OutputConfig>()({
    effort: z.enum(EFFORTS).nullish(),
    format: fieldsOf<Anthropic.JSONOutputFormat>()({
      type: z.literal('json_schema'),
      schema: z.record(z.string(), z.unknown()),
    }).nullish(),
  }).optional(),
  stream: z.boolean().optional(),
  stop_sequences: z.array(z.string()).optional(),
  metadata: fieldsOf<Anthropic.Metadata>()({ user_id: z.string().max(512).nullish() }).optional(),
  cache_control: mark,
  service_tier: z.enum(['auto', 'standard_only']).optional(),
  inference_geo: z.enum(['global', 'us']).nullish(),
  speed: z.literal('standard', UNSERVED).nullish(),
  container: unserved,
  diagnostics: unserved,
  user_profile_id: unserved,
  workspace_id: unserved,
} as const;

/** A request in the API's current version, 2026-10-21. */
const current = fieldsOf<Anthropic.MessageCreateParams>()(fields);

/** The version before also had the parameters of sampling, which only older models take. */
const before = current.extend({
  temperature: z.number().min(0).max(1).optional(),
  top_p: z.number().min(0).max(1).optional(),
  top_k: z.number().int().min(0).optional(),
});

/** A question for the number of a prompt's tokens. */
export const countRequest = fieldsOf<Anthropic.MessageCountTokensParams>()({
  model: fields.model,
  messages: fields.messages,
  system: fields.system,
  tools: fields.tools,
  tool_choice: fields.tool_choice,
  thinking: fields.thinking,
  output_config: fields.output_config,
  cache_control: mark,
  speed: fields.speed,
  user_profile_id: unserved,
  workspace_id: unserved,
});

/** The versions of the API, and their requests. */
export const VERSIONS = { '2026-10-21': current, '2023-06-01': before } as const;

export type MessagesRequest = z.infer<typeof before>;
export type Message = MessagesRequest['messages'][number];
export type Block = z.infer<typeof contentBlock>;
export type CacheMark = z.infer<typeof cacheControl>;

/** The blocks of a message. A plain string is one text block. */
export function listBlocks({ content }: Pick<Message, 'content'>): readonly Block[] {
  return typeof content === 'string' ? [{ type: 'text', text: content }] : content;
}
