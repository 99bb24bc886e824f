// The help screen of `oplab top`: its keys and symbols.

import { EMPTY, type Line, span, styled } from './styled-line.ts';

const KEYS: readonly [string, string][] = [
  ['↑ ↓  k j', 'select an Incident, or scroll the pane in focus'],
  ['tab  ← →  h l', 'go to the next or previous pane'],
  ['PgUp PgDn  g G', 'scroll by page; go to the beginning or end'],
  ['enter  z', 'zoom the session to the whole screen, and back'],
  ['f', 'follow the session again after scrolling'],
  ['esc', 'select the active Incident automatically'],
  ['a', 'hide or show finished Incidents'],
  ['ctrl-l', 'redraw the screen'],
  ['ctrl-z', 'suspend; fg resumes'],
  ['q  ctrl-c', 'quit'],
];

const SIGNS = '● Running  ◐ Verifying  ✓ Resolved  ! Escalated  ✗ Failed  ○ Pending, held';

export function helpLines(): Line[] {
  return [
    ...KEYS.map(([key, text]): Line => [span(` ${key.padEnd(16)}`, 'bold'), span(text)]),
    EMPTY,
    styled(` ${SIGNS}`),
    styled(' This program only reads. To cancel: kubectl patch incident NAME --type merge', 'dim'),
    styled(`   -p '{"spec":{"cancel":true}}'`, 'dim'),
  ];
}
