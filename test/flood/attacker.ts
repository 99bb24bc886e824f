// One process that floods the doors of a gateway until its time is over. It reads its orders from
// stdin as JSON, and prints how often each door gave each answer.

import { randomBytes } from 'node:crypto';
import https from 'node:https';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';

export const orders = z.object({
  ms: z.number(),
  ca: z.string(),
  agentPort: z.number(),
  kubePort: z.number(),
  namespace: z.string(),
  /** Requests at the same time, per door. */
  width: z.number(),
  attempts: z.array(z.object({ agentToken: z.string(), sandboxToken: z.string() })),
});
export type Orders = z.infer<typeof orders>;

/** Answers by door and status; 0 is a connection that failed. */
export type Answers = Record<string, Record<string, number>>;

const given = orders.parse(JSON.parse(await text(process.stdin)));
const deadline = Date.now() + given.ms;
const agent = new https.Agent({ keepAlive: true, ca: given.ca });
const answers: Answers = {};

function send(port: number, token: string, path: string, body: string): Promise<number> {
  return new Promise((resolve) => {
    const headers = {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    };
    const request = https.request({ agent, host: '127.0.0.1', port, method: 'POST', path, headers }, (response) => {
      response.resume();
      response.once('close', () => resolve(response.statusCode ?? 0));
    });
    request.on('error', () => resolve(0));
    request.end(body);
  });
}

const noise = (bytes: number) => randomBytes((bytes * 3) / 4).toString('base64');
let counter = 0;
const key = () => `flood-${process.pid}-${counter++}`;

/** Texts that cost the most: of redaction, of the disk, of the chain. */
const texts: readonly (() => string)[] = [
  () => noise(1_000_000),
  () => `${'kind: Secret\ndata:\n  a: b\n'.repeat(20_000)}${counter}`,
  () => `${'password=x -----BEGIN PRIVATE KEY----- '.repeat(12_000)}${counter}`,
  () => `${counter}`,
];
const anyText = () => texts[counter % texts.length]?.() ?? '';

type Door = (token: Orders['attempts'][number]) => Promise<number>;
const doors: Readonly<Record<string, Door>> = {
  audit: ({ agentToken }) => {
    const entry = { clientKey: key(), kind: 'reasoning', content: noise(4000), blob: anyText() };
    return send(given.agentPort, agentToken, '/audit/v1/entries', JSON.stringify(entry));
  },
  // Params are no full text, so they are never replaced by a digest.
  params: ({ agentToken }) => {
    const entry = { clientKey: key(), kind: 'reasoning', content: '', params: { command: anyText() } };
    return send(given.agentPort, agentToken, '/audit/v1/entries', JSON.stringify(entry));
  },
  agent: ({ agentToken }) => {
    // A claim with an outcome would end the attempt, and with it the attack.
    const claim = { outcome: key(), summary: noise(4000), rootCause: noise(60_000), actions: [] };
    return send(given.agentPort, agentToken, '/agent/v1/conclude', JSON.stringify(claim));
  },
  // Writes that the role allows, and that the API server refuses after they are recorded.
  kube: ({ sandboxToken }) => {
    const object = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'NOT-VALID' },
      data: { a: noise(900_000) },
    };
    return send(
      given.kubePort,
      sandboxToken,
      `/api/v1/namespaces/${given.namespace}/configmaps`,
      JSON.stringify(object),
    );
  },
  // Writes that no role allows.
  forbidden: ({ sandboxToken }) =>
    send(given.kubePort, sandboxToken, '/api/v1/namespaces/kube-system/configmaps', `{"a":"${noise(900_000)}"}`),
};

async function attack(name: string, door: Door, attempt: Orders['attempts'][number]): Promise<void> {
  while (Date.now() < deadline) {
    const status = await door(attempt);
    const seen = answers[name] ?? {};
    answers[name] = seen;
    seen[status] = (seen[status] ?? 0) + 1;
    if (status === 0) await sleep(50);
  }
}

await Promise.all(
  given.attempts.flatMap((attempt) =>
    Object.entries(doors).flatMap(([name, door]) =>
      Array.from({ length: given.width }, () => attack(name, door, attempt)),
    ),
  ),
);
agent.destroy();
process.stdout.write(JSON.stringify(answers));
