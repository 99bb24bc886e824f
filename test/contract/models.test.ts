// The table of models against the SDK's own types: an upgrade that brings or drops a model fails here
// until somebody says what it means.

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { DEFAULT_MODEL, DEFAULT_SUMMARY_MODEL } from '../../src/api/agent-class.ts';
import { canonicalModel, isKnownModel, MODEL_TABLE, modelFacts } from '../../src/api/model-table.ts';

const sdk = path.resolve(import.meta.dirname, '../../node_modules/@anthropic-ai/sdk/resources/messages');
const quoted = (text: string) => [...text.matchAll(/'([^']+)'/g)].map(([, name]) => name ?? '');
const declarations = await readFile(path.join(sdk, 'messages.d.ts'), 'utf8');
const names = quoted(/export type Model = ([^;]+);/.exec(declarations)?.[1] ?? '');
const code = await readFile(path.join(sdk, 'messages.js'), 'utf8');
const deprecated = [
  ...(/const DEPRECATED_MODELS = \{([^}]+)\}/.exec(code)?.[1] ?? '').matchAll(/'([^']+)': '([^']+)'/g),
].map(([, name = '', date = '']) => ({ name, date: new Date(`${date.replace(/(\d)(?:st|nd|rd|th)/, '$1')} UTC`) }));

describe('the table of models', () => {
  it('has every model that the SDK names, and no other', () => {
    expect(names.length).toBeGreaterThan(15);
    const table = Object.keys(MODEL_TABLE).filter((name) => name !== 'rehearsal-1');
    expect([...new Set(names.map(canonicalModel))].sort()).toEqual(table.sort());
    expect(names.filter((name) => !isKnownModel(name))).toEqual([]);
  });

  it('has the end of life of every model that the SDK calls deprecated', () => {
    expect(deprecated.length).toBeGreaterThan(0);
    for (const { name, date } of deprecated) {
      expect([name, modelFacts(name).endOfLife]).toEqual([name, date.toISOString().slice(0, 10)]);
    }
  });

  it('warns of each model that ends within 60 days, so that nobody is surprised', () => {
    const endingBy = (day: number) =>
      Object.entries(MODEL_TABLE).flatMap(([name, { endOfLife }]) =>
        endOfLife !== undefined && Math.abs(Date.parse(endOfLife) - day) < 60 * 86_400_000
          ? [`${name} on ${endOfLife}`]
          : [],
      );
    expect(endingBy(Date.parse('2026-11-27'))).toEqual([
      'claude-opus-4-5 on 2027-01-22',
      'claude-sonnet-4-5 on 2026-11-30',
    ]);
    const ending = endingBy(Date.now());
    if (ending.length > 0) console.warn(`The vendor ends ${ending.join(', ')}.`);
  });

  it('has defaults that are priced and have no end of life', () => {
    for (const name of [DEFAULT_MODEL, DEFAULT_SUMMARY_MODEL]) {
      expect(isKnownModel(name)).toBe(true);
      expect(modelFacts(name).price).toBeDefined();
      expect(modelFacts(name).endOfLife).toBeUndefined();
    }
  });

  it.each(Object.entries(MODEL_TABLE))('%s: reads are the cheapest, an hour is the dearest', (_name, { price }) => {
    if (price === undefined) return;
    for (const rates of [price, ...(price.longPrompt === undefined ? [] : [price.longPrompt])]) {
      const { input, output, cacheRead = 0, cacheWrite = 0, cacheWrite1h = 0 } = rates;
      expect([cacheRead, input, cacheWrite, cacheWrite1h, output]).toEqual(
        [cacheRead, input, cacheWrite, cacheWrite1h, output].toSorted((one, other) => one - other),
      );
    }
  });
});

describe('the name of a model', () => {
  it.each([
    ['claude-opus-5-5', 'claude-opus-5-5'],
    ['anthropic.claude-opus-5-5', 'claude-opus-5-5'],
    ['us.anthropic.claude-opus-4-5-20251101-v1:0', 'claude-opus-4-5'],
    ['global.anthropic.claude-haiku-4-5-20251001-v1:0', 'claude-haiku-4-5'],
    ['us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0', 'claude-sonnet-4-5'],
    ['anthropic.claude-opus-4-6-v1', 'claude-opus-4-6'],
    ['claude-opus-4-5@20251101', 'claude-opus-4-5'],
    ['claude-opus-5-5@default', 'claude-opus-5-5'],
    ['anthropic/claude-opus-5.5', 'claude-opus-5-5'],
    ['anthropic/claude-sonnet-4.6:beta', 'claude-sonnet-4-6'],
    ['bedrock/eu.anthropic.claude-opus-5-5', 'claude-opus-5-5'],
    ['vertex_ai/claude-haiku-4-5@20251001', 'claude-haiku-4-5'],
    ['claude-opus-4-20250514', 'claude-opus-4'],
    ['claude-opus-4-0', 'claude-opus-4'],
    ['claude-opus-10', 'claude-opus-10'],
    ['Claude-Opus-5-5', 'claude-opus-5-5'],
    ['arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-5-5', 'claude-opus-5-5'],
    [
      'arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0',
      'claude-haiku-4-5',
    ],
    ['anthropic.claude-sonnet-4-5-20250929-v1:0:200k', 'claude-sonnet-4-5'],
    ['projects/p/locations/us-east5/publishers/anthropic/models/claude-opus-4-5@20251101', 'claude-opus-4-5'],
    ['~anthropic/claude-opus-5.5', 'claude-opus-5-5'],
    ['My-Deployment', 'My-Deployment'],
    ['any-deployment-name', 'any-deployment-name'],
    ['my-claude-opus-5-5', 'my-claude-opus-5-5'],
    ['gpt-oss:20b', 'gpt-oss:20b'],
    ['constructor', 'constructor'],
  ])('%s is %s', (id, name) => {
    expect(canonicalModel(id)).toBe(name);
  });

  it.each([
    ['claude-opus-4-5@20251101', 200_000, 'none'],
    ['claude-opus-10', 1_000_000, 'optional'],
    ['claude-opus-6-20270101', 1_000_000, 'optional'],
    ['claude-opus-4-20250514', 200_000, 'none'],
    ['claude-3-7-sonnet-20250219', 200_000, 'none'],
    ['gpt-oss', 128_000, 'none'],
    ['__proto__', 128_000, 'none'],
  ])('%s: window %i, thinking %s', (id, contextWindow, thinking) => {
    expect(modelFacts(id)).toMatchObject({ contextWindow, thinking });
  });
});
