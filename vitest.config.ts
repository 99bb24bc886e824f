// Three test projects: unit beside the code, api with real programs such as a kube-apiserver, e2e on kind.

import { availableParallelism } from 'node:os';
import { defaultExclude, defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { bundledWorkers } from './test/support/bundled-workers.ts';

/**
 * Tests beside the code that start programs by the dozen: shells of the sandbox, the whole chain of a
 * rehearsed repair, builds, the command line. They are no unit tests, and take as long as all of those.
 */
const PROGRAMS = [
  'hack/bootstrap.test.ts',
  'hack/build.test.ts',
  'src/agent/keep-running.test.ts',
  'src/cli/audit-tail.test.ts',
  'src/rehearsal/container-stopped.test.ts',
  'src/rehearsal/repair.test.ts',
  'src/rehearsal/rules.test.ts',
  'src/sandbox/left-behind.test.ts',
  'src/sandbox/shell-server.test.ts',
  'src/sandbox/shell.test.ts',
];

/** Files by name, so that those that share an installation of the operator follow each other. */
class ByName extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return files.toSorted((a, b) => (a.moduleId < b.moduleId ? -1 : 1));
  }
}

export default defineConfig({
  test: {
    sequence: { sequencer: ByName },
    projects: [
      {
        plugins: [bundledWorkers()],
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'lab/**/*.test.ts', 'hack/**/*.test.ts', 'test/support/*.test.ts'],
          exclude: [...defaultExclude, ...PROGRAMS],
          // The files of a worker share their modules: loading these anew for each took a third of the time.
          isolate: false,
          // Much of the work is waiting for programs; by default a machine with two processors gets one worker.
          maxWorkers: availableParallelism() + (process.env.OPLAB_TEST_PARTS === undefined ? 2 : 0),
          // Long, as the machine may be busy with the tests on kind at the same time.
          testTimeout: 60_000,
        },
      },
      {
        plugins: [bundledWorkers()],
        test: {
          name: 'contract',
          include: ['test/contract/*.test.ts'],
          isolate: false,
          testTimeout: 60_000,
        },
      },
      {
        plugins: [bundledWorkers()],
        test: {
          name: 'api',
          include: ['test/api/**/*.test.ts', 'test/fault/**/*.test.ts', ...PROGRAMS],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/*.test.ts', 'test/security/**/*.test.ts'],
          globalSetup: ['test/support/attack-report.ts'],
          testTimeout: 600_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
