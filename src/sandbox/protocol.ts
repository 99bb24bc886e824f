// The protocol between agent and shell server: HTTP over a unix socket in the shared emptyDir.
//
// POST /v1/exec       execRequest → application/x-ndjson stream of execEvent, ended by one `exit`
// POST /v1/end        endRequest → endResult: nothing of this command runs any more
// POST /v1/isolation  {} → isolationReport: probes of addresses that must be closed
// GET  /healthz       200

import * as z from 'zod';

/** The path of the socket in both containers. */
export const SOCKET_PATH = '/run/oplab/shell.sock';

/** The time limit, unless the model asks for another one. */
export const DEFAULT_TIMEOUT_SECONDS = 120;
export const MAX_TIMEOUT_SECONDS = 600;
/** How much of the beginning and the end of a command's output is kept, per stream, in bytes. */
export const OUTPUT_HEAD_BYTES = 16 * 1024;
export const OUTPUT_TAIL_BYTES = 16 * 1024;

export const execRequest = z.object({
  id: z.string().min(1).max(128),
  command: z.string().min(1).max(65536),
  timeoutSeconds: z.number().int().min(1).max(MAX_TIMEOUT_SECONDS).default(DEFAULT_TIMEOUT_SECONDS),
});
export type ExecRequest = z.infer<typeof execRequest>;

export const execEvent = z.discriminatedUnion('type', [
  z.object({ type: z.literal('started'), time: z.string() }),
  z.object({ type: z.literal('chunk'), stream: z.enum(['stdout', 'stderr']), text: z.string() }),
  z.object({
    type: z.literal('exit'),
    exitCode: z.number().int().nullable(),
    signal: z.string().nullable(),
    timedOut: z.boolean(),
    durationMs: z.number().int(),
    /**
     * Head and tail of each stream as a person would see them on a terminal, separated by a line with
     * the number of omitted bytes.
     */
    stdout: z.string(),
    stderr: z.string(),
    truncated: z.boolean(),
    /** What a person would not see, since it was overwritten or is part of an escape sequence. */
    hiddenCharacters: z.number().int().default(0),
    /** Processes that were still alive when the command ended and were killed with it. */
    killedProcesses: z.number().int(),
    /** What was left when the command had ended by itself, in words. */
    leftBehind: z.array(z.string()).default([]),
  }),
]);
export type ExecEvent = z.infer<typeof execEvent>;
export type ExecExit = Extract<ExecEvent, { type: 'exit' }>;

/** POST /v1/end: ends a command that its caller has lost, and waits until it has ended. */
export const endRequest = z.object({ id: z.string().min(1).max(128) });
/** `unknown`: this server has not run it, or others after it. */
export const endState = z.enum(['killed', 'finished', 'unknown']);
export type EndState = z.infer<typeof endState>;
export const endResult = z.object({ state: endState });

/**
 * One thing that the sandbox must not have. `open: true` means that it has it: an address accepted a
 * connection, or the container has more than it should.
 */
export const isolationProbe = z.object({
  name: z.string(),
  /** What was expected, for people. */
  expected: z.string(),
  /** What is open: an address, or what the container has. Empty if a container probe found nothing. */
  address: z.string(),
  open: z.boolean(),
  /** The class allows this hole by name, or it is only advisory. */
  allowed: z.boolean(),
  detail: z.string(),
});
export const isolationReport = z.object({
  probes: z.array(isolationProbe),
  closed: z.boolean(),
  waitedMs: z.number().int(),
});
export type IsolationReport = z.infer<typeof isolationReport>;
