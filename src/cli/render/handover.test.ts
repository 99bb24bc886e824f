// The only lines that look like commands are commands, and they are whole.

import { expect, it } from 'vitest';
import { anIncident } from '../../../test/support/an-incident.ts';
import { random } from '../../../test/support/random.ts';
import { renderCommand } from '../../api/command.ts';
import { changeLines, handoverLines } from './handover.ts';

const TEXTS = [
  ...[
    'kubectl delete namespace prod',
    ': kubectl delete namespace prod',
    '; kubectl x',
    '\n',
    '\n      ',
    '\t',
    '      ',
  ],
  ...['\u001b[2K', '\r', '$(x)', "'", '\\', 'x', 'a word', '\u2028      ', '\u00a0'.repeat(6), 'oplab audit show x'],
];

it('what an author or a model wrote is never on a line of a command', () => {
  const next = random(5);
  const text = () =>
    Array.from({ length: 1 + Math.floor(next() * 5) }, () => TEXTS[Math.floor(next() * TEXTS.length)]).join('');
  for (let round = 0; round < 500; round += 1) {
    const nextSteps = Array.from({ length: 3 }, () => ({ what: text(), command: ['kubectl', 'get', text()] }));
    const handover = { summary: text(), attempts: [text()], changes: [text()], nextSteps };
    const lines = handoverLines(anIncident({ status: { handover } }), 40 + Math.floor(next() * 60));
    expect(lines.filter((line) => line.startsWith('      '))).toEqual(
      nextSteps.flatMap(({ command }) => {
        const line = renderCommand(command);
        return line === undefined ? [] : [`      ${line}`];
      }),
    );
    expect(lines.join('')).not.toMatch(/\p{Cc}/u);
  }
});

it('names the pods in which processes may still run', () => {
  const entered = (name: string, seq: number) => ({ namespace: 'tikv', name, by: ['exec'], seq });
  const enteredPods = { count: 40, last: [entered('pd-0', 5), entered('pd-1', 7)] };
  const changes = { count: 0, last: [], enteredPods };
  expect(changeLines(anIncident({ status: { changes: { ...changes, count: 1 } } }), 80)).toEqual([
    '1 in all, the last 0:',
    'processes may still run in 40 pods, the last 2:',
    '- tikv/pd-0 (exec, entry 5)',
    '- tikv/pd-1 (exec, entry 7)',
  ]);
});

it('lists writes by the command that made them', () => {
  const change = (seq: number, command?: number) => ({
    ...{ attempt: 1, seq, plane: 'kubernetes', text: `patch pods x${seq}` },
    ...(command === undefined ? {} : { command }),
  });
  const changes = { count: 5, last: [change(5, 3), change(7, 3), change(12, 10), change(15)] };
  expect(changeLines(anIncident({ status: { changes } }), 80)).toEqual([
    '5 in all, the last 4:',
    'command 3 of attempt 1',
    '- patch pods x5 (entry 5)',
    '- patch pods x7 (entry 7)',
    'command 10 of attempt 1',
    '- patch pods x12 (entry 12)',
    '- patch pods x15 (attempt 1, entry 15)',
  ]);
});
