// A real terminal for tests: a separate tmux server that receives keys and whose screen is
// captured.

import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { ensurePackages } from '../../hack/toolchain/apt.ts';

const exec = promisify(execFile);

export interface Terminal {
  /** The lines on the screen, without trailing blanks. */
  screen(): Promise<string>;
  /** The screen with its escape codes. */
  rawScreen(): Promise<string>;
  /** Keys by tmux's names: `Down`, `Tab`, `q`, `C-c`. */
  keys(...names: string[]): Promise<void>;
  resize(columns: number, rows: number): Promise<void>;
  /** Waits until the screen shows the text. @throws Error with the current screen */
  shows(what: string | RegExp, ms?: number): Promise<string>;
  /** Waits until the screen no longer shows the text. */
  showsNot(what: string | RegExp, ms?: number): Promise<string>;
  close(): Promise<void>;
}

export interface TerminalOptions {
  readonly columns: number;
  readonly rows: number;
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Runs a shell line in a new terminal. When the program has ended, the terminal stays open with the
 * prompt `$ `.
 */
export async function openTmux(line: string, options: TerminalOptions): Promise<Terminal> {
  await ensurePackages(['tmux']);
  const socket = `oplab-test-${randomUUID()}`;
  const env = { PATH: process.env.PATH ?? '', HOME: '/nonexistent', LANG: 'C.UTF-8', PS1: '$ ', ...options.env };
  const tmux = async (...args: string[]) =>
    (await exec('tmux', ['-L', socket, '-f', '/dev/null', ...args], { env })).stdout;
  await tmux(
    ...['new-session', '-d', '-s', 't', '-x', String(options.columns), '-y', String(options.rows)],
    ...Object.entries(env).flatMap(([name, value]) => ['-e', `${name}=${value}`]),
    'sh -i',
  );
  // Turns off the status line, which would take one of the rows.
  await tmux('set', '-g', 'status', 'off');
  await tmux('resize-window', '-t', 't', '-x', String(options.columns), '-y', String(options.rows));
  await tmux('send-keys', '-t', 't', '-l', line);
  await tmux('send-keys', '-t', 't', 'Enter');

  const screen = () => tmux('capture-pane', '-p', '-t', 't');
  const until = async (what: string | RegExp, wanted: boolean, ms: number) => {
    const deadline = Date.now() + ms;
    for (;;) {
      const seen = await screen();
      if ((typeof what === 'string' ? seen.includes(what) : what.test(seen)) === wanted) return seen;
      if (Date.now() > deadline) throw new Error(`the screen ${wanted ? 'lacks' : 'still has'} ${what}:\n${seen}`);
      await sleep(100);
    }
  };
  return {
    screen,
    rawScreen: () => tmux('capture-pane', '-p', '-e', '-t', 't'),
    keys: async (...names) => void (await tmux('send-keys', '-t', 't', ...names)),
    resize: async (columns, rows) =>
      void (await tmux('resize-window', '-t', 't', '-x', String(columns), '-y', String(rows))),
    shows: (what, ms = 30_000) => until(what, true, ms),
    showsNot: (what, ms = 30_000) => until(what, false, ms),
    close: async () => void (await tmux('kill-server').catch(() => '')),
  };
}
