// The agent's side of the shell server: run a command, probe the isolation, wait for a sandbox that was killed to come back.

import { type IncomingMessage, request } from 'node:http';
import { createInterface } from 'node:readline';
import { messageOf, OplabError } from '../errors.ts';
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
/** The probes themselves wait up to 30 s for a policy to be enforced. */
const PROBES_TIMEOUT_MS = 120_000;
/**
 * How long after its time limit the server may take to end a command and report. The server runs as
 * the same user as the command, which can therefore stop it: this side keeps the limit as well.
 */
const EXEC_GRACE_MS = 15_000;

/** The sandbox went away while a command ran, or gave no end of it: nobody can say how far the command came. */
export class SandboxLost extends OplabError {
  constructor(cause: unknown) {
    super('OPLAB_SANDBOX_LOST', `the sandbox was lost while a command ran (${messageOf(cause)})`, { cause });
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
   * Runs a command once. A sandbox that is not there yet is waited for; one that is lost half way is not tried again.
   * @throws SandboxLost, SandboxStalled
   */
  exec(command: ExecRequest, onEvent: (event: ExecEvent) => void, signal: AbortSignal): Promise<ExecExit>;
  /** Resolves when the shell server answers. */
  ready(signal: AbortSignal): Promise<void>;
  isolation(signal: AbortSignal): Promise<IsolationReport>;
}

const within = (ms: number, signal: AbortSignal) => AbortSignal.any([signal, AbortSignal.timeout(ms)]);

const notListening = (error: unknown) =>
  error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ECONNREFUSED');

/** @param graceMs for tests: see EXEC_GRACE_MS */
export function createSandbox(socketPath: string, graceMs = EXEC_GRACE_MS): Sandbox {
  function call(path: string, body: unknown, signal: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          socketPath,
          path,
          method: body === undefined ? 'GET' : 'POST',
          signal,
          headers: { 'content-type': 'application/json' },
          agent: false,
        },
        resolve,
      );
      outgoing.once('error', reject);
      outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  async function textOf(response: IncomingMessage): Promise<string> {
    let text = '';
    response.setEncoding('utf8');
    for await (const chunk of response) text += String(chunk);
    return text;
  }

  async function ready(signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      const response = await call('/healthz', undefined, within(HEALTH_TIMEOUT_MS, signal)).catch(() => undefined);
      response?.resume();
      if (response?.statusCode === 200) return;
      await pause(POLL_MS, signal);
    }
  }

  /** Sends the command once and reads what happens. */
  async function run(
    command: ExecRequest,
    onEvent: (event: ExecEvent) => void,
    signal: AbortSignal,
  ): Promise<ExecExit> {
    const response = await call('/v1/exec', command, signal).catch((error: unknown) => {
      throw notListening(error) ? error : new SandboxLost(error);
    });
    if (response.statusCode !== 200) {
      throw new OplabError(
        'OPLAB_SANDBOX_REFUSED',
        `the shell server refused: ${(await textOf(response)).slice(0, 500)}`,
      );
    }
    try {
      for await (const line of createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY })) {
        const event = execEvent.parse(JSON.parse(line));
        onEvent(event);
        if (event.type === 'exit') return event;
      }
    } catch (error) {
      signal.throwIfAborted();
      throw new SandboxLost(error);
    }
    signal.throwIfAborted();
    throw new SandboxLost('the stream ended early');
  }

  return {
    ready,
    async exec(command, onEvent, signal) {
      for (;;) {
        const limit = AbortSignal.timeout(command.timeoutSeconds * 1000 + graceMs);
        try {
          return await run(command, onEvent, AbortSignal.any([signal, limit]));
        } catch (error) {
          signal.throwIfAborted();
          if (limit.aborted) throw new SandboxStalled(command.timeoutSeconds);
          if (!notListening(error)) throw error;
        }
        // Nobody has taken the command, so it can be sent again.
        await ready(signal);
      }
    },
    async isolation(signal) {
      await ready(signal);
      const response = await call('/v1/isolation', {}, within(PROBES_TIMEOUT_MS, signal));
      return isolationReport.parse(JSON.parse(await textOf(response)));
    },
  };
}
