// The prompt cache: what of a prompt is read, what is written, and what is neither.

import type { ModelRules } from './model-rules.ts';
import { chainDigests, FRAME_TOKENS, promptBlocks } from './prompt.ts';
import type { MessagesRequest } from './request.ts';

/** The tokens of a prompt, each in one of these. */
export interface PromptUsage {
  readonly read: number;
  readonly written5m: number;
  readonly written1h: number;
  readonly uncached: number;
}

const LIFETIME_MS = { '5m': 300_000, '1h': 3_600_000 } as const;
/** How many blocks in front of a mark are searched for what was written before. */
const LOOK_BACK = 20;
/** Beyond these, the oldest entries are dropped. */
const MAX_ENTRIES = 50_000;

interface Entry {
  readonly lifetimeMs: number;
  expiresAt: number;
}

export class PromptCache {
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry>();

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Reads and writes as one request does, at the time at which it begins. */
  use(request: MessagesRequest, { minCacheTokens }: Pick<ModelRules, 'minCacheTokens'>): PromptUsage {
    const now = this.#now();
    this.#prune(now);
    const blocks = promptBlocks(request);
    const chain = this.#chain(request, blocks);
    const upTo: number[] = [];
    for (const { tokens } of blocks) upTo.push((upTo.at(-1) ?? 0) + tokens);
    const tokensAt = (index: number) => upTo[index] ?? 0;
    const marked = blocks.flatMap(({ marks }, index) => marks.map(({ ttl = '5m' }) => ({ index, ttl })));

    const usable = marked.filter(({ index }) => tokensAt(index) >= minCacheTokens);
    const hits = usable.flatMap(({ index }) => this.#find(chain, index, now));
    const hit = Math.max(-1, ...hits);
    const read = hit < 0 ? 0 : tokensAt(hit);
    let covered = read;
    const written = { '5m': 0, '1h': 0 };
    for (const { index, ttl } of usable) {
      const key = chain[index];
      if (key === undefined) continue;
      if (tokensAt(index) > covered) {
        written[ttl] += tokensAt(index) - covered;
        covered = tokensAt(index);
      }
      const old = this.#entries.get(key);
      const lifetimeMs = Math.max(LIFETIME_MS[ttl], old?.lifetimeMs ?? 0);
      this.#entries.delete(key);
      this.#entries.set(key, { lifetimeMs, expiresAt: now + lifetimeMs });
    }
    return {
      read,
      written5m: written['5m'],
      written1h: written['1h'],
      uncached: (upTo.at(-1) ?? 0) + FRAME_TOKENS - covered,
    };
  }

  /** The last block at or in front of a mark up to which the prompt was written before; using it renews it. */
  #find(chain: readonly string[], mark: number, now: number): number[] {
    for (let index = mark; index >= Math.max(0, mark - LOOK_BACK); index--) {
      const entry = this.#entries.get(chain[index] ?? '');
      if (entry === undefined) continue;
      entry.expiresAt = now + entry.lifetimeMs;
      return [index];
    }
    return [];
  }

  /** Other tools or another system change all behind them; another kind of thinking or choice of a tool, the messages. */
  #chain(request: MessagesRequest, blocks: ReturnType<typeof promptBlocks>): string[] {
    const { model, thinking, tool_choice } = request;
    const first = blocks.findIndex(({ block }) => block !== undefined);
    const front = chainDigests(model, blocks.slice(0, first));
    const parameters = JSON.stringify([front.at(-1) ?? model, thinking?.type, tool_choice]);
    return [...front, ...chainDigests(parameters, blocks.slice(first))];
  }

  #prune(now: number): void {
    for (const [key, { expiresAt }] of this.#entries) if (expiresAt <= now) this.#entries.delete(key);
    for (const key of this.#entries.keys()) {
      if (this.#entries.size <= MAX_ENTRIES) return;
      this.#entries.delete(key);
    }
  }
}
