// `npm test`: static checks, unit tests, the contract with the model API, tests on a real
// kube-apiserver, tests on kind.
//
// It ends with `N passed, N failed`.
//
//   --only static,unit,contract,api,e2e
//                  runs some of the parts
//   --keep         leaves the cluster up
//   -t PATTERN     runs the tests with such a name
//   --serial       runs one part at a time; by default e2e runs beside the others
//   FOLDER …       runs the tests in these folders
//
// Examples:
//   npm test
//   npm test -- --only unit
//   npm test -- --only api -t "oplab top"
//   npm test -- --only e2e --keep
//   npm run test:security
//   npm run test:contract

import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import * as z from 'zod';
import { run } from './child.ts';
import { down } from './cluster/down.ts';
import { clusterExists } from './cluster/observe.ts';
import { main } from './progress.ts';
import { ensurePackages } from './toolchain/apt.ts';

const root = path.dirname(import.meta.dirname);
const reports = path.join(root, 'reports');
const prepareProgram = path.join(root, 'lab/prepare.ts');

const parts = ['static', 'unit', 'contract', 'api', 'e2e'] as const;
type Part = (typeof parts)[number];

/** What is read of vitest's JSON report. */
const vitestReport = z.object({
  numPassedTests: z.number(),
  numFailedTests: z.number(),
  numPendingTests: z.number(),
  numTodoTests: z.number(),
  success: z.boolean(),
  testResults: z.array(
    z.object({
      name: z.string(),
      status: z.string(),
      assertionResults: z.array(
        z.object({
          fullName: z.string(),
          status: z.string(),
          duration: z.number().nullish(),
          failureMessages: z.array(z.string()).optional(),
        }),
      ),
    }),
  ),
});

interface PartResult {
  part: Part;
  passed: number;
  failed: number;
  skipped: number;
  seconds: number;
  failures: string[];
}

async function seconds<T>(work: () => Promise<T>): Promise<[T, number]> {
  const started = performance.now();
  const result = await work();
  return [result, Math.round((performance.now() - started) / 100) / 10];
}

/** Whether a program succeeds. Its output is shown, each line after the name of the part. */
async function passes(part: Part, command: string, args: readonly string[], signal: AbortSignal): Promise<boolean> {
  // The parts share the machine: vitest.config.ts starts fewer workers then.
  const env = { OPLAB_TEST_PARTS: 'true' };
  const result = await run(command, args, { cwd: root, signal, env, allowFailure: true, echo: `${part.padEnd(8)} │ ` });
  return result.code === 0;
}

async function staticChecks(signal: AbortSignal): Promise<Omit<PartResult, 'part' | 'seconds'>> {
  const checks: [string, string, string[]][] = [
    ['biome', 'biome', ['check', '.']],
    ['types', 'tsc', ['--noEmit']],
    ['generated files', 'node', ['hack/generate.ts', '--check']],
  ];
  const failures: string[] = [];
  for (const [name, command, args] of checks) if (!(await passes('static', command, args, signal))) failures.push(name);
  return { passed: checks.length - failures.length, failed: failures.length, skipped: 0, failures };
}

async function vitest(
  project: Exclude<Part, 'static'>,
  { pattern, folders }: { pattern: string | undefined; folders: readonly string[] },
  signal: AbortSignal,
): Promise<Omit<PartResult, 'part' | 'seconds'>> {
  const file = path.join(reports, `vitest-${project}.json`);
  await rm(file, { force: true });
  const args = ['run', '--project', project, '--reporter=default', '--reporter=json', `--outputFile.json=${file}`];
  if (project === 'contract') args.push('--reporter=./test/contract/report.ts');
  args.push(...folders);
  if (pattern !== undefined) args.push('-t', pattern);
  const ended = await passes(project, 'vitest', args, signal);
  let report: z.infer<typeof vitestReport>;
  try {
    report = vitestReport.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    return {
      passed: 0,
      failed: 1,
      skipped: 0,
      failures: [`vitest left no report: ${error instanceof Error ? error.message : String(error)}`],
    };
  }
  const failures = report.testResults.flatMap((suite) => {
    const failed = suite.assertionResults.filter((test) => test.status === 'failed').map((test) => test.fullName);
    // A file that does not load has no failed test in it, but it has failed.
    return suite.status === 'failed' && failed.length === 0 ? [path.relative(root, suite.name)] : failed;
  });
  if (!ended && failures.length === 0) failures.push(`vitest ended with an error outside the tests of "${project}"`);
  const skipped = pattern === undefined ? report.numPendingTests + report.numTodoTests : 0;
  return { passed: report.numPassedTests, failed: failures.length, skipped, failures };
}

/** Runs lab/prepare.ts, which shows its own progress and may need time to clean up. */
async function prepareInLab(part: 'api' | 'e2e', signal: AbortSignal): Promise<void> {
  await run('node', [prepareProgram, part], { cwd: root, signal, echo: true, graceMs: 30_000 });
}

