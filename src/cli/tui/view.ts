// Lays out the screen of `oplab top` from its state, exactly as large as the terminal.

import { chapterLines, keyLine, topLine } from './bars.ts';
import { type Box, beside, boxed } from './box.ts';
import { checkBox } from './check-pane.ts';
import { helpLines } from './help.ts';
import { incidentBox } from './incident-pane.ts';
import { monitorBox } from './monitor-pane.ts';
import { sessionBox } from './session-pane.ts';
import type { Metrics, TopState } from './state.ts';
import { EMPTY, folded, inWidth, type Line, styled } from './styled-line.ts';

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

export interface Screen {
  readonly lines: readonly Line[];
  readonly metrics: Metrics;
}

/** The smallest supported terminal. */
export const SMALLEST: Size = { columns: 30, rows: 8 };
/** Below this size, only the pane in focus is shown. */
const SPLIT: Size = { columns: 70, rows: 16 };

const NO_METRICS: Metrics = { trailLines: 0, trailHeight: 1, monitorLines: 0, monitorHeight: 1, incidentHeight: 1 };

export function screen(state: TopState, size: Size): Screen {
  if (size.columns < SMALLEST.columns || size.rows < SMALLEST.rows) {
    const text = `terminal too small: needs at least ${SMALLEST.columns}x${SMALLEST.rows}`;
    return {
      lines: whole(
        folded(text, size.columns).map((line) => styled(line)),
        size,
      ),
      metrics: NO_METRICS,
    };
  }
  const head = [topLine(state, size.columns), ...chapterLines(state, size.columns)];
  const bodyRows = size.rows - head.length - 1;
  const body = state.help
    ? {
        lines: boxed({ pane: undefined, title: 'Help', lines: helpLines() }, false, size.columns, bodyRows),
        metrics: NO_METRICS,
      }
    : renderBody(state, { columns: size.columns, rows: bodyRows });
  return { lines: whole([...head, ...body.lines, keyLine(state, size.columns)], size), metrics: body.metrics };
}

function whole(lines: readonly Line[], { columns, rows }: Size): Line[] {
  return Array.from({ length: rows }, (_, row) => inWidth(lines[row] ?? EMPTY, columns));
}

function renderBody(state: TopState, size: Size): Screen {
  const single = size.columns < SPLIT.columns || size.rows < SPLIT.rows - 2;
  if (state.zoomed || single) return onePane(state, size);
  const lowerLeft = Math.floor(size.columns / 2);
  const lowerRight = size.columns - lowerLeft - 1;
  const checks = checkBox(state, lowerRight);
  const wanted = 1 + Math.max(4, 1 + (state.monitors?.length ?? 0), checks.lines.length);
  const lowerRows = Math.min(wanted, Math.floor(size.rows * 0.36));
  const upperRows = size.rows - lowerRows;
  const left = Math.max(26, Math.min(46, Math.floor(size.columns * 0.38)));
  const right = size.columns - left - 1;

  const session = sessionBox(state, right, upperRows - 1);
  const list = incidentBox(state, left, upperRows - 1);
  const watch = monitorBox(state, lowerLeft, lowerRows - 1);
  const shown = (box: Box, width: number, rows: number) => boxed(box, box.pane === state.focus, width, rows);
  const upper = beside(shown(list, left, upperRows), shown(session.box, right, upperRows));
  const lower = beside(shown(watch.box, lowerLeft, lowerRows), shown(checks, lowerRight, lowerRows));
  return {
    lines: [...upper, ...lower],
    metrics: { ...session.metrics, ...watch.metrics, incidentHeight: upperRows - 1 },
  };
}

/** Only the pane in focus: on small screens, or when zoomed. */
function onePane(state: TopState, { columns, rows }: Size): Screen {
  const session = sessionBox(state, columns, rows - 1);
  const watch = monitorBox(state, columns, rows - 1);
  const box = {
    incidents: incidentBox(state, columns, rows - 1),
    session: session.box,
    monitors: watch.box,
  }[state.focus];
  return {
    lines: boxed(box, true, columns, rows),
    metrics: { ...session.metrics, ...watch.metrics, incidentHeight: rows - 1 },
  };
}
