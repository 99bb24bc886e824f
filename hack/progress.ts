// Runs steps with progress: number, elapsed and expected time, and a clean end on Ctrl-C.
import pc from 'picocolors';

/** What a running step gets. */
export interface StepContext {
  /** Fires on Ctrl-C, SIGTERM or the caller's abort; hand it to everything that takes time. */
  readonly signal: AbortSignal;
  /** Says in a few words what the step is doing now. */
  note(text: string): void;
}

/** One piece of work that a person may be waiting for. */
export interface Step {
  readonly title: string;
  /** What it usually takes, in seconds; shown, never enforced. */
  readonly expectedSeconds: number;
  run(context: StepContext): Promise<void>;
}

/** Where progress goes and what the clock says; tests bring their own. */
export interface ProgressOutput {
  write(text: string): void;
  readonly isTTY: boolean;
  now(): number;
}

/** What `runSteps` may be told. */
export interface RunOptions {
  readonly signal?: AbortSignal;
  readonly output?: ProgressOutput;
  /** Milliseconds between two signs of life where there is no terminal. */
  readonly heartbeatMs?: number;
}

const terminal: ProgressOutput = {
  write: (text) => process.stderr.write(text),
  get isTTY() {
    return process.stderr.isTTY === true;
  },
  now: () => Date.now(),
};

/** Whole seconds as people read them: `7 s`, `2 min 05 s`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
}

/** `step 2 of 5: title` with elapsed, expected and the latest note. */
export function progressLine(
  place: { index: number; count: number },
  step: { title: string; expectedSeconds: number },
  elapsedSeconds: number,
  note: string,
): string {
  const time = `${duration(elapsedSeconds)}, expected ${duration(step.expectedSeconds)}`;
  return `step ${place.index} of ${place.count}: ${step.title} (${time})${note === '' ? '' : ` – ${note}`}`;
}

/** Runs one step after the other. The first failure ends the run and is thrown. */
export async function runSteps(steps: readonly Step[], options: RunOptions = {}): Promise<void> {
  const out = options.output ?? terminal;
  const colour = pc.createColors(out.isTTY && process.env.NO_COLOR === undefined);
  const signal = options.signal ?? new AbortController().signal;
  for (const [position, step] of steps.entries()) {
    signal.throwIfAborted();
    const place = { index: position + 1, count: steps.length };
    const started = out.now();
    let note = '';
    const line = (): string => progressLine(place, step, (out.now() - started) / 1000, note);
    const show = out.isTTY
      ? () => out.write(`\r\u001b[K${line().slice(0, (process.stderr.columns ?? 120) - 1)}`)
      : () => out.write(`    ${line()}\n`);
    if (out.isTTY) show();
    else
      out.write(
        `==> step ${place.index} of ${place.count}: ${step.title} (expected ${duration(step.expectedSeconds)})\n`,
      );
    const timer = setInterval(show, out.isTTY ? 500 : (options.heartbeatMs ?? 15_000));
    timer.unref();
    const finish = (mark: string): void => {
      clearInterval(timer);
      const took = duration((out.now() - started) / 1000);
      out.write(`${out.isTTY ? '\r\u001b[K' : '    '}${mark} ${step.title} ${colour.dim(`(${took})`)}\n`);
    };
    try {
      await step.run({
        signal,
        note: (text) => {
          note = text;
        },
      });
      finish(colour.green('✓'));
    } catch (error) {
      finish(colour.red('✗'));
      throw error;
    }
  }
}

/** Thrown into everything that waits on the signal once the user has had enough. */
export class Interrupted extends Error {
  constructor() {
    super('interrupted');
    this.name = 'Interrupted';
  }
}

/**
 * Runs a program with a signal that Ctrl-C and SIGTERM abort, prints a failure as one message and
 * sets the exit code: 130 after an interrupt, 1 after a failure, else what the program returns. A
 * second Ctrl-C ends at once.
 */
export async function main(program: (signal: AbortSignal) => Promise<number | undefined>): Promise<void> {
  const controller = new AbortController();
  const interrupt = (): void => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort(new Interrupted());
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  try {
    process.exitCode = (await program(controller.signal)) ?? 0;
  } catch (error) {
    if (controller.signal.aborted) {
      process.stderr.write('\ninterrupted; unfinished work is removed\n');
      process.exitCode = 130;
    } else {
      process.stderr.write(`\n${error instanceof Error ? error.message : String(error)}\n`);
      if (process.env.OPLAB_DEBUG !== undefined && error instanceof Error) process.stderr.write(`${error.stack}\n`);
      process.exitCode = 1;
    }
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}
