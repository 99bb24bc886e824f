// For tests: the world of a command of the CLI, of which a test says what matters to it.

import { createColors } from 'picocolors';
import type { Environment } from '../../src/cli/environment.ts';
import type { Output } from '../../src/cli/output.ts';
import { createProgram } from '../../src/cli/program.ts';
import { openFileReader } from '../../src/cli/reader/file-reader.ts';

/** An output that is no terminal, without colours, 80 columns wide. */
export function outputTo(stdout: (text: string) => void, stderr: (text: string) => void = () => undefined): Output {
  return {
    line: (text = '') => stdout(`${text}\n`),
    write: stdout,
    note: (text) => stderr(`${text}\n`),
    colors: createColors(false),
    width: 80,
    isTerminal: false,
  };
}

const notHere = (what: string) => () => Promise.reject(new Error(`there is no ${what} in this test`));

/** A world without cluster and gateway, in which files can be read. */
export function fakeEnvironment(parts: Partial<Environment> & Pick<Environment, 'output'>): Environment {
  const incidents = { get: notHere('cluster'), list: notHere('cluster'), create: notHere('cluster') };
  return {
    now: () => new Date('2026-01-01T00:10:00Z'),
    incidents: () => incidents,
    monitors: () => ({ list: async () => [] }),
    namespace: (flags) => flags.namespace ?? 'default',
    gateway: () => {
      throw new Error('there is no gateway in this test');
    },
    file: openFileReader,
    ...parts,
  };
}

/** Runs the command line in a world. */
export const commandLine =
  (environment: Environment) =>
  (...args: string[]) =>
    createProgram(environment).parseAsync(['node', 'oplab', ...args]);
