// The gateway as an agent sees it, for tests: in memory, over plain HTTP, with faults on demand.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import * as z from 'zod';
import { type NewEntry, newEntry } from '../../src/audit/entry.ts';
import { type Conclusion, commandEnded, conclusion, paths, type Task } from '../../src/gateway/protocol.ts';
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
  close(): Promise<void>;
}

export interface FakeGatewayOptions {
  readonly task: Task;
  /** A server of the Messages API to which /v1/messages is forwarded, or a handler for it. */
  readonly messages: string | ((body: unknown, response: ServerResponse, count: number) => void | Promise<void>);
  readonly fault?: Fault;
  readonly alreadyStarted?: boolean;
}

async function readText(incoming: IncomingMessage): Promise<string> {
  let text = '';
  incoming.setEncoding('utf8');
  for await (const chunk of incoming) text += String(chunk);
  return text;
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
  let asked = 0;

  async function handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = incoming.url ?? '';
    const text = await readText(incoming);
    tokens.push(incoming.headers.authorization ?? '');
    const count = (counts.get(url) ?? 0) + 1;
    counts.set(url, count);
    if (options.fault?.(url, response, count) === true) return;
    const reply = (body: unknown) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    const body: unknown = text === '' ? undefined : JSON.parse(text);
    if (url === paths.task) return reply(options.task);
    if (url === paths.start) return reply({ alreadyStarted: options.alreadyStarted ?? false });
    if (url === paths.entries) {
      const entry = newEntry.parse(body);
      const known = entries.find((it) => it.clientKey === entry.clientKey);
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
      response.writeHead(204).end();
      return;
    }
    if (url === paths.conclude) {
      conclusions.push(conclusion.parse(body));
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

  const server = createServer((incoming, response) => {
    handle(incoming, response).catch((error: unknown) => {
      if (!response.headersSent) refuse(response, 400, `OPLAB_${String(error)}`);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    entries,
    conclusions,
    live,
    ended,
    tokens,
    bodies,
    usages,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
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
