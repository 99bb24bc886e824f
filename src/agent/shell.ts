// The tool `shell`: one command in the sandbox, with its purpose.

import * as z from 'zod';
import { truncate } from '../api/truncate.ts';
import type { LiveChunk } from '../gateway/protocol.ts';
import { checkInput, joinProblems } from '../input/parse-input.ts';
import {
  DEFAULT_TIMEOUT_SECONDS,
  type EndState,
  type ExecExit,
  MAX_TIMEOUT_SECONDS,
  OUTPUT_HEAD_BYTES,
} from '../sandbox/protocol.ts';
import { type Sandbox, SandboxLost, SandboxStalled } from './sandbox-client.ts';
import type { Tool, ToolOutcome } from './tool.ts';

const input = z.object({
  command: z
    .string()
    .min(1)
    .max(65536)
    .refine((text) => !text.includes('\0'), 'a command must not contain a NUL byte'),
  purpose: z.string().min(1).max(8192),
  timeout_seconds: z.number().int().min(1).max(MAX_TIMEOUT_SECONDS).optional(),
});

const KEPT_KIB = OUTPUT_HEAD_BYTES / 1024;

/** Signal numbers, to compute the exit code that a shell would report for a killed command. */
const SIGNAL_NUMBERS: Record<string, number> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGTERM: 15,
};

/** The exit code; for a signal n it is 128 + n, as in bash (137 is SIGKILL). */
export function shellExitCode(exit: Pick<ExecExit, 'exitCode' | 'signal'>): number {
  return exit.exitCode ?? 128 + (SIGNAL_NUMBERS[exit.signal ?? ''] ?? 0);
}

/** A result as the model reads it: first how the command ended, then its output. */
export function resultText(exit: ExecExit, timeoutSeconds: number): string {
  const lines = [`exit code ${shellExitCode(exit)} after ${(exit.durationMs / 1000).toFixed(1)} s`];
  if (exit.timedOut)
    lines.push(`time limit of ${timeoutSeconds} s reached: the command and all processes it started were killed`);
  else if (exit.signal !== null) lines.push(`killed by ${exit.signal}`);
  if (!exit.timedOut && exit.killedProcesses > 0) {
    lines.push(`${exit.killedProcesses} processes were still running when the command ended, and were killed`);
  }
  if (exit.hiddenCharacters > 0) {
    lines.push(
      `${exit.hiddenCharacters} characters are not in the output, as on a terminal: overwritten (\\r, \\b) or part of an escape sequence; \`| cat -v\` shows them`,
    );
  }
  if (!exit.timedOut && exit.leftBehind.length > 0) lines.push(`left behind: ${exit.leftBehind.join('; ')}`);
  lines.push(exit.stdout === '' ? '--- no stdout ---' : `--- stdout ---\n${exit.stdout.trimEnd()}`);
  if (exit.stderr !== '') lines.push(`--- stderr ---\n${exit.stderr.trimEnd()}`);
  return lines.join('\n');
}

/** Both streams, for the log. */
function formatStreams(exit: ExecExit): string {
  return exit.stderr === ''
    ? exit.stdout
    : `${exit.stdout}${exit.stdout === '' ? '' : '\n'}--- stderr ---\n${exit.stderr}`;
}

async function lost(sandbox: Sandbox, error: SandboxLost, signal: AbortSignal): Promise<ToolOutcome> {
  await sandbox.ready(signal);
  const text =
    'The sandbox container was killed while this command ran, usually because it ran out of memory. How far the command got ' +
    'is unknown: check before you repeat it. A fresh sandbox is ready. Processes are gone, and files under $HOME and /tmp may be gone too.';
  return { text, isError: true, summary: `sandbox lost: ${error.message}`, params: { indeterminate: true } };
}

/** A command that stops the shell server would otherwise run without a limit: the attempt ends. */
function stalled(error: SandboxStalled): ToolOutcome {
  const { message } = error;
  return { text: message, isError: true, summary: message, params: { indeterminate: true }, fatal: message };
}

/** What became of a command that was in flight. */
const HOW_IT_ENDED: Record<EndState, string> = {
  killed: 'It was killed before its end.',
  finished: 'It had come to its end.',
  unknown: 'The sandbox does not know it: it did not begin, or the sandbox was restarted as well.',
};

