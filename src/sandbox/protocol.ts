// What passes between the agent and the shell server: HTTP over the unix socket in the shared emptyDir.
//
// POST /v1/exec   execRequest → application/x-ndjson stream of execEvent, ended by exactly one `exit`
// POST /v1/isolation  {} → isolationReport: probes of addresses that ought to be closed
// GET  /healthz   200

import { z } from 'zod';

/** Where the socket lies in both containers. */
export const SOCKET_PATH = '/run/oplab/shell.sock';

/** Unless the model asks for another time limit. */
export const DEFAULT_TIMEOUT_SECONDS = 120;
export const MAX_TIMEOUT_SECONDS = 600;
/** Output kept of a command: this much of its head and this much of its tail, per stream, in bytes. */
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
    /** Head and tail of each stream, with a line in between that says how many bytes are left out. */
    stdout: z.string(),
    stderr: z.string(),
    truncated: z.boolean(),
    /** Processes that were still alive when the command ended and were killed with it. */
    killedProcesses: z.number().int(),
  }),
]);
export type ExecEvent = z.infer<typeof execEvent>;
export type ExecExit = Extract<ExecEvent, { type: 'exit' }>;

/** One address that ought to be closed. `open: true` means that it answered. */
export const isolationProbe = z.object({
  name: z.string(),
  address: z.string(),
  open: z.boolean(),
  detail: z.string(),
});
export const isolationReport = z.object({
  probes: z.array(isolationProbe),
  closed: z.boolean(),
  waitedMs: z.number().int(),
});
export type IsolationReport = z.infer<typeof isolationReport>;
