// The client of the shell server: runs commands, probes the isolation, waits for the sandbox.

import type { IncomingMessage } from 'node:http';
import { errorMessage, OplabError } from '../errors.ts';
import { readAnswer, readPieces } from '../net/answer-body.ts';
import { withWholeCharacters } from '../net/json.ts';
import { parseNdjson } from '../net/ndjson.ts';
import { openRequest } from '../net/request.ts';
import { pause } from '../net/retry.ts';
import { TimedOut } from '../net/timed-out.ts';
import {
  type EndState,
  type ExecEvent,
  type ExecExit,
  type ExecRequest,
  endResult,
  execEvent,
  type IsolationReport,
  isolationReport,
} from '../sandbox/protocol.ts';

const POLL_MS = 250;
const HEALTH_TIMEOUT_MS = 2000;
/** The probes wait up to 30 s for a network policy to be enforced. */
const PROBES_TIMEOUT_MS = 120_000;
/**
 * How much longer than a command's time limit to wait, so that the server can end it and report. The
 * server runs as the same user as the command, which can stop it, so the agent enforces the limit too.
 */
const EXEC_GRACE_MS = 15_000;
/** Of a refusal, or of the report of the probes. */
const MAX_ANSWER_BYTES = 1024 * 1024;
/** An exit holds head and tail of both streams, where a control character takes six characters. */
const MAX_EVENT_CHARACTERS = 1024 * 1024;

/** The sandbox was lost while a command ran, so it is unknown how far the command got. */
export class SandboxLost extends OplabError {
  constructor(cause: unknown) {
    super('OPLAB_SANDBOX_LOST', `the sandbox was lost while a command ran (${errorMessage(cause)})`, { cause });
  }
}

/**
 * The shell server reported no end of a command although its time limit was over: it is frozen or no
 * longer what it was, so nothing more can be run or believed there.
 */
export class SandboxStalled extends OplabError {
  constructor(timeoutSeconds: number) {
    super(
      'OPLAB_SANDBOX_STALLED',
      `the shell server did not report the end of a command within its time limit of ${timeoutSeconds} s and ${EXEC_GRACE_MS / 1000} s more`,
    );
  }
}

/** What the shell tool needs of the sandbox. */
export interface Sandbox {
  /**
   * Runs a command once. Waits for a sandbox that is not ready yet, but does not retry a command
   * that was interrupted.
   * @throws SandboxLost, SandboxStalled
   */
  exec(command: ExecRequest, onEvent: (event: ExecEvent) => void, signal: AbortSignal): Promise<ExecExit>;
  /**
   * Ends a command whose caller was killed. Resolves when nothing of it runs any more.
   * @throws SandboxStalled
   */
  end(id: string, signal: AbortSignal): Promise<EndState>;
  /** Resolves when the shell server responds. */
  ready(signal: AbortSignal): Promise<void>;
  isolation(signal: AbortSignal): Promise<IsolationReport>;
}

const notListening = (error: unknown) =>
  error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ECONNREFUSED');

/** A client of the shell server behind a unix socket. */
export function createSandbox(socketPath: string, graceMs = EXEC_GRACE_MS): Sandbox {
  function call(path: string, body: unknown, timeoutMs: number, signal: AbortSignal): Promise<IncomingMessage> {
    const outgoing = openRequest({
      url: new URL('http://sandbox'),
      socketPath,
      path,
      method: body === undefined ? 'GET' : 'POST',
      headers: { 'content-type': 'application/json' },
      limits: { head: timeoutMs, whole: timeoutMs },
    });
    outgoing.body.end(body === undefined ? undefined : withWholeCharacters(JSON.stringify(body)));
    return outgoing.receiveResponse(signal);
  }

  async function readText(response: IncomingMessage, signal: AbortSignal): Promise<string> {
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

  /** Sends the command once and reads what happens. */
  async function run(
    command: ExecRequest,
    onEvent: (event: ExecEvent) => void,
    limitMs: number,
    signal: AbortSignal,
  ): Promise<ExecExit> {
    const response = await call('/v1/exec', command, limitMs, signal);
    if (response.statusCode !== 200) {
      throw new OplabError(
        'OPLAB_SANDBOX_REFUSED',
        `the shell server rejected the command: ${(await readText(response, signal)).slice(0, 500)}`,
      );
    }
    const body = readPieces(response, { signal });
    for await (const line of parseNdjson(body, { maxCharacters: MAX_EVENT_CHARACTERS })) {
      const event = execEvent.parse(line);
      onEvent(event);
      if (event.type === 'exit') return event;
    }
    throw new Error('the stream ended early');
  }

  return {
    ready,
    async exec(command, onEvent, signal) {
      for (;;) {
        try {
          return await run(command, onEvent, command.timeoutSeconds * 1000 + graceMs, signal);
        } catch (error) {
          signal.throwIfAborted();
          if (error instanceof TimedOut) throw new SandboxStalled(command.timeoutSeconds);
          if (error instanceof OplabError) throw error;
          if (!notListening(error)) throw new SandboxLost(error);
        }
        // Nobody has taken the command, so it can be sent again.
        await ready(signal);
      }
    },
    async end(id, signal) {
      for (;;) {
        try {
          const response = await call('/v1/end', { id }, graceMs, signal);
          const text = await readText(response, signal);
          if (response.statusCode === 200) return endResult.parse(JSON.parse(text)).state;
          throw new OplabError(
            'OPLAB_SANDBOX_REFUSED',
            `the shell server did not end a command: ${text.slice(0, 500)}`,
          );
        } catch (error) {
          signal.throwIfAborted();
          if (error instanceof TimedOut) throw new SandboxStalled(0);
          if (error instanceof OplabError) throw error;
        }
        // It is being started, or was killed just now.
        await pause(POLL_MS, signal);
        await ready(signal);
      }
    },
    async isolation(signal) {
      await ready(signal);
      const response = await call('/v1/isolation', {}, PROBES_TIMEOUT_MS, signal);
      return isolationReport.parse(JSON.parse(await readText(response, signal)));
    },
  };
}
