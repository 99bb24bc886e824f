// Requests while no command of the attempt is running: refused, on record, and the end of the lease.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { findCondition } from '../../src/api/meta.ts';
import type { NewEntryInput } from '../../src/audit/entry.ts';
import { GRACE_MS } from '../../src/gateway/running-commands.ts';
import { CONFIG_MAPS, EVENTS } from '../../src/kube/resources.ts';
import { eventually } from '../support/eventually.ts';
import { type Attempt, TARGET } from '../support/gateway-attempts.ts';
import { type GatewayHarness, startGatewayHarness } from '../support/gateway-harness.ts';

const CONFIGMAPS = `/api/v1/namespaces/${TARGET}/configmaps`;
const JSON_TYPE = { 'content-type': 'application/json' };
let lab: GatewayHarness;
beforeAll(async () => {
  lab = await startGatewayHarness();
});
afterAll(() => lab?.close());

/** An attempt whose agent has not run any command. */
const idle = async (name: string) => {
  const attempt = await lab.open(name, {}, { idle: true });
  await eventually(async () => (await lab.gateway.log.head(attempt.session)) !== undefined);
  await eventually(async () => (await report(attempt, { kind: 'reasoning', content: 'hello' })).status === 200);
  return attempt;
};
let keys = 0;
const report = (attempt: Attempt, entry: Omit<NewEntryInput, 'clientKey'>) => {
  keys += 1;
  return lab.ask(attempt, 'POST', '/audit/v1/entries', { clientKey: `1-${keys}`, ...entry });
};
/** Records a call of the shell. Returns its sequence number and its key. */
const run = async (attempt: Attempt, command: string) => {
  const { json } = await report(attempt, { kind: 'tool_call', tool: 'shell', params: { command }, content: 'why' });
  return { seq: json.seq, callKey: `1-${keys}` };
};
const finish = (attempt: Attempt, output = '', exitCode = 0) =>
  report(attempt, { kind: 'tool_result', tool: 'shell', exitCode, content: 'done', blob: output });
const configMap = (name: string) => JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name } });
const create = (attempt: Attempt, name: string) => lab.kube(attempt, 'POST', CONFIGMAPS, JSON_TYPE, configMap(name));
const exists = async (name: string) => {
  const found = await lab.client.list(CONFIG_MAPS, { namespace: TARGET });
  return found.items.some(({ metadata }) => metadata.name === name);
};
const intents = async (attempt: Attempt) =>
  (await lab.entries(attempt)).filter(({ kind }) => kind === 'kube_intent' || kind === 'kube_outcome');

describe('a write during a command', () => {
  it('is forwarded, and names its command in the log and in the status', async () => {
    const attempt = await idle('explained');
    const { seq } = await run(attempt, 'kubectl create configmap during');
    expect((await create(attempt, 'during')).status).toBe(201);
    const [intent] = await intents(attempt);
    expect(intent?.params).toMatchObject({ commandSeq: seq });
    await finish(attempt);
    const changes = await eventually(async () => {
      const { status } = await lab.incident('explained');
      return status?.changes?.count === 1 ? status.changes : undefined;
    });
    expect(changes.last[0]).toMatchObject({ command: seq, seq: intent?.seq });
  });

  it('is still its write just after it has ended', async () => {
    const attempt = await idle('grace');
    const { seq, callKey } = await run(attempt, 'true');
    expect((await lab.ask(attempt, 'POST', '/audit/v1/command-ended', { callKey })).status).toBe(204);
    expect((await create(attempt, 'just-after')).status).toBe(201);
    expect((await intents(attempt))[0]?.params).toMatchObject({ commandSeq: seq });
  });
});

const ways: [string, (attempt: Attempt) => Promise<unknown>][] = [
  ['before the first command', async () => undefined],
  [
    'after its result',
    async (attempt) => {
      await run(attempt, 'true');
      await finish(attempt);
      await sleep(GRACE_MS + 100);
    },
  ],
  [
    'after its end, while the output is not recorded yet',
    async (attempt) => {
      const { callKey } = await run(attempt, 'true');
      await lab.ask(attempt, 'POST', '/audit/v1/command-ended', { callKey });
      await sleep(GRACE_MS + 100);
    },
  ],
  [
    'of an earlier attempt',
    async (attempt) => {
      await run(attempt, 'true');
    },
  ],
];

