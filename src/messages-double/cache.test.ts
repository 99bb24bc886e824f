// The simulated cache: what is written, read and neither, by marks, size, distance and time.

import { beforeEach, describe, expect, it } from 'vitest';
import { PromptCache } from './cache.ts';
import { modelRules } from './model-rules.ts';
import { promptTokens } from './parameter-rules.ts';
import type { Block, MessagesRequest } from './request.ts';

let now = 0;
let cache: PromptCache;
beforeEach(() => {
  now = 0;
  cache = new PromptCache(() => now);
});
const use = (request: MessagesRequest) => cache.use(request, modelRules(request.model));

/** A text of this many tokens. */
const text = (tokens: number, ttl?: '5m' | '1h' | 'none', letter = 'x'): Block => ({
  type: 'text',
  text: letter.repeat(tokens * 4 - 25),
  ...(ttl === 'none' || ttl === undefined ? {} : { cache_control: { type: 'ephemeral', ttl } }),
});
const request = (...content: Block[]): MessagesRequest => ({
  model: 'claude-opus-5-5',
  max_tokens: 1,
  messages: [{ role: 'user', content }],
});

describe('the cache', () => {
  it('counts everything as input without a mark', () => {
    expect(use(request(text(1000)))).toEqual({ read: 0, written5m: 0, written1h: 0, uncached: 1005 });
    expect(use(request(text(1000)))).toEqual({ read: 0, written5m: 0, written1h: 0, uncached: 1005 });
  });

  it('writes up to a mark, reads it the next time, and adds what is new', () => {
    expect(use(request(text(1000, '5m'), text(50)))).toEqual({ read: 0, written5m: 1000, written1h: 0, uncached: 55 });
    expect(use(request(text(1000, '5m'), text(50)))).toEqual({ read: 1000, written5m: 0, written1h: 0, uncached: 55 });
    const longer = request(text(1000), text(50), text(200, '5m'), text(7));
    expect(use(longer)).toEqual({ read: 1000, written5m: 250, written1h: 0, uncached: 12 });
  });

  it('reads nothing that differs in a character, nor of another model', () => {
    use(request(text(1000, '5m')));
    expect(use(request(text(1000, '5m', 'y'))).read).toBe(0);
    expect(use({ ...request(text(1000, '5m')), model: 'claude-opus-5' }).read).toBe(0);
    expect(use({ ...request(text(1000, '5m')), thinking: { type: 'adaptive' } }).read).toBe(0);
    expect(use(request(text(1000, '5m'))).read).toBe(1000);
  });

  it('does not write a prompt below the minimum of the model', () => {
    expect(use(request(text(511, '5m')))).toMatchObject({ written5m: 0, uncached: 516 });
    expect(use(request(text(512, '5m')))).toMatchObject({ written5m: 512, uncached: 5 });
    expect(use({ ...request(text(4095, '5m')), model: 'claude-haiku-4-5' })).toMatchObject({ written5m: 0 });
  });

  it('looks for what was written within twenty blocks of a mark, and no further', () => {
    const more = (count: number) => Array.from({ length: count }, () => text(10));
    use(request(text(1000, '5m')));
    expect(use(request(text(1000), ...more(19), text(10, '5m'))).read).toBe(1000);
    expect(use(request(text(1000), ...more(20), text(10, '5m'))).read).toBe(1190 + 10);
    cache = new PromptCache(() => now);
    use(request(text(1000, '5m')));
    expect(use(request(text(1000), ...more(20), text(10, '5m')))).toMatchObject({ read: 0, written5m: 1210 });
    // A second mark nearer to it finds it.
    cache = new PromptCache(() => now);
    use(request(text(1000, '5m')));
    expect(use(request(text(1000), ...more(10), text(10, '5m'), ...more(15), text(10, '5m'))).read).toBe(1000);
  });

  it('keeps what was written for five minutes from its last use, or for an hour', () => {
    use(request(text(1000, '5m')));
    now = 299_999;
    expect(use(request(text(1000, '5m'))).read).toBe(1000);
    now += 299_999;
    expect(use(request(text(1000, '5m'))).read).toBe(1000);
    now += 300_000;
    expect(use(request(text(1000, '5m')))).toMatchObject({ read: 0, written5m: 1000 });
    expect(use(request(text(1000, '1h', 'y')))).toMatchObject({ written1h: 1000, written5m: 0 });
    now += 3_599_999;
    expect(use(request(text(1000, '1h', 'y'))).read).toBe(1000);
  });

  it('tells the lifetimes of what it writes apart', () => {
    const mixed = request(text(1000, '1h'), text(300, '5m'), text(7));
    expect(use(mixed)).toEqual({ read: 0, written1h: 1000, written5m: 300, uncached: 12 });
  });

  it('accounts for each token of a prompt once, whatever is marked and kept', () => {
    let seed = 7;
    const random = (below: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed % below;
    };
    for (let round = 0; round < 300; round++) {
      now += random(200_000);
      const marks = new Set(Array.from({ length: 3 }, () => random(30)));
      const blocks = Array.from({ length: 1 + random(30) }, (_, at) =>
        text(20 + at * 10, marks.has(at) ? '5m' : 'none'),
      );
      const asked = request(...blocks);
      const { read, written5m, written1h, uncached } = use(asked);
      expect(read + written5m + written1h + uncached).toBe(promptTokens(asked));
      expect(Math.min(read, written5m, written1h, uncached)).toBeGreaterThanOrEqual(0);
    }
  });
});
