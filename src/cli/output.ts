// Where a command writes: results to stdout, notes and errors to stderr, colors only to a terminal.

import { createColors } from 'picocolors';
import { forTerminal } from '../audit/controls.ts';

export type Colors = ReturnType<typeof createColors>;

/** The two output streams of a command, and the properties of the terminal behind stdout. */
export interface Output {
  /** One line of the result. */
  line(text?: string): void;
  /** Writes text of the result, without a line break of its own. */
  write(text: string): void;
  /** Writes a line to stderr, so that machine-readable output on stdout stays clean. */
  note(text: string): void;
  readonly colors: Colors;
  /** The columns of the terminal, or 80 if stdout is not a terminal. */
  readonly width: number;
  readonly isTerminal: boolean;
}

/**
 * The process's own streams. What a cluster, a log or a file says controls no terminal, even where
 * a command has not removed control characters itself. If the reader closes the pipe early
 * (`| head`), the program exits silently. If the output cannot be written otherwise (a full disk),
 * it says so.
 */
export function processOutput(): Output {
  const { stdout, stderr, env } = process;
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0);
    process.stderr.write(`oplab: the output cannot be written: ${error.message}\n`);
    process.exit(1);
  });
  const isTerminal = stdout.isTTY === true;
  const plain = env.NO_COLOR !== undefined && env.NO_COLOR !== '';
  return {
    line: (text = '') => void stdout.write(`${forTerminal(text)}\n`),
    write: (text) => void stdout.write(forTerminal(text)),
    note: (text) => void stderr.write(`${forTerminal(text)}\n`),
    colors: createColors(isTerminal && !plain && env.TERM !== 'dumb'),
    get width() {
      return isTerminal ? (stdout.columns ?? 80) : 80;
    },
    isTerminal,
  };
}
