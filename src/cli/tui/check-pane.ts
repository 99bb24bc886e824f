// The checks of the selected Incident: what must hold before its repair counts, and what does.

import { renderCommand } from '../../api/command.ts';
import { CONDITIONS, type Incident } from '../../api/incident.ts';
import { findCondition } from '../../api/meta.ts';
import { age } from '../format.ts';
import type { Box } from './box.ts';
import { selectedIncident, type TopState } from './state.ts';
import { chopped, folded, type Line, span, styled } from './styled-line.ts';

/** A line for claim and soak, and one for each check; a failing check shows what was observed. */
function checkLines(incident: Incident, now: Date): Line[] {
  const { spec, status } = incident;
  const results = new Map((status?.verification ?? []).map((result) => [result.name, result]));
  const names = [...new Set([...spec.verify.checks.map(({ name }) => name), ...results.keys()])];
  return [
    claimLine(incident, now),
    ...names.flatMap((name): Line[] => {
      const result = results.get(name);
      if (result === undefined) return [[span('○ ', 'dim'), span(name), span(' not checked yet', 'dim')]];
      if (result.passing) {
        const since = age(result.passingSince ?? result.observedTime, now);
        return [[span('✓ ', 'good'), span(name), span(` holds ${since}`, 'good')]];
      }
      const seen = result.error ?? result.observed ?? '';
      return [[span('✗ ', 'bad'), span(name), span(' fails', 'bad'), span(seen === '' ? '' : `  ${seen}`, 'dim')]];
    }),
  ];
}

function claimLine({ spec, status }: Incident, now: Date): Line {
  const verified = findCondition(status?.conditions, CONDITIONS.Verified);
  const claimed = status?.claim === undefined ? 'no claim yet' : `claimed ${status.claim.outcome}`;
  if (verified?.status === 'True') return [span(`${claimed}, `), span('verified', 'good')];
  const start = status?.soak?.startTime;
  if (start === undefined) return styled(`${claimed}, not verified`);
  const held = Math.max(0, Math.floor((now.getTime() - Date.parse(start)) / 1000));
  return [
    span(`${claimed}, `),
    span(`holds ${Math.min(held, spec.verify.soakSeconds)} of ${spec.verify.soakSeconds} s`, 'call'),
  ];
}

/** The summary and next steps for the person who takes over an escalated Incident. */
function handoverLines({ status }: Incident, width: number): Line[] {
  const handed = status?.handover;
  if (handed === undefined || status?.phase !== 'Escalated') return [];
  return [
    ...textLines('summary', handed.summary, width),
    ...handed.nextSteps.flatMap(({ what, command = [] }) => {
      const line = renderCommand(command);
      return [
        ...textLines('next step', what.replaceAll(/\s+/g, ' '), width),
        ...(line === undefined ? [] : chopped(line, width - 4).map((part): Line => [span(`    ${part}`, 'call')])),
      ];
    }),
  ];
}

function textLines(word: string, text: string, width: number): Line[] {
  const [first = '', ...rest] = folded(text, width - word.length - 2);
  return [[span(`${word}: `, 'bold'), span(first)], ...rest.map((line) => styled(`  ${line}`))];
}

export function checkBox(state: TopState, width: number): Box {
  const incident = selectedIncident(state);
  if (incident === undefined) return { pane: undefined, title: 'Checks', lines: [] };
  const handover = handoverLines(incident, width);
  return {
    pane: undefined,
    title: handover.length === 0 ? 'Checks' : 'Hand-over and checks',
    lines: [...handover, ...checkLines(incident, state.now)],
  };
}
