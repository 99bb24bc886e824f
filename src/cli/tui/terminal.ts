// The terminal itself: a screen of its own that is given back untouched, keys, size; writes only the rows that changed.

import { type Key, parseKeys } from './keys.ts';
import type { Size } from './view.ts';

const ENTER = '\u001b[?1049h\u001b[?25l\u001b[?7l\u001b[2J';
const LEAVE = '\u001b[?7h\u001b[?25h\u001b[?1049l';
/** Terminals that know it show everything in between at once; others pass over it. */
const TOGETHER = ['\u001b[?2026h', '\u001b[?2026l'] as const;
/** After so long an escape is the key, and not the beginning of an arrow, in milliseconds. */
const ESCAPE_MS = 50;

export interface TerminalEvents {
  key(key: Key): void;
  /** The size changed, or the screen was lost. */
  resized(): void;
  /** The terminal is gone, or asks to end. */
  ended(): void;
}

export interface Terminal {
  readonly size: Size;
  /** Shows these rows; those that have not changed are not written again. */
  show(rows: readonly string[]): void;
  /** Forgets what is on the screen: the next rows are written in full. */
  forget(): void;
  /** Gives the terminal back. */
  close(): void;
}

export type Streams = Pick<NodeJS.Process, 'stdin' | 'stdout'>;

/** Takes the terminal over. */
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
      // A line that cannot keep up, such as a slow ssh, gets the latest screen when it is free again.
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
