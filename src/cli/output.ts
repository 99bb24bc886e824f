// Where a command writes: results to stdout, remarks and errors to stderr; colour only where a person looks.

import { createColors } from 'picocolors';

export type Colors = ReturnType<typeof createColors>;

/** The two streams of a command and what is known of the place where stdout ends. */
export interface Output {
  /** One line of the result. */
  line(text?: string): void;
  /** Text of the result as it is. */
  write(text: string): void;
  /** A remark beside the result; machine-readable output stays clean. */
  note(text: string): void;
  readonly colors: Colors;
  /** Columns of the terminal; 80 where there is none. */
  readonly width: number;
  readonly isTerminal: boolean;
}

/** The process's own streams. A reader that goes away early (`| head`) ends the program quietly. */
export function processOutput(): Output {
  const { stdout, stderr, env } = process;
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0);
    throw error;
  });
  const isTerminal = stdout.isTTY === true;
  const plain = env.NO_COLOR !== undefined && env.NO_COLOR !== '';
  return {
    line: (text = '') => void stdout.write(`${text}\n`),
    write: (text) => void stdout.write(text),
    note: (text) => void stderr.write(`${text}\n`),
    colors: createColors(isTerminal && !plain && env.TERM !== 'dumb'),
    get width() {
      return isTerminal ? (stdout.columns ?? 80) : 80;
    },
    isTerminal,
  };
}
