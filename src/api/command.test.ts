// A rendered command is, for each shell, exactly the words that it was made of.

import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { random } from '../../test/support/random.ts';
import { renderCommand } from './command.ts';

/** What a shell makes of commands, each of which begins with `show`. */
function readWords([program = '', ...flags]: readonly string[], lines: readonly string[]): string[][] {
  const script = `show() { printf '%s\\0' "$#" "$@"; }\n${lines.join('\n')}\n`;
  const { stdout, stderr, status } = spawnSync(program, [...flags, '-c', script], { env: { PATH: '/nowhere' } });
  expect(String(stderr)).toBe('');
  expect(status).toBe(0);
  const fields = stdout.toString('utf8').split('\0');
  const found: string[][] = [];
  for (let at = 0; at < fields.length - 1; at += Number(fields[at]) + 1) {
    found.push(fields.slice(at + 1, at + 1 + Number(fields[at])));
  }
  return found;
}

const PARTS = [
  ...[
    "'",
    '"',
    '\\',
    '`',
    '$(touch x)',
    '$((1+1))',
    '$HOME',
    ';',
    '&&',
    '|',
    '>',
    '<',
    '#',
    '!',
    '*',
    '?',
    '[a]',
    '{a,b}',
  ],
  ...['~', '=', '-', '--', ' ', '  ', '%', '^', '(', ')', 'a', 'B', '0', '/', ':', '@', ',', '.', 'é', '漢', '😀'],
  ...[': kubectl delete namespace prod', "'; touch x; '", "\\'", "''", "$'a\\nb'"],
];

describe('renderCommand', () => {
  it.each([
    [['kubectl', 'get', 'pods', '-n', 'tikv'], 'kubectl get pods -n tikv'],
    [['kubectl', 'get', '--sort-by=.x', 'a,b', 'app/x:1@%+_'], 'kubectl get --sort-by=.x a,b app/x:1@%+_'],
    [['a', ''], "a ''"],
    [['a', "it's"], String.raw`a 'it'\''s'`],
    [['a', 'b\\'], String.raw`a 'b'\\`],
    [['a', '=b', '~'], "a '=b' '~'"],
    [['a b', 'c'], "'a b' c"],
    [['a=b', 'c=d', '%1'], "'a=b' c=d '%1'"],
  ])('%j is %s', (command, text) => expect(renderCommand(command)).toBe(text));

  it.each([
    ['nothing', []],
    ['a line break', ['a', 'b\nc']],
    ['what a terminal takes for Ctrl+C', ['a', '\u0003']],
    ['an escape', ['a', '\u001b[201~; x']],
    ['a C1 control character', ['a', '\u009b']],
    ['another direction of text', ['a', '\u202etxt']],
    ['characters without width', ['a', 'b\u200bc']],
    ['a line separator', ['a', '\u2028']],
    ['half of a character', ['a', '\ud800']],
    ['more than can be pasted', ['a', 'x'.repeat(4096)]],
  ])('shows no command of %s', (_what, command) => expect(renderCommand(command)).toBeUndefined());

  it.each([['/bin/sh'], ['/bin/bash', '--norc']])('means the same words to %s, whatever they are', (...shell) => {
    const next = random(7);
    const word = () =>
      Array.from({ length: Math.floor(next() * 6) }, () => PARTS[Math.floor(next() * PARTS.length)]).join('');
    const commands = Array.from({ length: 1000 }, () => Array.from({ length: 1 + Math.floor(next() * 4) }, word));
    const lines = commands.map((words) => renderCommand(['show', ...words]) ?? '');
    expect(readWords(shell, lines)).toEqual(commands);
  });
});