describe.each(ways.map(([when, arrange], index) => ({ when, arrange, name: `unexplained-${index}` })))(
  'a write $when',
  ({ when, arrange, name }) => {
    it('is refused and on record, and ends the Incident and nothing else', async () => {
      let attempt = await idle(name);
      await arrange(attempt);
      if (when === 'of an earlier attempt') {
        attempt = { ...(await lab.nextAttempt(name)), idle: true };
        await eventually(async () => (await lab.ask(attempt, 'GET', '/agent/v1/task')).status === 200);
      }
      const answer = await create(attempt, name);
      expect([answer.status, answer.text]).toEqual([
        403,
        expect.stringContaining('no command of the attempt was running'),
      ]);
      expect(await exists(name)).toBe(false);
      const [intent, outcome] = await intents(attempt);
      expect(intent).toMatchObject({
        params: { unexplained: true },
        content: expect.stringMatching(/^unexplained: create configmaps/),
      });
      expect(await lab.gateway.log.blob(intent?.blobDigest ?? '')).toContain(name);
      expect(outcome?.params).toMatchObject({ status: 403, intentSeq: intent?.seq });

      // The lease is dead for all doors at once.
      for (const refused of [await create(attempt, 'again'), await lab.ask(attempt, 'GET', '/agent/v1/task')])
        expect([refused.status, refused.text]).toEqual([403, expect.stringContaining('UnexplainedWrite')]);
      expect((await report(attempt, { kind: 'reasoning', content: 'never mind' })).status).toBe(403);

      const condition = await eventually(
        async () => findCondition((await lab.incident(name)).status?.conditions, 'WritesExplained'),
        { withinMs: 1000 },
      );
      expect(condition).toMatchObject({ status: 'False', reason: 'UnexplainedWrite' });
      expect(condition.message).toContain(`(entry ${intent?.seq}): create configmaps ${TARGET}`);
      const event = z.looseObject({ reason: z.string(), regarding: z.looseObject({ name: z.string() }) });
      await eventually(async () => {
        const { items } = await lab.client.list(EVENTS, { namespace: TARGET });
        return items
          .map((item) => event.parse(item))
          .some(({ reason, regarding }) => reason === 'UnexplainedWrite' && regarding.name === name);
      });
    });
  },
);

it('counts the Incidents that ended so', async () => {
  const metrics = await (await fetch(`http://127.0.0.1:${lab.gateway.ports.health}/metrics`)).text();
  expect(metrics).toMatch(new RegExp(`^oplab_unexplained_writes_total(\\{[^}]*\\})? ${ways.length}$`, 'm'));
});

it('refuses a read of a Secret as well, and no other read', async () => {
  const attempt = await idle('reads');
  expect((await lab.kube(attempt, 'GET', CONFIGMAPS)).status).toBe(200);
  const secrets = `/api/v1/namespaces/${TARGET}/secrets`;
  expect((await lab.kube(attempt, 'GET', secrets)).text).toContain('no command of the attempt was running');
  expect((await lab.kube(attempt, 'GET', CONFIGMAPS)).status).toBe(403);
});

it('keeps the lease dead after a restart of the gateway, and the condition', async () => {
  const attempt = await idle('restarted');
  await create(attempt, 'restarted');
  await eventually(async () => findCondition((await lab.incident('restarted')).status?.conditions, 'WritesExplained'));
  await lab.restartGateway();
  expect((await create(attempt, 'restarted')).text).toContain('UnexplainedWrite');
  await lab.setStatus('restarted', { message: 'touched' });
  await sleep(2000);
  const { status } = await lab.incident('restarted');
  expect(findCondition(status?.conditions, 'WritesExplained')?.status).toBe('False');
});

it('knows the running command after a restart of the gateway', async () => {
  const attempt = await idle('across');
  const { seq } = await run(attempt, 'sleep 10');
  await lab.restartGateway();
  await eventually(async () => (await lab.ask(attempt, 'GET', '/agent/v1/task')).status === 200);
  expect((await create(attempt, 'across')).status).toBe(201);
  expect((await intents(attempt))[0]?.params).toMatchObject({ commandSeq: seq });
});

describe('a command that says that it wrote', () => {
  const notes = async (attempt: Attempt) =>
    (await lab.entries(attempt)).filter(({ params }) => Object(params).event === 'write_not_seen');

  it('and did not, gets a note in the log', async () => {
    const attempt = await idle('says-so');
    const { seq } = await run(attempt, 'kubectl apply -f x.yaml');
    await finish(attempt, 'configmap/x configured');
    const [note, ...more] = await notes(attempt);
    expect(more).toEqual([]);
    expect(note).toMatchObject({ kind: 'lifecycle', writer: 'gateway', params: { commandSeq: seq } });
    expect(note?.content).toContain('"kubectl apply"');
    const tail = await eventually(async () => {
      const { audit } = (await lab.incident('says-so')).status ?? {};
      return audit?.tail?.find(({ text }) => text.includes('no door has seen a write'));
    });
    expect(tail.seq).toBe(note?.seq);
  });

  it.each<[string, string, string, number]>([
    ['failed', 'kubectl apply -f x.yaml', 'error', 1],
    ['had nothing to do', 'kubectl apply -f x.yaml', 'configmap/x unchanged', 0],
    ['only reads', 'kubectl get configmaps', '', 0],
  ])('gets none if it %s', async (what, command, output, exitCode) => {
    const attempt = await idle(`quiet-${what.replaceAll(' ', '-')}`);
    await run(attempt, command);
    await finish(attempt, output, exitCode);
    expect(await notes(attempt)).toEqual([]);
  });

  it('gets none if a door has seen a write, even a refused one', async () => {
    const attempt = await idle('seen');
    await run(attempt, 'kubectl create configmap seen');
    await create(attempt, 'seen');
    await finish(attempt, 'configmap/seen created');
    expect(await notes(attempt)).toEqual([]);
  });
});
