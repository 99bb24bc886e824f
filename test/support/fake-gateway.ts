// The gateway as an agent sees it, for tests: in memory, over plain HTTP, with faults on demand.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import * as z from 'zod';
import { type NewEntry, newEntry } from '../../src/audit/entry.ts';
import {
  type Conclusion,
  commandEnded,
  conclusion,
  conversationQuery,
  paths,
  startRequest,
  type startResult,
  type Task,
} from '../../src/gateway/protocol.ts';
import { createEventReader } from '../../src/net/server-sent-events.ts';

export interface RecordedEntry extends NewEntry {
  readonly seq: number;
  readonly time: number;
}

/** Answers a request itself and returns true, or leaves it to the gateway. */
export type Fault = (path: string, response: ServerResponse, count: number) => boolean;

const startOfMessage = z.object({
  message: z.object({
    usage: z.object({ cache_read_input_tokens: z.number(), cache_creation_input_tokens: z.number() }),
  }),
});

export interface FakeGateway {
  readonly url: string;
  readonly entries: RecordedEntry[];
  readonly conclusions: Conclusion[];
  readonly live: string[];
  /** The keys of commands that ended, and the number of entries and model calls at that time. */
  readonly ended: { readonly callKey: string; readonly entries: number; readonly asked: number }[];
  /** Bearer tokens in the order in which they arrived. */
  readonly tokens: string[];
  readonly bodies: unknown[];
  /** What the streams of a server behind it said of the prompt. */
  readonly usages: z.infer<typeof startOfMessage>['message']['usage'][];
  /** What the agent keeps of its conversation. */
  readonly records: unknown[];
  /** Another address, for another process of the agent. */
  listen(): Promise<FakeGatewayAddress>;
  close(): Promise<void>;
}

/** Where one process of an agent finds the gateway. */
export interface FakeGatewayAddress {
  readonly url: string;
  /** As if the process were killed: nothing that it has sent is read, and nothing is answered. */
  kill(): void;
}

export interface FakeGatewayOptions {
  readonly task: Task | (() => Task);
  /** A server of the Messages API to which /v1/messages is forwarded, or a handler for it. */
  readonly messages: string | ((body: unknown, response: ServerResponse, count: number) => void | Promise<void>);
  readonly fault?: Fault;
  /** The answer to a start, if it is not to follow from what happened. */
  readonly start?: z.input<typeof startResult>;
  /** Called before a request is read and before it is answered, except for live output. */
  readonly onMoment?: (moment: string) => void;
}

async function readText(incoming: IncomingMessage): Promise<string> {
  let text = '';
  incoming.setEncoding('utf8');
  for await (const chunk of incoming) text += String(chunk);
  return text;
}

function isSameEntry({ seq: _, time: __, ...known }: RecordedEntry, entry: NewEntry): boolean {
  return JSON.stringify(known) === JSON.stringify(entry);
}

/** Refuses a request as the gateway does. */
export function refuse(
  response: ServerResponse,
  status: number,
  code: string,
  headers: Record<string, string> = {},
): true {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify({ error: { code, message: `${code} for a test` } }));
  return true;
}

