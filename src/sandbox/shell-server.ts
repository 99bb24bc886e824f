// The shell server: runs the agent's commands one at a time and streams their output over a unix
// socket.

import { chmod, stat, unlink } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type * as z from 'zod';
import { errorMessage, InvalidInput, OplabError } from '../errors.ts';
import { formatNdjson } from '../net/ndjson.ts';
import { openRequest } from '../net/request.ts';
import {
  type EndState,
  type ExecEvent,
  endRequest,
  type endResult,
  execRequest,
  type IsolationReport,
} from './protocol.ts';
import { runCommand, type ShellEnvironment } from './shell.ts';

const MAX_BODY_BYTES = 256 * 1024;
const PROBE_TIMEOUT_MS = 2000;

/** What the shell server needs. */
export interface ShellServerOptions {
  readonly socketPath: string;
  readonly shellEnvironment: ShellEnvironment;
  readonly isolation: () => Promise<IsolationReport>;
  readonly report?: (line: string) => void;
}

/** A running shell server. Closing it kills the running command. */
export interface ShellServer {
  close(): Promise<void>;
}

async function readBody(incoming: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming) {
    const part = Buffer.from(chunk);
    bytes += part.length;
    if (bytes > MAX_BODY_BYTES) throw new InvalidInput(`the request is larger than ${MAX_BODY_BYTES} bytes`);
    chunks.push(part);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (error) {
    throw new InvalidInput('the request is not valid JSON', error);
  }
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** Starts the server. Resolves when the socket accepts connections. */
export async function startShellServer(options: ShellServerOptions): Promise<ShellServer> {
  const stopping = new AbortController();
  const report = options.report ?? (() => undefined);
  // The tail of the queue: commands run one after another.
  let previous: Promise<unknown> = Promise.resolve();
  // The command that runs, or the last one.
  let latest: { readonly id: string; readonly stop: AbortController; state: EndState } | undefined;

  async function exec(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const parsed = execRequest.safeParse(await readBody(incoming));
    if (!parsed.success) throw new InvalidInput(`exec: ${parsed.error.message}`);
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const run = previous.then(async () => {
      // The caller may have disconnected while another command was running.
      if (gone.signal.aborted || stopping.signal.aborted) return;
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      const emit = (event: ExecEvent) => {
        if (response.destroyed) return;
        if (event.type === 'chunk' && response.writableNeedDrain) return;
        response.write(formatNdjson(event));
      };
      const command = { id: parsed.data.id, stop: new AbortController(), state: 'unknown' as EndState };
      latest = command;
      const signal = AbortSignal.any([gone.signal, stopping.signal, command.stop.signal]);
      const exit = await runCommand(parsed.data, options.shellEnvironment, emit, signal);
      command.state = signal.aborted ? 'killed' : 'finished';
      report(`command ${parsed.data.id}: exit ${exit.signal ?? exit.exitCode} after ${exit.durationMs} ms`);
      response.end();
    });
    previous = run.catch(() => undefined);
    await run;
  }

  /** Its caller may be dead without the server having noticed yet. */
  async function end(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const parsed = endRequest.safeParse(await readBody(incoming));
    if (!parsed.success) throw new InvalidInput(`end: ${parsed.error.message}`);
    const command = latest?.id === parsed.data.id ? latest : undefined;
    command?.stop.abort();
    await previous;
    answer(response, 200, { state: command?.state ?? 'unknown' } satisfies z.infer<typeof endResult>);
  }

  async function route(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const target = `${incoming.method} ${incoming.url}`;
    if (target === 'POST /v1/exec') return exec(incoming, response);
    if (target === 'POST /v1/end') return end(incoming, response);
    if (target === 'POST /v1/isolation') return answer(response, 200, await options.isolation());
    if (target === 'GET /healthz') return answer(response, 200, { status: 'ok' });
    return answer(response, 404, { error: { code: 'OPLAB_NOT_FOUND', message: `no such endpoint: ${target}` } });
  }

  function handle(incoming: IncomingMessage, response: ServerResponse): void {
    incoming.on('error', () => undefined);
    response.on('error', () => undefined);
    route(incoming, response).catch((error: unknown) => {
      const code = error instanceof OplabError ? error.code : 'OPLAB_INTERNAL';
      report(`${incoming.url}: ${errorMessage(error)}`);
      answer(response, error instanceof InvalidInput ? 400 : 500, { error: { code, message: errorMessage(error) } });
      response.end();
    });
  }

  let server: Server;
  async function listen(): Promise<void> {
    await unlink(options.socketPath).catch(() => undefined);
    server = createServer({ requestTimeout: 0, headersTimeout: 10_000, keepAliveTimeout: 1000 }, handle);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(options.socketPath, resolve);
    });
    // Both containers run as the same user, so nobody else needs access.
    await chmod(options.socketPath, 0o600);
  }
  await listen();

  // A command runs as the same user, so it can delete or replace the socket file. Restore it.
  let inode = (await stat(options.socketPath)).ino;
  const guard = setInterval(async () => {
    const current = await stat(options.socketPath).catch(() => undefined);
    if (current?.ino === inode || stopping.signal.aborted) return;
    report('the socket was removed or replaced; listening again');
    server.close();
    await listen().catch((error: unknown) => report(`cannot listen: ${errorMessage(error)}`));
    inode = (await stat(options.socketPath).catch(() => undefined))?.ino ?? 0;
  }, 1000);

  return {
    async close() {
      clearInterval(guard);
      stopping.abort();
      await previous;
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Whether the shell server responds, for the container's probes. */
export async function probeShellServer(socketPath: string): Promise<boolean> {
  const url = new URL('http://sandbox/healthz');
  const outgoing = openRequest({ url, socketPath, limits: { head: PROBE_TIMEOUT_MS } });
  outgoing.body.end();
  try {
    const response = await outgoing.receiveResponse();
    response.destroy();
    return response.statusCode === 200;
  } catch {
    return false;
  }
}
