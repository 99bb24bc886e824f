// The budget refuses requests that could exceed a limit, and survives a restart.

import { describe, expect, it } from 'vitest';
import type { Limits } from '../api/limits.ts';
import type { Entry } from '../audit/entry.ts';
import { type Ask, Budget, Budgets, LIMIT_REACHED_EVENT } from './budget.ts';

const limits: Limits = { timeoutSeconds: 900, maxTurns: 3, maxTokens: 1000, maxCostMilliUSD: 10, attempts: 2 };
const used = (change: Partial<Usage> = {}): Usage => ({
  ...{
    agentClass: 'default',
    model: 'm',
    turn: true,
    inputTokens: 100,
    outputTokens: 10,
    cacheReadTokens: 0,
    cacheWriteTokens: 0,
    costMicroUSD: 1500,
  },
  ...change,
});
const ask = ({
  tokens = 200,
  costMicroUSD = 3000,
  ...change
}: { tokens?: number; costMicroUSD?: number } & Partial<Ask> = {}) => ({
  turn: true,
  promptTokens: tokens,
  promptMicroUSD: costMicroUSD,
  outputTokens: 0,
  leastOutputTokens: 0,
  outputMicroUSD: 0,
  ...change,
});
interface Usage {
  readonly agentClass: string;
  readonly model: string;
  readonly turn: boolean;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cacheReadTokens: number;
  readonly cacheWriteTokens: number;
  readonly costMicroUSD: number;
}
type Row = Pick<Entry, 'seq' | 'kind' | 'writer' | 'params'>;
const limit = (name: string) => expect.objectContaining({ code: 'OPLAB_LIMIT_REACHED', limit: name });