export async function startFakeGateway(options: FakeGatewayOptions): Promise<FakeGateway> {
  const entries: RecordedEntry[] = [];
  const conclusions: Conclusion[] = [];
  const live: string[] = [];
  const ended: FakeGateway['ended'] = [];
  const tokens: string[] = [];
  const bodies: unknown[] = [];
  const usages: FakeGateway['usages'] = [];
  const counts = new Map<string, number>();
  const records: unknown[] = [];
  const runs: string[] = [];
  const servers: Server[] = [];
  let asked = 0;

  async function handle(
    incoming: IncomingMessage,
    response: ServerResponse,
    process: { isDead: boolean },
  ): Promise<void> {
    const [url = '', query = ''] = (incoming.url ?? '').split('?');
    const text = await readText(incoming);
    const at = async (moment: string) => {
      if (url !== paths.live) options.onMoment?.(`${moment} ${incoming.method} ${url}`);
      if (process.isDead) await new Promise(() => {});
    };
    await at('before');
    tokens.push(incoming.headers.authorization ?? '');
    const count = (counts.get(url) ?? 0) + 1;
    counts.set(url, count);
    if (options.fault?.(url, response, count) === true) return;
    const reply = async (body: unknown) => {
      await at('after');
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    const body: unknown = text === '' ? undefined : JSON.parse(text);
    if (url === paths.task) return reply(typeof options.task === 'function' ? options.task() : options.task);
    if (url === paths.start) {
      const { run = '' } = startRequest.parse(body);
      if (!runs.includes(run)) runs.push(run);
      const numbers = entries.map(({ clientKey }) => Number(/^\d+-(\d+)$/.exec(clientKey)?.[1] ?? 0));
      if (options.start !== undefined) return reply(options.start);
      return reply({
        alreadyStarted: runs.length > 1,
        restarts: runs.length - 1,
        nextKey: Math.max(0, ...numbers) + 1,
      });
    }
    if (url === paths.conversation) {
      const { run, index, whole } = conversationQuery.parse(Object.fromEntries(new URLSearchParams(query)));
      if (run !== runs.at(-1)) return void refuse(response, 400, 'OPLAB_NOT_ALLOWED');
      if (incoming.method === 'GET') {
        await at('after');
        response.writeHead(200, { 'content-type': 'application/x-ndjson' });
        response.end(records.map((record) => `${JSON.stringify(record)}\n`).join(''));
        return;
      }
      const isRepeated = index === records.length - 1 && JSON.stringify(records.at(-1)) === text;
      if (!isRepeated && whole === 'true') records.length = 0;
      if (!isRepeated && index !== records.length) return void refuse(response, 400, 'OPLAB_NOT_ALLOWED');
      if (!isRepeated) records.push(body);
      await at('after');
      response.writeHead(204).end();
      return;
    }
    if (url === paths.entries) {
      const entry = newEntry.parse(body);
      const known = entries.find((it) => it.clientKey === entry.clientKey);
      if (known !== undefined && !isSameEntry(known, entry)) return void refuse(response, 409, 'OPLAB_AUDIT_CONFLICT');
      if (known !== undefined)
        return reply({ seq: known.seq, hash: 'h', time: new Date(known.time).toISOString(), duplicate: true });
      const stored = { ...entry, seq: entries.length + 1, time: Date.now() };
      entries.push(stored);
      return reply({ seq: stored.seq, hash: 'h', time: new Date(stored.time).toISOString(), duplicate: false });
    }
    if (url === paths.live) {
      live.push(text);
      return reply({});
    }
    if (url === paths.commandEnded) {
      ended.push({ ...commandEnded.parse(body), entries: entries.length, asked });
      await at('after');
      response.writeHead(204).end();
      return;
    }
    if (url === paths.conclude) {
      const claim = conclusion.parse(body);
      // As the gateway: the same claim of an attempt is one.
      if (!conclusions.some((one) => JSON.stringify(one) === JSON.stringify(claim))) conclusions.push(claim);
      return reply({});
    }
    if (url === paths.messages) {
      bodies.push(body);
      if (typeof options.messages !== 'string') return options.messages(body, response, ++asked);
      const version = String(incoming.headers['anthropic-version']);
      const upstream = await fetch(`${options.messages}/v1/messages`, {
        method: 'POST',
        body: text,
        headers: { 'content-type': 'application/json', 'anthropic-version': version },
      }).catch(() => undefined);
      if (upstream === undefined) {
        refuse(response, 503, 'OPLAB_UPSTREAM_UNAVAILABLE', { 'x-should-retry': 'true' });
        return;
      }
      const kept = ['content-type', 'retry-after', 'x-should-retry'].flatMap((name) => {
        const value = upstream.headers.get(name);
        return value === null ? [] : [[name, value]];
      });
      response.writeHead(upstream.status, Object.fromEntries(kept));
      response.flushHeaders();
      try {
        const reader = createEventReader(({ type, data }) => {
          const start = type === 'message_start' ? startOfMessage.safeParse(JSON.parse(data)).data : undefined;
          if (start !== undefined) usages.push(start.message.usage);
        });
        for await (const chunk of upstream.body ?? []) {
          reader.feed(chunk);
          response.write(chunk);
        }
        response.end();
      } catch {
        response.destroy();
      }
      return;
    }
    refuse(response, 404, 'OPLAB_NOT_FOUND');
  }

  async function listen(): Promise<FakeGatewayAddress> {
    const process = { isDead: false };
    const server = createServer((incoming, response) => {
      handle(incoming, response, process).catch((error: unknown) => {
        if (!response.headersSent) refuse(response, 400, `OPLAB_${String(error)}`);
      });
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    return {
      url: `http://127.0.0.1:${port}`,
      kill: () => {
        process.isDead = true;
      },
    };
  }

  return {
    url: (await listen()).url,
    listen,
    records,
    entries,
    conclusions,
    live,
    ended,
    tokens,
    bodies,
    usages,
    async close() {
      for (const server of servers) {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    },
  };
}

/** A task for tests. */
export function fakeTask(changes: Partial<Task> = {}): Task {
  return {
    session: '11111111-2222-3333-4444-555555555555',
    attempt: 1,
    incident: { namespace: 'oplab', name: 'incident', summary: 'something is wrong', severity: 'critical' },
    targetNamespaces: ['somewhere'],
    checks: [{ name: 'check', text: 'object.status.ok == true' }],
    soakSeconds: 30,
    runbooks: [],
    mode: 'Repair',
    model: { name: 'rehearsal-1', summaryName: 'rehearsal-1', maxOutputTokens: 4096 },
    limits: { timeoutSeconds: 900, maxTurns: 60, maxTokens: 2_000_000, maxCostMilliUSD: 5000, attempts: 2 },
    turnsLeft: 60,
    deadline: new Date(Date.now() + 600_000).toISOString(),
    now: new Date().toISOString(),
    previousAttempts: [],
    ...changes,
  };
}
