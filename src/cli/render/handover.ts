// Renders the hand-over of an escalated Incident and the writes seen by the gateway, for people.

import type { Incident } from '../../api/incident.ts';
import { withoutControls } from '../../audit/controls.ts';
import { wrap } from '../table.ts';

/** A step that ends in commands: what to check, and how. */
const COMMAND = /^(.*?): ((?:kubectl|oplab) .*)$/s;

/** What a person who takes over needs to know, the most urgent first. */
export function handoverLines({ status }: Incident, width: number): string[] {
  const { handover } = status ?? {};
  if (handover === undefined) return [];
  const { summary, attempts, changes, nextSteps } = handover;
  return [
    ...part('summary', [summary], width),
    ...part('attempts', attempts, width),
    ...part('changes', changes, width),
    'next steps',
    ...nextSteps.flatMap((step) => stepLines(withoutControls(step), width)),
  ];
}

function part(title: string, texts: readonly string[], width: number): string[] {
  return [title, ...texts.flatMap((text) => bullet(withoutControls(text), width))];
}

function bullet(text: string, width: number): string[] {
  return wrap(text, width - 4).map((line, index) => `${index === 0 ? '  - ' : '    '}${line}`);
}

/** Each command gets its own line and is never wrapped, so that it can be pasted. */
function stepLines(step: string, width: number): string[] {
  const [, what, commands] = COMMAND.exec(step) ?? [];
  if (what === undefined || commands === undefined) return bullet(step, width);
  return [
    ...bullet(`${what}:`, width),
    ...commands.split(/; (?=kubectl |oplab )/).map((command) => `      ${command}`),
  ];
}

/** The number of writes that passed the gateway, and the last of them with their trail entries. */
export function changeLines({ status }: Incident, width: number): string[] {
  const { changes } = status ?? {};
  if (changes === undefined) return [];
  if (changes.count === 0) return ['none'];
  const more = changes.count - changes.last.length;
  return [
    ...(more > 0 ? [`${changes.count} in all, the last ${changes.last.length}:`] : []),
    ...changes.last.flatMap(({ seq, attempt, plane, text }) => {
      const where = plane === 'kubernetes' ? '' : `${plane}: `;
      return wrap(`${where}${withoutControls(text)} (attempt ${attempt}, entry ${seq})`, width - 2).map(
        (line, index) => `${index === 0 ? '- ' : '  '}${line}`,
      );
    }),
  ];
}
