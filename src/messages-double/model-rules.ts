// What a model accepts: from the table of models, and what only the API itself needs to know.

import { canonicalModel, type Effort, modelFacts, type Thinking } from '../api/model-table.ts';

export interface ModelRules {
  readonly contextWindow: number;
  readonly maxOutputTokens: number;
  readonly thinking: Thinking;
  /** Whether it thinks if a request says nothing about it. */
  readonly thinksByDefault: boolean;
  readonly efforts: readonly Effort[];
  /** The smallest prompt that is cached, in tokens. */
  readonly minCacheTokens: number;
  /** Claude 4.5: thinking with a budget, an answer that is begun for it, a limit on prompt and answer together. */
  readonly isOlder: boolean;
  /** Whether it takes `temperature`, `top_p` and `top_k`, which the API's current version does not have. */
  readonly takesSampling: boolean;
}

/** Smaller prompts are not cached. Source: the vendor's page on prompt caching. */
const MIN_CACHE_TOKENS: Readonly<Record<string, number>> = {
  'claude-opus-4-5': 4096,
  'claude-opus-4-6': 4096,
  'claude-opus-4-7': 4096,
  'claude-haiku-4-5': 4096,
  'claude-sonnet-4-6': 2048,
  'claude-sonnet-4-5': 1024,
};
const DEFAULT_MIN_CACHE_TOKENS = 512;

export function modelRules(id: string): ModelRules {
  const { contextWindow, maxOutputTokens, thinking, efforts } = modelFacts(id);
  const name = canonicalModel(id);
  return {
    contextWindow,
    maxOutputTokens,
    thinking,
    thinksByDefault: thinking === 'adaptive' || (thinking === 'optional' && /^claude-[a-z]+-5(?:-|$)/.test(name)),
    efforts,
    minCacheTokens: MIN_CACHE_TOKENS[name] ?? DEFAULT_MIN_CACHE_TOKENS,
    isOlder: /^claude-[a-z]+-4-5$/.test(name),
    takesSampling: /^claude-[a-z]+-4-[56]$/.test(name),
  };
}

/** Whether the answer to a request is thought about first. */
export function isThinking(
  { thinksByDefault }: Pick<ModelRules, 'thinksByDefault'>,
  asked: { readonly type: 'adaptive' | 'enabled' | 'disabled' } | undefined,
): boolean {
  return asked === undefined ? thinksByDefault : asked.type !== 'disabled';
}