describe('Budget', () => {
  it('counts the restarts of all agents, as the gateway recorded them', () => {
    const budget = new Budget();
    expect(budget.usage()).not.toHaveProperty('agentRestarts');
    const resumed = (attempt: number, number: number, writer: Entry['writer'] = 'gateway') =>
      budget.replay({ kind: 'lifecycle', writer, params: { event: 'agent_resumed', attempt, number, run: 'r' } });
    resumed(1, 1);
    resumed(1, 4);
    resumed(1, 4);
    resumed(2, 1);
    resumed(2, 9, 'agent');
    expect(budget.usage().agentRestarts).toBe(5);
  });

  it('counts actual usage instead of reservations, and rounds the cost up', async () => {
    const budget = new Budget();
    (await budget.reserve(ask(), limits)).settle(used());
    (await budget.reserve(ask({ turn: false }), limits)).settle(undefined);
    expect(budget.usage()).toMatchObject({ turns: 1, modelCalls: 1, inputTokens: 100, costMilliUSD: 2 });
  });

  it.each<[string, { tokens?: number; costMicroUSD?: number }, Partial<Usage>]>([
    ['turns', {}, { costMicroUSD: 0, inputTokens: 0 }],
    ['tokens', { tokens: 900 }, { costMicroUSD: 0 }],
    ['cost', { costMicroUSD: 9000 }, {}],
  ])('refuses a request that could exceed the limit of %s, and all later ones', async (name, wanted, spent) => {
    const budget = new Budget();
    const times = name === 'turns' ? 3 : 1;
    for (let turn = 0; turn < times; turn += 1) (await budget.reserve(ask(), limits)).settle(used(spent));
    await expect(budget.reserve(ask(wanted), limits)).rejects.toEqual(limit(name));
    expect(budget.usage().limitReached).toBe(name);
    await expect(budget.reserve(ask({ turn: false, tokens: 1, costMicroUSD: 0 }), limits)).rejects.toEqual(limit(name));
  });

  it('makes a request wait if it does not fit only because of other reservations', async () => {
    const budget = new Budget();
    const first = await budget.reserve(ask({ costMicroUSD: 8000 }), limits);
    let admitted = false;
    const second = budget.reserve(ask({ costMicroUSD: 8000 }), limits).then((reservation) => {
      admitted = true;
      return reservation;
    });
    await Promise.resolve();
    expect(admitted).toBe(false);
    first.settle(used({ costMicroUSD: 2000 }));
    (await second).settle(used({ costMicroUSD: 2000 }));
    expect(budget.usage().limitReached).toBeUndefined();
  });

  it('shortens the output to what is left, down to the least that is of use', async () => {
    const budget = new Budget();
    const wanted = { costMicroUSD: 1000, outputTokens: 800, leastOutputTokens: 50, outputMicroUSD: 20 };
    // Of the 10,000, the prompt takes 1,000; the rest are 450 tokens of 20.
    const first = await budget.reserve(ask(wanted), limits);
    expect(first).toMatchObject({ outputTokens: 450, tokens: 650, costMicroUSD: 10_000 });
    first.settle(used({ costMicroUSD: 8000 }));
    expect(budget.left(limits)).toEqual({ limit: 'cost', share: expect.closeTo(0.2) });
    const second = await budget.reserve(ask(wanted), limits);
    expect(second.outputTokens).toBe(50);
    second.settle(used({ costMicroUSD: 1 }));
    await expect(budget.reserve(ask(wanted), limits)).rejects.toEqual(limit('cost'));
  });

  it('waits for what others have reserved before it shortens anything', async () => {
    const budget = new Budget();
    const first = await budget.reserve(ask({ costMicroUSD: 5000 }), limits);
    const second = budget.reserve(ask({ outputTokens: 200, leastOutputTokens: 10, outputMicroUSD: 20 }), limits);
    await Promise.resolve();
    first.settle(used({ costMicroUSD: 1000 }));
    expect((await second).outputTokens).toBe(200);
  });

  it('answers every request that is alone, whatever its price is', async () => {
    for (let seed = 1; seed <= 5000; seed += 1) {
      const budget = new Budget();
      const outputMicroUSD = ((seed * 7919) % 1000) / 7;
      const leastOutputTokens = 1 + (seed % 1024);
      // Exactly enough for the least output.
      const most = {
        ...limits,
        maxTokens: 1_000_000,
        maxCostMilliUSD: Math.ceil((leastOutputTokens * outputMicroUSD) / 1000),
      };
      const promptMicroUSD = most.maxCostMilliUSD * 1000 - Math.ceil(leastOutputTokens * outputMicroUSD);
      const wanted = {
        turn: true,
        promptTokens: 1,
        promptMicroUSD,
        outputTokens: 5000,
        leastOutputTokens,
        outputMicroUSD,
      };
      const waiting = Symbol('waiting');
      const answered = await Promise.race([
        budget.reserve(wanted, most),
        new Promise((resolve) => setImmediate(resolve, waiting)),
      ]);
      expect([seed, answered === waiting]).toEqual([seed, false]);
    }
  });

  it('counts no reads of the cache as tokens', async () => {
    const budget = new Budget();
    budget.add(used({ cacheReadTokens: 1_000_000, costMicroUSD: 0 }));
    await expect(budget.reserve(ask({ tokens: 800 }), limits)).resolves.toBeDefined();
    expect(budget.usage().cacheReadTokens).toBe(1_000_000);
  });

  it('settles once', async () => {
    const budget = new Budget();
    const reservation = await budget.reserve(ask(), limits);
    reservation.settle(used());
    reservation.settle(used());
    expect(budget.usage().turns).toBe(1);
  });
});

describe('Budgets', () => {
  it('rebuilds a budget from the gateway’s own entries, page by page, once', async () => {
    const call = (seq: number): Row => ({
      seq,
      kind: 'model_call',
      writer: 'gateway',
      params: { ...used() },
    });
    const entries: Row[] = [
      ...Array.from({ length: 1500 }, (_, index) => call(index + 1)),
      // Entries of the agent do not affect the budget.
      { seq: 1501, kind: 'model_call', writer: 'agent', params: { ...used() } },
      {
        seq: 1502,
        kind: 'lifecycle',
        writer: 'gateway',
        params: { event: LIMIT_REACHED_EVENT, limit: 'turns' },
      },
    ];
    let reads = 0;
    const full = {
      session: 's',
      time: '',
      attempt: 1,
      clientKey: '',
      tool: null,
      exitCode: null,
      durationMs: null,
      content: '',
      blobDigest: null,
      prevHash: '',
      hash: '',
    };
    const budgets = new Budgets({
      read: async (_, options = {}) => {
        reads += 1;
        const { afterSeq = 0, limit = 0 } = options;
        return entries
          .filter(({ seq }) => seq > afterSeq)
          .slice(0, limit)
          .map((entry) => ({ ...full, ...entry }));
      },
    });
    const [one, two] = await Promise.all([budgets.of('s'), budgets.of('s')]);
    expect(one).toBe(two);
    expect(one.usage()).toMatchObject({ turns: 1500, inputTokens: 150_000, limitReached: 'turns' });
    expect(reads).toBe(2);
    expect(budgets.limitReached('s')).toBe('turns');
  });
});
