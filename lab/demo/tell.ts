// Presents the demo in chapters: as text, or above the panes of `oplab top`.

import { createColors } from 'picocolors';
import { runSteps } from '../../hack/progress.ts';
import { requireTerminal } from '../../src/cli/commands/top.ts';
import { realEnvironment } from '../../src/cli/environment.ts';
import { processOutput } from '../../src/cli/output.ts';
import { isUtf8 } from '../../src/cli/tui/paint.ts';
import type { Chapter } from '../../src/cli/tui/state.ts';
import { runTop } from '../../src/cli/tui/top.ts';
import { NotATerminal } from '../../src/errors.ts';

export const CHAPTERS = ['healthy', 'load', 'fault', 'detected', 'repair', 'verified'] as const;
export type ChapterName = (typeof CHAPTERS)[number];

/** Presents the demo. */
export interface Teller {
  /**
   * Whether `oplab top` shows the demo, so that nothing else may write to the terminal.
   */
  readonly onScreen: boolean;
  chapter(name: ChapterName, text: string): void;
  /** A fact of the current chapter. */
  say(text: string): void;
  /** Runs work that takes a while, and shows its notes. */
  step<T>(title: string, expectedSeconds: number, work: (note: (text: string) => void) => Promise<T>): Promise<T>;
  /** The last text. On screen, it waits until the user leaves. */
  end(text: string): Promise<void>;
  /** Releases the terminal at once. */
  close(): Promise<void>;
}

/** Line by line, for terminals, pipes and logs. */
export function tellInText(signal: AbortSignal): Teller {
  const colors = createColors(process.stdout.isTTY === true && !process.env.NO_COLOR);
  return {
    onScreen: false,
    chapter: (name, text) =>
      console.log(`\n${colors.bold(`== ${CHAPTERS.indexOf(name) + 1} of ${CHAPTERS.length}: ${name}`)}\n${text}`),
    say: (text) => console.log(text),
    async step<T>(title: string, expectedSeconds: number, work: (note: (text: string) => void) => Promise<T>) {
      const { promise, resolve } = Promise.withResolvers<T>();
      await runSteps([{ title, expectedSeconds, run: async ({ note }) => resolve(await work(note)) }], { signal });
      return await promise;
    },
    end: async (text) => console.log(text),
    close: async () => undefined,
  };
}

/** @throws NotATerminal */
export function requireScreen(): void {
  try {
    requireTerminal(process);
  } catch (error) {
    if (!(error instanceof NotATerminal)) throw error;
    throw new NotATerminal('npm run demo -- --tui needs a terminal; omit --tui to get text');
  }
}

/** What the screen shows, and where it reads. */
export interface ScreenOptions {
  /** The namespace of the patient. */
  readonly namespace: string;
  readonly kubeconfig: string;
  /** The gateway's read API, if it is not reached through the cluster. */
  readonly gateway?: string;
}

/**
 * Above the panes of `oplab top`. If the user leaves it before the end, the demo continues as text.
 */
export async function tellOnScreen(options: ScreenOptions, signal: AbortSignal): Promise<Teller> {
  const { namespace } = options;
  const leaving = new AbortController();
  const text = tellInText(signal);
  const environment = realEnvironment(processOutput());
  const given = { ...options, allNamespaces: false, oplabNamespace: 'oplab-system' };
  const reader = await environment.gateway(given);
  let tell: (chapter: Chapter) => void = () => undefined;
  let current: Chapter | undefined;
  let open = true;
  const show = (chapter: Chapter) => {
    current = chapter;
    tell(chapter);
  };
  const screen = runTop({
    incidents: environment.incidents(given),
    monitors: environment.monitors(given),
    reader,
    namespace,
    painter: { colors: environment.output.colors, unicode: isUtf8() },
    streams: process,
    now: () => new Date(),
    signal: AbortSignal.any([signal, leaving.signal]),
    story: (listener) => {
      tell = listener;
      if (current !== undefined) listener(current);
    },
  }).finally(async () => {
    open = false;
    await reader.close();
  });
  // A failure is reported when the demo ends. Until then, the demo continues as text.
  screen.catch(() => undefined);
  return {
    get onScreen() {
      return open;
    },
    chapter(name, words) {
      show({ number: CHAPTERS.indexOf(name) + 1, of: CHAPTERS.length, title: name, text: words });
      if (!open) text.chapter(name, words);
    },
    say(words) {
      if (current !== undefined) show({ ...current, text: words });
      if (!open) text.say(words);
    },
    async step(title, expectedSeconds, work) {
      if (!open) return await text.step(title, expectedSeconds, work);
      const say = (note: string) => {
        if (current !== undefined) show({ ...current, text: note === '' ? title : `${title} – ${note}` });
      };
      say('');
      return await work(say);
    },
    async end(words) {
      if (open && current !== undefined) show({ ...current, text: `${words} – press q to leave` });
      else text.say(words);
      await screen;
    },
    async close() {
      leaving.abort();
      await screen.catch(() => undefined);
    },
  };
}
