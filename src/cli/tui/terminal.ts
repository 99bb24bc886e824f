// The terminal: alternate screen, keys and size. Writes only the rows that changed.

import { type Key, parseKeys } from './keys.ts';
import type { Size } from './view.ts';

const ENTER = '\u001b[?1049h\u001b[?25l\u001b[?7l\u001b[2J';
const LEAVE = '\u001b[?7h\u001b[?25h\u001b[?1049l';
/** Synchronized output: terminals that support it show everything in between at once. */
const TOGETHER = ['\u001b[?2026h', '\u001b[?2026l'] as const;
/** After this time, an escape is the key and not the start of a sequence, in milliseconds. */
const ESCAPE_MS = 50;

export interface TerminalEvents {
  key(key: Key): void;
  /** The size changed, or the screen must be redrawn. */
  resized(): void;
  /** The terminal was closed, or a signal asks the program to end. */
  ended(): void;
}

export interface Terminal {
  readonly size: Size;
  /** Shows these rows, writing only those that changed. */
  show(rows: readonly string[]): void;
  /** Discards what is known of the screen, so that the next show() writes all rows. */
  forget(): void;
  /** Restores the terminal. */
  close(): void;
}

export type Streams = Pick<NodeJS.Process, 'stdin' | 'stdout'>;

/** Switches to the alternate screen and raw mode, and starts reading keys. */
export function openTerminal({ stdin, stdout }: Streams, events: TerminalEvents): Terminal {
  let shown: readonly string[] = [];
  let full = true;
  let open = false;
  let pending = '';
  let escapeTimer: NodeJS.Timeout | undefined;
  let draining = false;

  const enter = () => {
    if (open) return;
    open = true;
    full = true;
    stdin.setRawMode(true);
    stdin.resume();
    stdout.write(ENTER);
  };
  const leave = () => {
    if (!open) return;
    open = false;
    stdout.write(LEAVE);
    stdin.setRawMode(false);
  };
  const suspend = () => {
    leave();
    process.kill(process.pid, 'SIGTSTP');
  };
  const deliver = (final: boolean) => {
    const { keys, rest } = parseKeys(pending, final);
    pending = rest;
    for (const key of keys) {
      if (key === 'suspend') suspend();
      else events.key(key);
    }
  };
  const onData = (chunk: Buffer | string) => {
    clearTimeout(escapeTimer);
    pending += chunk.toString();
    deliver(false);
    if (pending !== '') escapeTimer = setTimeout(() => deliver(true), ESCAPE_MS);
  };
  const drained = () => {
    draining = false;
    events.resized();
  };
  const onResize = () => {
    full = true;
    events.resized();
  };
  const onContinue = () => {
    enter();
    events.resized();
  };
  const onEnd = () => events.ended();
  const signals = ['SIGTERM', 'SIGHUP', 'SIGINT'] as const;

  stdin.on('data', onData);
  stdin.on('end', onEnd);
  stdin.on('error', onEnd);
  stdout.on('resize', onResize);
  process.on('SIGCONT', onContinue);
  process.on('exit', leave);
  for (const signal of signals) process.on(signal, onEnd);
  enter();

  return {
    get size() {
      return { columns: stdout.columns ?? 80, rows: stdout.rows ?? 24 };
    },
    show(rows) {
      // A slow connection skips screens and gets the latest one when it has drained.
      if (!open) return;
      if (stdout.writableNeedDrain) {
        if (!draining) stdout.once('drain', drained);
        draining = true;
        return;
      }
      let text = full ? '\u001b[2J' : '';
      for (const [index, row] of rows.entries()) {
        if (full || shown[index] !== row) text += `\u001b[${index + 1};1H${row}`;
      }
      shown = rows;
      full = false;
      if (text !== '') stdout.write(TOGETHER[0] + text + TOGETHER[1]);
    },
    forget() {
      full = true;
    },
    close() {
      clearTimeout(escapeTimer);
      leave();
      stdin.off('data', onData);
      stdin.off('end', onEnd);
      stdin.off('error', onEnd);
      stdin.pause();
      stdout.off('resize', onResize);
      stdout.off('drain', drained);
      process.off('SIGCONT', onContinue);
      process.off('exit', leave);
      for (const signal of signals) process.off(signal, onEnd);
    },
  };
}
