// The values of the chart about the model, installed with other values than the defaults, and used.

import { afterAll, beforeAll, expect, it } from 'vitest';
import * as z from 'zod';
import { eventually } from '../support/eventually.ts';
import { kubectl, trail } from '../support/live.ts';
import { type OperatorHarness, openOperatorHarness } from '../support/operator-harness.ts';
import { conclude, shell } from '../support/scripted-model.ts';

let lab: OperatorHarness;
beforeAll(async () => {
  lab = await openOperatorHarness({
    'model.prices.scripted-2.input': '1',
    'model.prices.scripted-2.output': '1',
    'agentClass.fallbackModel': 'scripted-2',
    'agentClass.effort': 'high',
    'agentClass.thinking': 'adaptive',
    'agentClass.contextWindow': '50000',
    'agentClass.cacheTtl': '1h',
  });
});
afterAll(() => lab?.close());

it('effort, thinking, context window, cache lifetime and fallback model of a class reach the model', async () => {
  lab.model.declines = 'scripted-1';
  lab.model.play(
    shell(`kubectl -n ${lab.namespace} patch configmap patient --type=merge -p '{"data":{"state":"well"}}'`),
    conclude('fixed'),
  );
  await lab.open('declined');
  const { status } = await lab.finished('declined');
  expect(status).toMatchObject({ phase: 'Resolved', claim: { outcome: 'Fixed' } });
  expect(status?.attempts).toMatchObject([
    {
      class: {
        modelOptions: {
          ...{ effort: 'high', thinking: 'adaptive', contextWindow: 50_000, cacheTtl: '1h' },
          fallbackName: 'scripted-2',
        },
      },
    },
  ]);
  const [first, ...others] = lab.model.requests;
  expect(first).toMatchObject({
    model: 'scripted-1',
    thinking: { type: 'adaptive', display: 'summarized' },
    output_config: { effort: 'high' },
  });
  expect(JSON.stringify(first)).toContain('"cache_control":{"type":"ephemeral","ttl":"1h"}');
  expect(others.map(({ model }) => model)).toEqual(['scripted-2', 'scripted-2']);
  const texts = (await trail(lab.namespace, 'declined')).map(({ content }) => content);
  expect(texts).toContainEqual(
    expect.stringMatching(/^scripted-1 declined to continue \[request req_scripted_\d+\]; scripted-2 is asked/),
  );
});

it('a server that does not tell its models is Unknown, and kubectl shows it', async () => {
  const columns = await eventually(async () => {
    const table = await kubectl('get', 'agentclasses', 'default');
    return table.includes('Unknown') ? table : undefined;
  });
  expect(columns).toMatch(/NAME +MODE +MODEL +REACHABLE +REASON +AGE/);
  expect(columns).toMatch(/default +Repair +scripted-1 +Unknown +NotTold/);
  const shown = z
    .object({ status: z.object({ conditions: z.array(z.object({ type: z.string(), message: z.string() })) }) })
    .parse(JSON.parse(await kubectl('get', 'agentclasses', 'default', '-o', 'json')));
  expect(shown.status.conditions[0]?.message).toContain('the first Incident will show it');
});
