// Rules and queries against recorded expositions, evaluated by Prometheus' own promtool over synthetic time.

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { ensurePackages } from '../../hack/toolchain/apt.ts';

/** One line of an exposition. */
export interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  /** What it is at the looks just before the evaluation, the latest last; before them it is `value`. */
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

/** A recorded exposition as it is scraped from this target. @throws Error when promtool cannot parse it */
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

/** Whether Prometheus can read the exposition; it has opinions about names besides, which are TiKV's own. */
export async function isReadable(name: string): Promise<boolean> {
  await ensurePackages(['prometheus']);
  const child = execFile('promtool', ['check', 'metrics']);
  child.stdin?.end(await readFile(exposition(name), 'utf8'));
  const code = await new Promise((resolve) => child.once('exit', resolve));
  // 3: readable, with remarks.
  return code === 0 || code === 3;
}

const labelsText = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
    .join(', ');

/** Of 15 s each, until what is asked is asked. */
const LOOKS = 36;

const isCounter = (name: string): boolean => /_(total|bucket|sum|count)$/.test(name) && !/region_count$/.test(name);

/** A gauge stays unless it is told otherwise; a counter grows by a hundredth of itself at each step. */
function values({ name, value, lately }: Series): string {
  if (lately !== undefined) return `${value}+0x${LOOKS - lately.length} ${lately.join(' ')}`;
  return isCounter(name) ? `${value}+${value / 100}x40` : `${value}+0x40`;
}

/** What promtool has to say, after nine minutes of each case; empty when all is as expected. */
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
