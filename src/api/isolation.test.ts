// The holes that a class may name: the table of probes, the same in the class and in the chart.

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, it } from 'vitest';
import { agentClassSpec } from './agent-class.ts';
import { ISOLATION_PROBES } from './isolation.ts';

const spec = (allowHoles: readonly string[]) =>
  agentClassSpec.safeParse({ images: { agent: 'a', sandbox: 's' }, isolation: { allowHoles } });

it('a class may name every probe, and nothing else', () => {
  expect(spec(ISOLATION_PROBES).success).toBe(true);
  expect(spec(['everything']).success).toBe(false);
});

it('the chart knows the same names', async () => {
  const file = path.join(import.meta.dirname, '../../helm/oplab/values.schema.json');
  const schema = JSON.parse(await readFile(file, 'utf8'));
  expect(schema.properties.agentClass.properties.allowHoles.items.enum).toEqual(ISOLATION_PROBES);
});
