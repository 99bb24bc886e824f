// Files that a person names: whatever the command, one that cannot be read is wrong input, and the
// error says what is wrong with it.

import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Command } from 'commander';
import { afterAll, describe, expect, it } from 'vitest';
import { fakeEnvironment, outputTo } from '../../test/support/fake-environment.ts';
import { parseSigner } from '../audit/signed-note.ts';
import { InvalidInput } from '../errors.ts';
import { describeFileProblem } from '../input/file.ts';
import { findServer } from '../kube/credentials.ts';
import { createProgram } from './program.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'oplab-files-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Options with a path that is written, or is no file. */
const NOT_READ = ['--to', '--into', '--socket'];

const { vkey } = parseSigner(
  'test',
  generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  'the key',
).verifier;

const program = () => createProgram(fakeEnvironment({ output: outputTo(() => undefined) }));

function leaves(command: Command, above: readonly string[] = []): { path: string[]; command: Command }[] {
  return command.commands.flatMap((child) => {
    const here = [...above, child.name()];
    return child.commands.length > 0 ? leaves(child, here) : [{ path: here, command: child }];
  });
}

/** All options of all commands that name a file to read: a new one is tested without being added here. */
const reading = leaves(program()).flatMap(({ path: words, command }) => {
  const options = command.options.filter(({ flags, long }) => /<path>/.test(flags) && !NOT_READ.includes(long ?? ''));
  return options.map(({ long = '' }): [string, string, string[]] => {
    const required = command.registeredArguments.filter((argument) => argument.required).map(() => 'tikv/x');
    const more: Record<string, string[]> = {
      'audit prune': ['--older-than', '90d'],
      'audit search': ['text'],
      // The log is read after the other files, and a checkpoint needs a key.
      'audit verify': ['--file', path.join(folder, 'none.db'), '--public-key', vkey].slice(long === '--file' ? 2 : 0),
    };
    return [words.join(' '), long, [...words, ...required, ...(more[words.join(' ')] ?? [])]];
  });
});

describe.each(reading)('oplab %s %s', (_command, flag, words) => {
  it.each([
    ['that does not exist', path.join(folder, 'missing'), 'does not exist'],
    ['below a file', path.join(import.meta.filename, 'x'), 'does not exist: a part of its path is a file'],
    ['that is a directory', folder, 'is a directory'],
  ])('refuses a file %s', async (_what, file, problem) => {
    const error: unknown = await program()
      .parseAsync(['node', 'oplab', ...words, flag, file])
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(InvalidInput);
    const short = flag === '--filename' ? '-f' : flag;
    expect(String(error)).toContain(`${short}: ${file} ${problem}`);
    expect(Object(error).exitCode).toBe(2);
  });
});

it('finds the options of all commands that read files', () => {
  expect(reading.length).toBeGreaterThanOrEqual(11);
});

it('refuses a session to import that does not exist', async () => {
  const file = path.join(folder, 'missing.json');
  await expect(
    program().parseAsync(['node', 'oplab', 'session', 'import', file, '--into', path.join(folder, 'a.db')]),
  ).rejects.toThrow(`FILE: ${file} does not exist`);
});

it('refuses a kubeconfig that does not exist', () => {
  expect(() => findServer({ kubeconfig: path.join(folder, 'missing') })).toThrow('--kubeconfig: ');
});

it('names the missing permission, and keeps the text of an unknown problem', () => {
  const file = path.join(folder, 'secret');
  writeFileSync(file, '');
  chmodSync(file, 0);
  expect(describeFileProblem(file, Object.assign(new Error('x'), { code: 'EACCES' }))).toBe(
    `${file} cannot be read: permission denied; check its owner and its mode`,
  );
  expect(describeFileProblem('', Object.assign(new Error('x'), { code: 'ENOENT' }))).toBe(
    '"" does not exist; check the path',
  );
  expect(describeFileProblem(file, new Error('the disk is on fire'))).toContain('cannot be read: the disk is on fire');
});

describe('the files of oplab audit verify', () => {
  const verify = (...words: string[]) => program().parseAsync(['node', 'oplab', 'audit', 'verify', ...words]);
  const other = path.join(folder, 'text');
  writeFileSync(other, 'only words\n');

  it('must be YAML, or the error says where it is not', async () => {
    const broken = path.join(folder, 'broken.yaml');
    writeFileSync(broken, 'a: [\nb: }\n');
    await expect(verify('--file', other, '--incident-file', broken)).rejects.toThrow(
      /broken\.yaml is not valid YAML or JSON: [^\n]+ at line \d+, column \d+$/,
    );
  });

  it.each([
    ['--incident-file', 'does not contain an Incident; save Incidents with kubectl get incidents -A -o yaml'],
    ['--checkpoint', 'is not a signed checkpoint; save the entry "checkpoint" of ConfigMap oplab-audit-anchor'],
  ])('must be what %s needs', async (flag, problem) => {
    const database = path.join(folder, 'empty.db');
    new DatabaseSync(database).close();
    const error: unknown = await verify('--file', database, '--public-key', vkey, flag, other).catch(
      (thrown) => thrown,
    );
    expect(error).toBeInstanceOf(InvalidInput);
    expect(error).toHaveProperty('message', `${flag}: ${other} ${problem}`);
  });
});

describe('-A', () => {
  const accepting = ['incident list', 'audit list', 'audit search', 'audit tail', 'session export', 'top'];
  const withoutNamespace = ['audit backup', 'audit prune', 'session import', 'version'];
  const commands = leaves(program());

  it('is accepted by commands that exist', () => {
    const known = commands.map(({ path: words }) => words.join(' '));
    expect(accepting.filter((name) => !known.includes(name))).toEqual([]);
  });

  it.each(commands.map(({ path: words, command }): [string, Command] => [words.join(' '), command]))(
    'oplab %s shows it exactly if it accepts it',
    async (name, command) => {
      const isAccepted = accepting.includes(name);
      expect(command.helpInformation().includes('--all-namespaces')).toBe(isAccepted);
      if (isAccepted) return;
      const required = command.registeredArguments.filter((argument) => argument.required).map(() => 'x');
      const mandatory = command.options.filter(({ mandatory }) => mandatory).flatMap(({ long = '' }) => [long, 'x']);
      await expect(
        program().parseAsync(['node', 'oplab', ...name.split(' '), ...required, ...mandatory, '-A']),
      ).rejects.toThrow(withoutNamespace.includes(name) ? 'does not select by namespace' : 'is about one namespace');
    },
  );

  it.each(withoutNamespace)('and -n are refused by oplab %s, which would ignore them', async (name) => {
    const command = commands.find(({ path: words }) => words.join(' ') === name)?.command;
    expect(command?.helpInformation()).not.toContain('--namespace ');
    const more: Record<string, string[]> = {
      'audit backup': ['x.db'],
      'audit prune': ['--older-than', '90d'],
      'session import': ['x', '--into', 'y'],
    };
    await expect(
      program().parseAsync(['node', 'oplab', ...name.split(' '), ...(more[name] ?? []), '-n', 'tikv']),
    ).rejects.toThrow(`-n, --namespace tikv: "${name}" does not select by namespace; leave the flag out`);
  });
});
