// The rules for what stands beside the conversation: the limits of the model, its thinking, its tools,
// and the marks for the cache.

import { type APIError, invalid } from './api-error.ts';
import { isThinking, type ModelRules } from './model-rules.ts';
import { FRAME_TOKENS, promptBlocks } from './prompt.ts';
import type { MessagesRequest } from './request.ts';

type Rule = (request: MessagesRequest, model: ModelRules) => APIError | undefined;

const maxTokens: Rule = ({ model, max_tokens }, { maxOutputTokens }) =>
  max_tokens > maxOutputTokens
    ? invalid(
        `max_tokens: ${max_tokens} > ${maxOutputTokens}, which is the maximum allowed number of output tokens for ${model}`,
      )
    : undefined;

const thinking: Rule = ({ thinking: asked, max_tokens, tool_choice }, model) => {
  if (asked?.type === 'adaptive' && model.thinking === 'none') {
    return invalid('adaptive thinking is not supported on this model');
  }
  if (asked?.type === 'enabled' && !model.isOlder) {
    return invalid(
      '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.',
    );
  }
  if (asked?.type === 'disabled' && model.thinking === 'adaptive') {
    return invalid('"thinking.type.disabled" is not supported for this model.');
  }
  if (asked?.type === 'enabled' && asked.budget_tokens >= max_tokens) {
    return invalid('`max_tokens` must be greater than `thinking.budget_tokens`.');
  }
  const isForced = tool_choice?.type === 'any' || tool_choice?.type === 'tool';
  return isForced && isThinking(model, asked)
    ? invalid('Thinking may not be enabled when tool_choice forces tool use.')
    : undefined;
};

const effort: Rule = ({ output_config }, { efforts }) => {
  const level = output_config?.effort;
  if (!level || efforts.includes(level)) return undefined;
  return invalid(
    efforts.length === 0
      ? 'This model does not support the effort parameter.'
      : `output_config.effort: This model does not support effort level '${level}'. Supported levels: ${efforts.join(', ')}.`,
  );
};

const sampling: Rule = ({ temperature, top_p, top_k, thinking: asked }, model) => {
  for (const [name, value] of Object.entries({ temperature, top_p, top_k })) {
    if (value === undefined) continue;
    if (!model.takesSampling) return invalid(`\`${name}\` is deprecated for this model.`);
    if (isThinking(model, asked) && !(name === 'temperature' && value === 1)) {
      return invalid(`\`${name}\` may only be set to 1 when thinking is enabled.`);
    }
  }
  return temperature !== undefined && top_p !== undefined
    ? invalid('`temperature` and `top_p` cannot both be specified for this model. Please use only one.')
    : undefined;
};

const tools: Rule = ({ tools: offered = [], tool_choice }) => {
  const names = new Set<string>();
  for (const { name } of offered) {
    if (names.has(name)) return invalid('tools: Tool names must be unique.');
    names.add(name);
  }
  if (tool_choice === undefined || tool_choice.type === 'none') return undefined;
  if (offered.length === 0) return invalid('tool_choice: may only be specified while providing tools.');
  return tool_choice.type === 'tool' && !names.has(tool_choice.name)
    ? invalid(`Tool '${tool_choice.name}' not found in provided tools`)
    : undefined;
};

const MAX_MARKS = 4;

const marks: Rule = (request) => {
  const found = promptBlocks(request).flatMap(({ at, marks: own }) => own.map(({ ttl = '5m' }) => ({ at, ttl })));
  if (found.length > MAX_MARKS) {
    return invalid(`A maximum of ${MAX_MARKS} blocks with cache_control may be provided. Found ${found.length}.`);
  }
  const short = found.findIndex(({ ttl }) => ttl === '5m');
  const late = short < 0 ? undefined : found.slice(short).find(({ ttl }) => ttl === '1h');
  return late === undefined
    ? undefined
    : invalid(
        `${late.at}.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. ` +
          'Note that blocks are processed in the following order: `tools`, `system`, `messages`.',
      );
};

const window: Rule = (request, { contextWindow, isOlder }) => {
  const tokens = promptTokens(request);
  if (tokens > contextWindow) return invalid(`prompt is too long: ${tokens} tokens > ${contextWindow} maximum`);
  // Newer models answer until the window is full.
  return isOlder && tokens + request.max_tokens > contextWindow
    ? invalid(
        `input length and \`max_tokens\` exceed context limit: ${tokens} + ${request.max_tokens} > ${contextWindow}, ` +
          'decrease input length or `max_tokens` and try again',
      )
    : undefined;
};

/** The tokens of a prompt, as the double counts. */
export function promptTokens(request: MessagesRequest): number {
  return promptBlocks(request).reduce((sum, { tokens }) => sum + tokens, FRAME_TOKENS);
}

/** In the order in which they are applied. */
export const PARAMETER_RULES: readonly Rule[] = [maxTokens, sampling, thinking, effort, tools, marks, window];
