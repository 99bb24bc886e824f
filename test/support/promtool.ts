// Rules and queries against recorded metrics, evaluated by Prometheus' own promtool over synthetic
// time.

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { ensurePackages } from '../../hack/toolchain/apt.ts';

/** One line of recorded metrics. */
export interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  /**
   * The values at the last scrapes before the evaluation, the latest last. Before them it is
   * `value`.
   */
  readonly lately?: readonly number[];
}

export interface Sample {
  readonly labels: string;
  readonly value: number;
}

export interface QueryCase {
  readonly name: string;
  readonly series: readonly Series[];
  readonly queries: readonly { readonly expr: string; readonly expected: readonly Sample[] }[];
}

const exposition = (name: string): string => path.join(import.meta.dirname, 'expositions', `${name}.prom`);

/** Recorded metrics as scraped from this target. @throws Error when a line is not a sample */
export async function recorded(name: string, labels: Readonly<Record<string, string>>): Promise<Series[]> {
  const text = await readFile(exposition(name), 'utf8');
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return lines.map((line) => {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (match?.[1] === undefined) throw new Error(`${name}: not a sample: ${line}`);
    const pairs = [...(match[2] ?? '').matchAll(/(\w+)="([^"]*)"/g)].map(([, key = '', value = '']) => [key, value]);
    return { name: match[1], labels: { ...Object.fromEntries(pairs), ...labels }, value: Number(match[3]) };
  });
}

/**
 * Whether Prometheus can read the recorded metrics. Its remarks about names do not count: the names
 * are TiKV's own.
 */
export async function isReadable(name: string): Promise<boolean> {
  await ensurePackages(['prometheus']);
  const child = execFile('promtool', ['check', 'metrics']);
  child.stdin?.end(await readFile(exposition(name), 'utf8'));
  const code = await new Promise((resolve) => child.once('exit', resolve));
  // Code 3 means readable, with remarks.
  return code === 0 || code === 3;
}

const labelsText = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
    .join(', ');

/** Scrapes, 15 s apart, before the queries are evaluated. */
const LOOKS = 36;

const isCounter = (name: string): boolean => /_(total|bucket|sum|count)$/.test(name) && !/region_count$/.test(name);

/**
 * A gauge keeps its value unless `lately` is given. A counter grows by a hundredth of its value at
 * each step.
 */
function values({ name, value, lately }: Series): string {
  if (lately !== undefined) return `${value}+0x${LOOKS - lately.length} ${lately.join(' ')}`;
  return isCounter(name) ? `${value}+${value / 100}x40` : `${value}+0x40`;
}

/** promtool's messages after nine minutes of each case. Empty if everything is as expected. */
export async function evaluated(rules: string, cases: readonly QueryCase[]): Promise<string> {
  await ensurePackages(['prometheus']);
  const dir = await mkdtemp(path.join(tmpdir(), 'oplab-promtool-'));
  try {
    const tests = cases.map(({ name, series, queries }) => ({
      name,
      interval: '15s',
      input_series: series.map((one) => ({ series: `${one.name}{${labelsText(one.labels)}}`, values: values(one) })),
      promql_expr_test: queries.map(({ expr, expected }) => ({
        expr,
        eval_time: `${LOOKS * 15}s`,
        exp_samples: expected,
      })),
    }));
    const file = path.join(dir, 'test.json');
    await writeFile(file, JSON.stringify({ rule_files: [rules], evaluation_interval: '15s', tests }));
    await promisify(execFile)('promtool', ['test', 'rules', file], { maxBuffer: 16 * 1024 * 1024 });
    return '';
  } catch (error) {
    const { stderr, stdout } = Object(error);
    return `${stdout ?? ''}${stderr ?? error}`;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
