// The environment of a CLI command for tests; a test overrides the parts that matter to it.

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

/** An output that keeps what is written. */
export class CapturedOutput {
  stdout = '';
  stderr = '';
  readonly output = outputTo(
    (text) => {
      this.stdout += text;
    },
    (text) => {
      this.stderr += text;
    },
  );

  clear(): void {
    this.stdout = '';
    this.stderr = '';
  }
}

const notHere = (what: string) => () => Promise.reject(new Error(`there is no ${what} in this test`));

/** An environment without a cluster and a gateway, in which files can be read. */
export function fakeEnvironment(parts: Partial<Environment> & Pick<Environment, 'output'>): Environment {
  const incidents = { get: notHere('cluster'), list: notHere('cluster'), create: notHere('cluster') };
  return {
    now: () => new Date('2026-01-01T00:10:00Z'),
    incidents: () => incidents,
    monitors: () => ({ list: async () => [] }),
    objects: () => ({
      read: notHere('cluster'),
      take: notHere('cluster'),
      whoAmI: notHere('cluster'),
      annotateIncident: notHere('cluster'),
    }),
    confirm: notHere('terminal'),
    anchor: async () => ({
      source: 'ConfigMap oplab-system/oplab-audit-anchor',
      ...{ checkpoint: undefined, heads: undefined, publicKey: undefined },
    }),
    namespace: (flags) => flags.namespace ?? 'default',
    gateway: () => {
      throw new Error('there is no gateway in this test');
    },
    file: openFileReader,
    ...parts,
  };
}

/** Runs the CLI in an environment. */
export const commandLine =
  (environment: Environment) =>
  (...args: string[]) =>
    createProgram(environment).parseAsync(['node', 'oplab', ...args]);
