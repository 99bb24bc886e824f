// The documentation names commands that exist, and links to files and headings that exist.

import { existsSync, globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { createProgram } from '../src/cli/program.ts';

const root = path.dirname(import.meta.dirname);
const pages = globSync(['*.md', 'docs/**/*.md', '{src,lab,test,hack}/**/README.md'], { cwd: root });
const { scripts } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>;
};

const program = createProgram();

/** The commands in a page's shell blocks, and everything in backquotes. */
function findCommands(text: string): string[] {
  const blocks = [...text.matchAll(/```(?:sh|bash|console)\n([\s\S]*?)```/g)].flatMap(([, block = '']) =>
    block.split('\n'),
  );
  const inline = [...text.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code);
  return [...blocks, ...inline].map((line) => line.replace(/^\$ /, '').trim());
}

/** The charts' values, which a page may set. */
const values = ['oplab', 'tikv'].map((name) =>
  parse(readFileSync(path.join(root, 'helm', name, 'values.yaml'), 'utf8')),
);
const targets = readFileSync(path.join(root, 'Dockerfile'), 'utf8')
  .split('\n')
  .flatMap((line) => / AS (\S+)$/.exec(line)?.[1] ?? []);

/** Whether the values have the key, which is a path with dots. */
function hasValue(of: unknown, key: string): boolean {
  return key.split('.').reduce<unknown>((at, part) => Object(at)[part], of) !== undefined;
}

/** Whether the words name a command that has no subcommands. */
function leads(command: Command, words: readonly string[]): boolean {
  if (command.commands.length === 0) return true;
  const [word, ...rest] = words.filter((candidate) => !candidate.startsWith('-'));
  const next = command.commands.find((child) => child.name() === word || child.aliases().includes(word ?? ''));
  return next !== undefined && leads(next, rest);
}

/** The anchors of a page's headings, as GitHub makes them. */
function readAnchors(file: string): ReadonlySet<string> {
  const prose = readFileSync(file, 'utf8').replaceAll(/^ *```[\s\S]*?^ *```/gm, '');
  const headings = [...prose.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

describe.each(pages)('%s', (page) => {
  const text = readFileSync(path.join(root, page), 'utf8');

  it('names npm scripts that exist', () => {
    const named = findCommands(text).flatMap((line) =>
      [...line.matchAll(/npm (?:run )?([a-z][a-z0-9:-]*)/g)].map(([, script = '']) => script),
    );
    const unknown = named.filter((script) => !(script in scripts) && !['ci', 'install'].includes(script));
    expect(unknown).toEqual([]);
  });

  it('names oplab commands that exist', () => {
    const named = findCommands(text).filter((line) =>
      /^(kubectl )?oplab (incident|audit|session|top|version)/.test(line),
    );
    const unknown = named.filter((line) => !leads(program, line.replace(/^(kubectl )?oplab /, '').split(/\s+/)));
    expect(unknown.filter((line) => !/^oplab (audit|incident)$/.test(line) && !line.includes('|'))).toEqual([]);
  });

  it('sets values of the charts that exist, and builds targets of the Dockerfile that exist', () => {
    const commands = findCommands(text);
    const named = (pattern: RegExp) =>
      commands.flatMap((line) => [...line.matchAll(pattern)].map(([, name = '']) => name));
    const set = named(/--set ([a-zA-Z.]+)=/g);
    expect(set.filter((key) => !values.some((of) => hasValue(of, key)))).toEqual([]);
    expect(named(/--target (\S+)/g).filter((target) => !targets.includes(target))).toEqual([]);
  });

  it.skipIf(page === 'docs/reference.md')('has no line of prose over 120 columns', () => {
    const prose = text.replaceAll(/^ *```[\s\S]*?^ *```/gm, '').split('\n');
    expect(prose.filter((line) => line.length > 120 && !/^ *[|#<]/.test(line))).toEqual([]);
  });

  it('links to files that exist', () => {
    const links = [...text.matchAll(/\]\((?!https?:|#|mailto:)([^)#]+)/g)].map(([, link = '']) => link);
    const broken = links.filter((link) => !existsSync(path.resolve(root, path.dirname(page), link)));
    expect(broken).toEqual([]);
  });

  it('links to headings that exist', () => {
    const links = [...text.matchAll(/\]\((?!https?:|mailto:)([^)#]*)#([^)]+)\)/g)];
    const broken = links.filter(([, file = '', anchor = '']) => {
      const target = file === '' ? path.join(root, page) : path.resolve(root, path.dirname(page), file);
      return !existsSync(target) || !readAnchors(target).has(anchor);
    });
    expect(broken.map(([link]) => link)).toEqual([]);
  });
});

describe('the threats of docs/security.md', () => {
  const text = readFileSync(path.join(root, 'docs/security.md'), 'utf8');
  const rows = text.split('\n').filter((line) => /^\|.*\]\(\.\.\/(?:test|src)\//.test(line));

  it.each(rows.map((row) => [row.split('|').slice(1, 3).join(':').trim(), row]))('%s: its tests exist', (_, row) => {
    const tests = [...row.matchAll(/\]\(\.\.\/([^)]+)\)((?:,? "[^"]+")+)/g)];
    expect(tests.length).toBeGreaterThan(0);
    const missing = tests.flatMap(([, file = '', titles = '']) => {
      const source = readFileSync(path.join(root, file), 'utf8');
      return [...titles.matchAll(/"([^"]+)"/g)].filter(([, title = '']) => !source.includes(title));
    });
    expect(missing.map(([, title]) => title)).toEqual([]);
  });
});
