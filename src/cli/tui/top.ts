// Runs `oplab top`: feeds data from cluster and gateway, and keys, into the state, and draws it.

import { setTimeout as sleep } from 'node:timers/promises';
import { errorMessage, isOplabError, NotFound } from '../../errors.ts';
import type { Incidents } from '../incidents.ts';
import type { Monitors } from '../monitors.ts';
import { parseListed } from '../parse-incident.ts';
import type { AuditReader } from '../reader/audit-reader.ts';
import { type Painter, paintLine } from './paint.ts';
import { type Chapter, initialState, reduce, type TopEvent } from './state.ts';
import { openTerminal, type Streams, type Terminal } from './terminal.ts';
import { screen } from './view.ts';

/** How often the cluster is queried, in milliseconds. */
const INCIDENTS_MS = 1000;
const MONITORS_MS = 2000;
/** Events within this time are drawn together, in milliseconds. */
const FRAME_MS = 40;

export interface TopOptions {
  readonly incidents: Incidents;
  readonly monitors: Monitors;
  readonly reader: AuditReader;
  /** Undefined: all namespaces. */
  readonly namespace: string | undefined;
  readonly painter: Painter;
  readonly streams: Streams;
  readonly now: () => Date;
  /** Ends the program from outside. */
  readonly signal?: AbortSignal;
  /** Receives a function that shows a chapter above the panes. */
  readonly story?: (show: (chapter: Chapter) => void) => void;
}

/**
 * Runs until the user quits or the terminal is closed. Restores the terminal, also after a failure.
 */
export async function runTop(options: TopOptions): Promise<void> {
  const { reader, namespace, painter, now } = options;
  const stopping = new AbortController();
  const stop = () => stopping.abort();
  options.signal?.addEventListener('abort', stop, { once: true });
  const { signal } = stopping;
  let state = initialState(namespace, now());
  let last = screen(state, { columns: 80, rows: 24 });
  let frame: NodeJS.Timeout | undefined;
  let following: { session: string; stop: AbortController } | undefined;
  let failure: unknown;

  const fail = (error: unknown) => {
    failure ??= error;
    stop();
  };
  const draw = () => {
    frame = undefined;
    if (signal.aborted) return;
    try {
      last = screen(state, terminal.size);
      terminal.show(last.lines.map((line) => paintLine(line, painter)));
    } catch (error) {
      // An error thrown here would be printed on the alternate screen and lost.
      fail(error);
    }
  };
  const drawSoon = () => {
    frame ??= setTimeout(draw, FRAME_MS);
  };
  const dispatch = (event: TopEvent) => {
    if (signal.aborted) return;
    state = reduce(state, event);
    if (state.quit) {
      stop();
      return;
    }
    const session = state.trail?.session;
    if (session !== following?.session) follow(session);
    drawSoon();
  };
  const follow = (session: string | undefined) => {
    following?.stop.abort();
    following = session === undefined ? undefined : { session, stop: new AbortController() };
    if (session === undefined || following === undefined) return;
    const ended = AbortSignal.any([signal, following.stop.signal]);
    (async () => {
      for await (const event of reader.follow(session, { signal: ended })) {
        if (ended.aborted) return;
        dispatch({ type: 'session', session, event });
      }
    })().catch((error: unknown) => {
      // For example, a response that this version cannot read. The rest of the screen keeps
      // working.
      if (ended.aborted) return;
      const code = isOplabError(error) ? error.code : undefined;
      dispatch({ type: 'session', session, event: { type: 'waiting', reason: errorMessage(error), code } });
    });
  };

  const terminal: Terminal = openTerminal(options.streams, {
    key(key) {
      if (key === 'redraw') terminal.forget();
      dispatch({ type: 'key', key, metrics: last.metrics });
    },
    resized: drawSoon,
    ended: stop,
  });
  const tick = setInterval(() => dispatch({ type: 'tick', now: now() }), 1000);
  try {
    draw();
    options.story?.((chapter) => dispatch({ type: 'chapter', chapter }));
    await Promise.all([
      again(INCIDENTS_MS, signal, async () => {
        try {
          const items = await options.incidents.list(namespace);
          dispatch({ type: 'incidents', items: items.map(parseListed) });
        } catch (error) {
          dispatch({ type: 'cluster-away', reason: errorMessage(error) });
        }
      }),
      again(MONITORS_MS, signal, async () => {
        try {
          dispatch({ type: 'monitors', items: await options.monitors.list(namespace) });
        } catch (error) {
          const items = error instanceof NotFound ? undefined : state.monitors;
          dispatch({ type: 'monitors', items, away: errorMessage(error) });
        }
      }),
    ]).catch(fail);
  } finally {
    stop();
    clearInterval(tick);
    clearTimeout(frame);
    following?.stop.abort();
    options.signal?.removeEventListener('abort', stop);
    terminal.close();
  }
  if (failure !== undefined) throw failure;
}

/**
 * Repeats work with a pause in between until the signal aborts; does not wait for hanging work
 * then.
 */
async function again(pauseMs: number, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  while (!signal.aborted) {
    await Promise.race([work(), aborted]);
    await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
  }
}
