// The keys of `oplab top` and what its signs mean.

import { EMPTY, type Line, span, styled } from './styled-line.ts';

const KEYS: readonly [string, string][] = [
  ['↑ ↓  k j', 'select an Incident, or scroll the pane in focus'],
  ['tab  ← →  h l', 'the next pane, the one before'],
  ['PgUp PgDn  g G', 'by pages; to the beginning, to the end'],
  ['enter  z', 'the session on the whole screen, and back'],
  ['f', 'follow the session again after scrolling'],
  ['esc', 'let the cursor go by itself to what is worked on'],
  ['a', 'hide or show Incidents that are over'],
  ['ctrl-l', 'draw the screen anew'],
  ['ctrl-z', 'to the shell; fg brings it back'],
  ['q  ctrl-c', 'quit'],
];

const SIGNS = '● Running  ◐ Verifying  ✓ Resolved  ! Escalated  ✗ Failed  ○ Pending, held';

export function helpLines(): Line[] {
  return [
    ...KEYS.map(([key, text]): Line => [span(` ${key.padEnd(16)}`, 'bold'), span(text)]),
    EMPTY,
    styled(` ${SIGNS}`),
    styled(' This program only reads. Abort: kubectl patch incident NAME --type merge', 'dim'),
    styled(`   -p '{"spec":{"cancel":true}}'`, 'dim'),
  ];
}
