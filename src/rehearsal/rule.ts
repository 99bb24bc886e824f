// Loads rules from YAML: what must have been observed, and what is then said, run or concluded.

import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { parse } from 'yaml';
import * as z from 'zod';
import { errorMessage, InvalidInput } from '../errors.ts';
import { parseInput } from '../input/parse-input.ts';

/**
 * A condition on one step of the conversation: the latest command that matches `ran`, and its
 * output.
 */
const condition = z.strictObject({
  ran: z.string().min(1).describe('Regular expression for the command. Named groups are captured.'),
  exit: z.number().int().optional(),
  output: z.string().optional().describe('Regular expression (multiline) for the output. Named groups are captured.'),
  every: z
    .string()
    .optional()
    .describe('Regular expression that each line of stdout must match; there must be at least one line.'),
  ever: z
    .boolean()
    .default(false)
    .describe('Also accept a step from before the last change. By default, the step must be fresh.'),
});
export type Condition = z.infer<typeof condition>;

const reference = z.strictObject({
  is: z.string().describe('The name of a group, all conditions of which must hold.'),
});
const clause = z.union([reference, condition]);
export type Clause = z.infer<typeof clause>;

const rule = z
  .strictObject({
    name: z
      .string()
      .regex(/^[a-z0-9]+(-[a-z0-9]+)*$/)
      .max(40),
    when: z
      .strictObject({
        all: z.array(clause).default([]),
        none: z.array(clause).default([]),
        where: z.array(z.string()).default([]).describe('Comparisons of captures, in the form: left operator right.'),
        changed: z.boolean().optional().describe('Whether anything has been changed yet.'),
      })
      .prefault({}),
    say: z.string().min(1),
    run: z.union([z.string(), z.array(z.string()).min(1)]).optional(),
    timeout: z.number().int().min(1).max(600).optional().describe('The time limit of the command, in seconds.'),
    change: z
      .boolean()
      .default(false)
      .describe('The command changes something, which makes all earlier observations stale.'),
    times: z
      .number()
      .int()
      .min(1)
      .default(1)
      .describe('How often the same command may run between two changes, or in total if it is a change itself.'),
    conclude: z
      .strictObject({
        outcome: z.enum(['fixed', 'nothing_wrong', 'cannot_fix']),
        summary: z.string().min(1),
        root_cause: z.string().default(''),
      })
      .optional(),
  })
  .refine(
    (it) => (it.run === undefined) !== (it.conclude === undefined),
    'a rule must have either `run` or `conclude`',
  );
export type Rule = z.infer<typeof rule>;

const ruleFile = z.strictObject({
  about: z.string().min(1),
  groups: z.record(z.string(), z.array(clause)).default({}),
  rules: z.array(rule).default([]),
});

/** The rules of a directory, in the order in which they are tried. */
export interface RuleBook {
  readonly rules: readonly Rule[];
  readonly groups: Readonly<Record<string, readonly Clause[]>>;
}

const TEMPLATE = /\$\{(\w+)\}/g;
/** The names that a regular expression captures. */
const groupsIn = (pattern: string) => [...pattern.matchAll(/\(\?<(\w+)>/g)].flatMap((match) => match[1] ?? []);
/** The names that a template uses. */
const namesIn = (text: string) => [...text.matchAll(TEMPLATE)].flatMap((match) => match[1] ?? []);

function captured(clauses: readonly Clause[], groups: RuleBook['groups']): string[] {
  return clauses.flatMap((it) =>
    'is' in it ? captured(groups[it.is] ?? [], groups) : groupsIn(`${it.ran} ${it.output ?? ''} ${it.every ?? ''}`),
  );
}

function references(clauses: readonly Clause[], groups: RuleBook['groups']): string[] {
  return clauses.flatMap((it) => ('is' in it ? [it.is, ...references(groups[it.is] ?? [], groups)] : []));
}

/** Finds mistakes that would surface only when a rule applies: unknown names, missing groups. */
function check(book: RuleBook): void {
  for (const { name, when, say, run = [], conclude } of book.rules) {
    const known = new Set([...captured(when.all, book.groups), ...(conclude === undefined ? [] : ['causes'])]);
    const texts = [say, ...[run].flat(), ...when.where, conclude?.summary ?? '', conclude?.root_cause ?? ''];
    const unknown = texts.flatMap(namesIn).filter((it) => !known.has(it));
    if (unknown.length > 0) throw new InvalidInput(`rule ${name}: no condition captures ${unknown.join(', ')}`);
    const missing = references([...when.all, ...when.none], book.groups).filter((it) => !(it in book.groups));
    if (missing.length > 0) throw new InvalidInput(`rule ${name}: unknown group: ${missing.join(', ')}`);
  }
  const names = book.rules.map((it) => it.name);
  const twice = names.filter((name, index) => names.indexOf(name) !== index);
  if (twice.length > 0) throw new InvalidInput(`rules with the same name: ${twice.join(', ')}`);
}

/**
 * Reads all `.yaml` files of a directory, sorted by name.
 * @throws InvalidInput that names the file, the rule and the mistake
 */
export async function loadRules(directory: string): Promise<RuleBook> {
  const files = (await readdir(directory)).filter((name) => name.endsWith('.yaml')).sort();
  if (files.length === 0) throw new InvalidInput(`${directory}: no .yaml files found`);
  const rules: Rule[] = [];
  const groups: Record<string, readonly Clause[]> = {};
  for (const file of files) {
    let content: unknown;
    try {
      content = parse(await readFile(path.join(directory, file), 'utf8'));
    } catch (error) {
      throw new InvalidInput(`${file}: ${errorMessage(error)}`, error);
    }
    const parsed = parseInput(ruleFile, content, file, { values: 'shown' });
    rules.push(...parsed.rules);
    Object.assign(groups, parsed.groups);
  }
  const book = { rules, groups };
  check(book);
  return book;
}
