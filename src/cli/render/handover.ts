// Renders the hand-over of an escalated Incident and the writes seen by the gateway, for people.

import { renderCommand } from '../../api/command.ts';
import type { Incident } from '../../api/incident.ts';
import type { EnteredPods, HandoverStep } from '../../api/incident-status.ts';
import { withoutControls } from '../../audit/controls.ts';
import { wrap } from '../table.ts';

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
    ...nextSteps.flatMap((step) => stepLines(step, width)),
  ];
}

function part(title: string, texts: readonly string[], width: number): string[] {
  return [title, ...texts.flatMap((text) => bullet(withoutControls(text), width))];
}

/**
 * Text of authors and agents. Its own indentation is lost, so that none of its lines looks like a
 * command.
 */
function bullet(text: string, width: number): string[] {
  return wrap(text.replace(/^\s+/gm, ''), width - 4).map((line, index) => `${index === 0 ? '  - ' : '    '}${line}`);
}

/** The command has its own line and is never wrapped, so that it can be pasted. */
function stepLines({ what, command }: HandoverStep, width: number): string[] {
  const line = command === undefined ? undefined : renderCommand(command);
  const text = withoutControls(what).replaceAll(/\s+/g, ' ');
  return line === undefined ? bullet(text, width) : [...bullet(`${text}:`, width), `      ${line}`];
}

/** The number of writes that passed the gateway, and the last of them by command, with their entries. */
export function changeLines({ status }: Incident, width: number): string[] {
  const { changes } = status ?? {};
  if (changes === undefined) return [];
  if (changes.count === 0) return ['none'];
  const more = changes.count - changes.last.length;
  return [
    ...(more > 0 ? [`${changes.count} in all, the last ${changes.last.length}:`] : []),
    ...changes.last.flatMap(({ seq, attempt, command, plane, text }, index) => {
      const isNext = command !== undefined && changes.last[index - 1]?.command !== command;
      const where = plane === 'kubernetes' ? '' : `${plane}: `;
      const which = command === undefined ? `attempt ${attempt}, entry ${seq}` : `entry ${seq}`;
      return [
        ...(isNext ? [`command ${command} of attempt ${attempt}`] : []),
        ...item(`${where}${withoutControls(text)} (${which})`, width),
      ];
    }),
    ...enteredLines(changes.enteredPods, width),
  ];
}

const item = (text: string, width: number): string[] =>
  wrap(text, width - 2).map((line, row) => `${row === 0 ? '- ' : '  '}${line}`);

/** The pods in which the agent may have left processes, the latest last. */
function enteredLines(entered: EnteredPods | undefined, width: number): string[] {
  if (entered === undefined) return [];
  const { count, last } = entered;
  return [
    `processes may still run in ${count} ${count === 1 ? 'pod' : 'pods'}${count > last.length ? `, the last ${last.length}` : ''}:`,
    ...last.flatMap(({ namespace, name, by, seq }) =>
      item(withoutControls(`${namespace}/${name} (${by.join(', ')}, entry ${seq})`), width),
    ),
  ];
}
