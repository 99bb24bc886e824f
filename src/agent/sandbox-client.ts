// The client of the shell server: runs commands, probes the isolation, waits for the sandbox.

import type { IncomingMessage } from 'node:http';
import { errorMessage, OplabError } from '../errors.ts';
import { readAnswer, readPieces } from '../net/answer-body.ts';
import { parseNdjson } from '../net/ndjson.ts';
import { openRequest } from '../net/request.ts';
import { pause } from '../net/retry.ts';
import {
  type ExecEvent,
  type ExecExit,
  type ExecRequest,
  execEvent,
  type IsolationReport,
  isolationReport,
} from '../sandbox/protocol.ts';

const POLL_MS = 250;
const HEALTH_TIMEOUT_MS = 2000;
/** The probes wait up to 30 s for a network policy to be enforced. */
const PROBES_TIMEOUT_MS = 120_000;
/** Of a refusal, or of the report of the probes. */
const MAX_ANSWER_BYTES = 1024 * 1024;
/** An exit holds head and tail of both streams, where a control character takes six characters. */
const MAX_EVENT_CHARACTERS = 1024 * 1024;
/**
 * How much longer than a command's time limit to wait, so that the server can end it and report.
 */
const EXEC_GRACE_MS = 30_000;

/** The sandbox was lost while a command ran, so it is unknown how far the command got. */
export class SandboxLost extends OplabError {
  constructor(cause: unknown) {
    super('OPLAB_SANDBOX_LOST', `the sandbox was lost while a command ran (${errorMessage(cause)})`, { cause });
  }
}

/** What the shell tool needs of the sandbox. */
export interface Sandbox {
  /**
   * Runs a command once. Waits for a sandbox that is not ready yet, but does not retry a command
   * that was interrupted.
   * @throws SandboxLost
   */
  exec(command: ExecRequest, onEvent: (event: ExecEvent) => void, signal: AbortSignal): Promise<ExecExit>;
  /** Resolves when the shell server responds. */
  ready(signal: AbortSignal): Promise<void>;
  isolation(signal: AbortSignal): Promise<IsolationReport>;
}

const notListening = (error: unknown) =>
  error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ECONNREFUSED');

/** A client of the shell server behind a unix socket. */
export function createSandbox(socketPath: string): Sandbox {
  function call(path: string, body: unknown, timeoutMs: number, signal: AbortSignal): Promise<IncomingMessage> {
    const outgoing = openRequest({
      url: new URL('http://sandbox'),
      socketPath,
      path,
      method: body === undefined ? 'GET' : 'POST',
      headers: { 'content-type': 'application/json' },
      limits: { head: timeoutMs, whole: timeoutMs },
    });
    outgoing.body.end(body === undefined ? undefined : JSON.stringify(body));
    return outgoing.receiveResponse(signal);
  }

  async function textOf(response: IncomingMessage, signal: AbortSignal): Promise<string> {
    return (await readAnswer(response, MAX_ANSWER_BYTES, { signal })).toString('utf8');
  }

  async function ready(signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      const response = await call('/healthz', undefined, HEALTH_TIMEOUT_MS, signal).catch(() => undefined);
      response?.resume();
      if (response?.statusCode === 200) return;
      await pause(POLL_MS, signal);
    }
  }

  /**
   * The response, once the server has taken the request; only a socket that nobody listens on is
   * tried again.
   */
  async function deliver(command: ExecRequest, signal: AbortSignal): Promise<IncomingMessage> {
    for (;;) {
      try {
        return await call('/v1/exec', command, command.timeoutSeconds * 1000 + EXEC_GRACE_MS, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!notListening(error)) throw new SandboxLost(error);
        await ready(signal);
      }
    }
  }

  return {
    ready,
    async exec(command, onEvent, signal) {
      const response = await deliver(command, signal);
      if (response.statusCode !== 200) {
        throw new OplabError(
          'OPLAB_SANDBOX_REFUSED',
          `the shell server rejected the command: ${(await textOf(response, signal)).slice(0, 500)}`,
        );
      }
      try {
        const body = readPieces(response, { signal });
        for await (const line of parseNdjson(body, { maxCharacters: MAX_EVENT_CHARACTERS })) {
          const event = execEvent.parse(line);
          onEvent(event);
          if (event.type === 'exit') return event;
        }
      } catch (error) {
        signal.throwIfAborted();
        throw new SandboxLost(error);
      }
      signal.throwIfAborted();
      throw new SandboxLost('the stream ended early');
    },
    async isolation(signal) {
      await ready(signal);
      const response = await call('/v1/isolation', {}, PROBES_TIMEOUT_MS, signal);
      return isolationReport.parse(JSON.parse(await textOf(response, signal)));
    },
  };
}