/** What the tool tells the gateway while a command runs. */
export interface ShellReports {
  /** A chunk of its output. */
  live(chunk: LiveChunk): void;
  /** All its processes have ended. Resolves when the gateway knows. */
  ended(callKey: string, signal: AbortSignal): Promise<void>;
}

/** The tool `shell`. */
export function createShellTool(sandbox: Sandbox, reports: ShellReports): Tool {
  return {
    alone: false,
    definition: {
      name: 'shell',
      description:
        'Runs a command with `bash -c` in the sandbox and returns its exit code, stdout and stderr. stdin is closed. Every call starts a ' +
        'fresh shell in $HOME: variables, functions and the working directory do not carry over, but files do. No process outlives its ' +
        `command: everything still running when the command ends (even with &, nohup or setsid) is killed. Of each stream, the first and the last ${KEPT_KIB} KiB are returned; ` +
        'filter with jq or grep, as a whole -o yaml of many objects costs thousands of tokens.',
      input_schema: {
        type: 'object',
        properties: {
          command: { type: 'string', description: 'The bash script to run.' },
          purpose: {
            type: 'string',
            description: 'One short sentence for the record: what this command finds out or changes.',
          },
          timeout_seconds: {
            type: 'integer',
            description: `Time limit in seconds; default ${DEFAULT_TIMEOUT_SECONDS}, at most ${MAX_TIMEOUT_SECONDS}.`,
          },
        },
        required: ['command', 'purpose'],
      },
    },
    prepare(raw) {
      const parsed = checkInput(input, raw, { values: 'shown' });
      if (!parsed.success) {
        return `${joinProblems('shell', parsed.problems)}\nUse {"command": "…", "purpose": "what it finds out or changes"} and, if needed, "timeout_seconds": 1 to ${MAX_TIMEOUT_SECONDS}.`;
      }
      const { command, purpose, timeout_seconds: timeoutSeconds = DEFAULT_TIMEOUT_SECONDS } = parsed.data;
      return {
        params: { command, timeoutSeconds },
        purpose,
        async run(callKey, signal) {
          const outcome = await runInSandbox(callKey, signal);
          // The result is recorded only after this. The command ends now.
          await reports.ended(callKey, signal);
          return outcome;
        },
        async resume(callKey, signal) {
          const outcome = await endInSandbox(callKey, signal);
          await reports.ended(callKey, signal);
          return outcome;
        },
      };

      /** Nothing of the command runs any more when it resolves. */
      async function endInSandbox(callKey: string, signal: AbortSignal): Promise<ToolOutcome> {
        try {
          const how = HOW_IT_ENDED[await sandbox.end(callKey, signal)];
          const text = `The agent was restarted while this ran; its outcome is not known. ${how} Look before you run it again.`;
          return { text, isError: true, summary: text, params: { call: callKey, indeterminate: true } };
        } catch (error) {
          if (error instanceof SandboxStalled) return stalled(error);
          throw error;
        }
      }

      async function runInSandbox(callKey: string, signal: AbortSignal): Promise<ToolOutcome> {
        let startedAt: string | undefined;
        try {
          const exit = await sandbox.exec(
            { id: callKey, command, timeoutSeconds },
            (event) => {
              if (event.type === 'started') startedAt = event.time;
              if (event.type === 'chunk')
                reports.live({ callKey, stream: event.stream, text: truncate(event.text, 65536, '') });
            },
            signal,
          );
          return {
            text: resultText(exit, timeoutSeconds),
            isError: false,
            summary: { command },
            exitCode: shellExitCode(exit),
            durationMs: exit.durationMs,
            params: {
              call: callKey,
              startedAt: startedAt ?? null,
              signal: exit.signal,
              timedOut: exit.timedOut,
              truncated: exit.truncated,
              ...(exit.hiddenCharacters === 0 ? {} : { hiddenCharacters: exit.hiddenCharacters }),
              killedProcesses: exit.killedProcesses,
              ...(exit.timedOut || exit.leftBehind.length === 0 ? {} : { leftBehind: exit.leftBehind }),
            },
            blob: formatStreams(exit),
          };
        } catch (error) {
          if (error instanceof SandboxLost) return lost(sandbox, error, signal);
          if (error instanceof SandboxStalled) return stalled(error);
          throw error;
        }
      }
    },
  };
}
