// The quota of a day at the model door: it holds for all Incidents of a class, and over a restart.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { agentClass as agentClassSchema } from '../../src/api/agent-class.ts';
import { AGENT_CLASSES } from '../../src/kube/resources.ts';
import { agentClass } from '../support/api-server.ts';
import { eventually } from '../support/eventually.ts';
import { HELLO, message } from '../support/fake-model-api.ts';
import type { Attempt } from '../support/gateway-attempts.ts';
import { type GatewayHarness, startGatewayHarness } from '../support/gateway-harness.ts';

let lab: GatewayHarness;
beforeAll(async () => {
  lab = await startGatewayHarness();
});
afterAll(async () => {
  await lab?.close();
});

// 16,000 output tokens of Opus 5.5 may cost $0.32.
const ask = (attempt: Attempt) =>
  lab.ask(attempt, 'POST', '/v1/messages', { model: 'claude-opus-5-5', max_tokens: 16_000, messages: HELLO });
const readDay = async () =>
  agentClassSchema.parse(await lab.client.get(AGENT_CLASSES, { name: 'default' })).status?.day;

describe('the quota of a class', () => {
  it('refuses calls of other Incidents, survives a restart, and is raised without one', async () => {
    await lab.client.create(AGENT_CLASSES, agentClass('default', { quota: { maxCostMilliUSDPerDay: 500 } }));
    let forwarded = 0;
    lab.model(async ({ body, response }) => {
      forwarded += 1;
      await sleep(50);
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(message(body.model, { input_tokens: 10, output_tokens: 16_000 })));
    });
    const [first, second] = [await lab.open('day-first'), await lab.open('day-second')];
    // The class is watched, so it may be known a moment later.
    const answers = await eventually(async () => {
      const both = await Promise.all([ask(first), ask(second)]);
      return both.some(({ status }) => status === 429) ? both : undefined;
    });
    const refused = answers.find(({ status }) => status === 429);
    expect(refused?.text).toContain('the daily quota of AgentClass default is reached');
    await eventually(async () => {
      const names = ['day-first', 'day-second'];
      const incidents = await Promise.all(names.map((name) => lab.incident(name)));
      return incidents.some(({ status }) => status?.usage?.limitReached === 'day') ? true : undefined;
    });
    const day = await eventually(async () => {
      const now = await readDay();
      return now?.limitReached === 'cost' ? now : undefined;
    });
    expect(day.costMilliUSD).toBe(321);

    const before = forwarded;
    await lab.restartGateway();
    const third = await lab.open('day-third');
    expect((await ask(third)).status).toBe(429);
    expect(forwarded).toBe(before);

    await lab.client.patch(AGENT_CLASSES, { name: 'default' }, { spec: { quota: { maxCostMilliUSDPerDay: 5000 } } });
    await eventually(async () => ((await readDay())?.limitReached === undefined ? true : undefined));
    expect((await ask(await lab.open('day-fourth'))).status).toBe(200);
  });
});