/** Whether something must be compiled before there can be a cluster; unknown counts as yes. */
async function mustCompile(signal: AbortSignal): Promise<boolean> {
  const asked = await run('node', [prepareProgram, 'must-compile'], { cwd: root, signal, allowFailure: true });
  return asked.code !== 3;
}

/** Prepares a part: programs of the machine, binaries, a cluster with everything in it. */
const preparations: Partial<Record<Part, (signal: AbortSignal) => Promise<void>>> = {
  // Unit tests and attacks run the sandbox's commands on this machine; api tests check the order of
  // system calls.
  unit: (signal) => ensurePackages(['jq', 'curl', 'procps'], signal),
  api: async (signal) => {
    await ensurePackages(['strace'], signal);
    await prepareInLab('api', signal);
  },
  e2e: async (signal) => {
    await ensurePackages(['curl'], signal);
    await prepareInLab('e2e', signal);
  },
};

const nothing = { passed: 0, failed: 0, skipped: 0 };

/** Works on one after the other. */
async function inTurn<A, B>(list: readonly A[], work: (item: A) => Promise<B>): Promise<B[]> {
  const done: B[] = [];
  for (const item of list) done.push(await work(item));
  return done;
}

/** Runs one piece of work at a time: two preparations would build the same things. */
function turns(): (work: () => Promise<void>) => Promise<void> {
  let last: Promise<void> = Promise.resolve();
  return (work) => {
    const mine = last.then(work);
    last = mine.catch(() => undefined);
    return mine;
  };
}

await main(async (signal) => {
  const { values, positionals: folders } = parseArgs({
    allowPositionals: true,
    options: {
      only: { type: 'string' },
      keep: { type: 'boolean', default: false },
      serial: { type: 'boolean', default: false },
      testNamePattern: { type: 'string', short: 't' },
    },
  });
  const wanted =
    values.only === undefined ? [...parts] : parts.filter((part) => values.only?.split(',').includes(part));
  if (wanted.length === 0)
    throw new Error(`--only ${values.only} is not valid: use one or more of ${parts.join(', ')}`);
  await mkdir(reports, { recursive: true });

  const clusterWasThere = wanted.includes('e2e') && (await clusterExists(signal));
  const setUp: Record<string, number> = {};
  const oneAtATime = turns();
  const prepared = new Map<Part, Promise<void>>();
  const prepare = (part: Part): Promise<void> => {
    const before = prepared.get(part);
    if (before !== undefined) return before;
    const mine = oneAtATime(async () => {
      [, setUp[part]] = await seconds(async () => await preparations[part]?.(signal));
    });
    prepared.set(part, mine);
    return mine;
  };
  const work = async (part: Part): Promise<PartResult> => {
    try {
      await prepare(part);
    } catch (error) {
      signal.throwIfAborted();
      // What cannot be tested has failed.
      console.error(error instanceof Error ? error.message : String(error));
      return { part, ...nothing, failed: 1, seconds: 0, failures: ['could not be prepared; see above'] };
    }
    const tests = () =>
      part === 'static' ? staticChecks(signal) : vitest(part, { pattern: values.testNamePattern, folders }, signal);
    const [result, took] = await seconds(tests);
    return { part, seconds: took, ...result };
  };
  const lanes = values.serial
    ? [wanted]
    : [wanted.filter((part) => part !== 'e2e'), wanted.filter((part) => part === 'e2e')];
  let results: PartResult[];
  try {
    // Beside a compiler on all cores, tests would measure the compiler. The part itself reports
    // failures.
    if (wanted.includes('e2e') && (await mustCompile(signal))) await prepare('e2e').catch(() => undefined);
    // In this order, so that no part waits for a cluster that it does not need.
    for (const part of wanted) prepare(part).catch(() => undefined);
    const ended = await Promise.allSettled(lanes.map((lane) => inTurn(lane, work)));
    results = ended.flatMap((lane) => {
      if (lane.status === 'rejected') throw lane.reason;
      return lane.value;
    });
  } finally {
    // A cluster that this run made is deleted; one that was there before is kept.
    if (wanted.includes('e2e') && !clusterWasThere && !values.keep) await down(new AbortController().signal);
  }

  const sum = (key: 'passed' | 'failed' | 'skipped') => results.reduce((total, result) => total + result[key], 0);
  console.log('\npart      passed  failed  skipped  seconds');
  for (const { part, passed, failed, skipped, seconds: took } of results)
    console.log(
      `${part.padEnd(10)}${String(passed).padStart(6)}${String(failed).padStart(8)}${String(skipped).padStart(9)}${String(took).padStart(9)}`,
    );
  for (const result of results) for (const failure of result.failures) console.log(`  ✗ ${result.part}: ${failure}`);
  await writeFile(
    path.join(reports, 'test.json'),
    `${JSON.stringify({ at: new Date().toISOString(), cores: cpus().length, memoryBytes: totalmem(), setUpSeconds: setUp, parts: results }, null, 2)}\n`,
  );
  console.log(
    `${sum('passed')} passed, ${sum('failed')} failed${sum('skipped') > 0 ? `, ${sum('skipped')} skipped` : ''}`,
  );
  return sum('failed') > 0 ? 1 : 0;
});
