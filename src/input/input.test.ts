// Every kind of fault yields the field, what is wrong and the fix, and never a hidden value.

import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { random } from '../../test/support/random.ts';
import { InvalidInput } from '../errors.ts';
import { nearestName } from './nearest.ts';
import { checkInput, joinProblems, MAX_PROBLEMS, parseInput } from './parse-input.ts';

type Code = z.core.$ZodIssueCode;

/** A schema and a value that it refuses with one code. The value contains the secret. */
type Fault = (secret: string, number: number) => { schema: z.ZodType; value: unknown };

/** A code that zod adds does not compile until it has an example here. */
const FAULTS: Record<Code, readonly Fault[]> = {
  invalid_type: [
    (secret) => ({ schema: z.number(), value: secret }),
    (secret) => ({ schema: z.array(z.string()), value: secret }),
    (secret) => ({ schema: z.strictObject({}), value: secret }),
    (secret) => ({ schema: z.string(), value: { secret } }),
  ],
  invalid_value: [
    (secret) => ({ schema: z.enum(['info', `x${secret}`.slice(0, 4)]), value: secret }),
    (secret) => ({ schema: z.literal('v1'), value: secret }),
  ],
  too_big: [
    (secret) => ({ schema: z.string().max(3), value: secret }),
    (secret, n) => ({ schema: z.array(z.string()).max(n), value: Array.from({ length: n + 1 }, () => secret) }),
    (secret) => ({ schema: z.number().max(7), value: Number(secret.replaceAll(/\D/g, '')) }),
  ],
  too_small: [
    (secret) => ({ schema: z.string().min(99), value: secret }),
    (secret) => ({ schema: z.number().min(8), value: -Number(secret.replaceAll(/\D/g, '')) }),
  ],
  invalid_format: [
    (secret) => ({ schema: z.string().regex(/^[a-z]$/), value: secret }),
    (secret) => ({ schema: z.url(), value: secret }),
    (secret) => ({ schema: z.email(), value: secret }),
    (secret) => ({ schema: z.iso.datetime(), value: secret }),
    (secret) => ({ schema: z.string().startsWith('tcp:'), value: secret }),
    (secret) => ({ schema: z.string().endsWith('.svc'), value: secret }),
    (secret) => ({ schema: z.string().includes('@'), value: secret }),
  ],
  not_multiple_of: [
    (secret) => ({ schema: z.number().multipleOf(2), value: 2 * Number(secret.replaceAll(/\D/g, '')) + 1 }),
  ],
  unrecognized_keys: [
    (secret) => ({ schema: z.strictObject({ name: z.string() }), value: { name: 'x', nmae: secret } }),
  ],
  invalid_union: [
    (secret) => ({ schema: z.union([z.number(), z.boolean()]), value: secret }),
    (secret) => ({
      schema: z.union([z.object({ a: z.number() }), z.object({ b: z.number() })]),
      value: { a: secret, b: secret },
    }),
    (secret) => ({
      schema: z.discriminatedUnion('kind', [z.object({ kind: z.literal('a') }), z.object({ kind: z.literal('b') })]),
      value: { kind: secret },
    }),
    (secret) => ({ schema: z.xor([z.string(), z.string().min(1)]), value: secret }),
  ],
  invalid_key: [(secret) => ({ schema: z.record(z.string().max(1), z.string()), value: { name: secret } })],
  invalid_element: [(secret) => ({ schema: z.map(z.looseObject({}), z.number()), value: new Map([[{}, secret]]) })],
  custom: [
    (secret) => ({ schema: z.string().refine(() => false), value: secret }),
    (secret) => ({ schema: z.string().refine(() => false, 'must be good'), value: secret }),
  ],
};

/** The cause of the error that a function throws. */
function causeOf(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    if (error instanceof InvalidInput) return error.cause;
  }
  throw new Error('the function did not throw InvalidInput');
}

/** Puts schema and value below a random path. */
function nested(schema: z.ZodType, value: unknown, next: () => number) {
  let outer = schema;
  let content = value;
  const steps: string[] = [];
  for (let depth = Math.floor(next() * 4) + 1; depth > 0; depth -= 1) {
    const isList = next() < 0.3;
    const name = `field${Math.floor(next() * 9)}`;
    steps.unshift(isList ? '[0]' : `.${name}`);
    outer = isList ? z.array(outer) : z.object({ [name]: next() < 0.5 ? outer : outer.optional() });
    content = isList ? [content] : { [name]: content };
  }
  return { schema: outer, value: content, at: steps.join('').replace(/^\./, '') };
}

const codes = Object.entries(FAULTS).flatMap(([code, faults]) =>
  faults.map((fault, index) => ({ code, index, fault })),
);

describe.each(codes)('a fault of the code $code ($index)', ({ code, fault }) => {
  it('is told with its path, and without the value where values are hidden', () => {
    const next = random(7);
    for (let round = 0; round < 50; round += 1) {
      const secret = `S${Math.floor(next() * 1e9 + 1e9)}t`;
      const plain = fault(secret, Math.floor(next() * 5) + 1);
      const found = plain.schema.safeParse(plain.value).error?.issues.map((issue) => issue.code);
      expect(found).toContain(code);
      const { schema, value, at } = nested(plain.schema, plain.value, next);
      const checked = checkInput(schema, value, { values: 'hidden' });
      if (checked.success) throw new Error('the value was accepted');
      const text = joinProblems('file.yaml', checked.problems);
      for (const problem of checked.problems) expect(problem.startsWith(`${at}`), problem).toBe(true);
      expect(text).not.toContain(secret);
      expect(text).not.toContain(secret.replaceAll(/\D/g, ''));
      expect(text).not.toMatch(/undefined|: ?$|Invalid input/);
      // Neither does the error carry the value in a cause.
      expect(causeOf(() => parseInput(schema, value, 'x', { values: 'hidden' }))).toBeUndefined();
      // Where values are shown, one below a name such as "token" is hidden all the same.
      const below = checkInput(z.object({ token: plain.schema }), { token: plain.value }, { values: 'shown' });
      expect(JSON.stringify(below)).not.toContain(secret);
    }
  });
});

function problems(schema: z.ZodType, value: unknown, values: 'shown' | 'hidden' = 'shown'): readonly string[] {
  const checked = checkInput(schema, value, { values });
  return checked.success ? [] : checked.problems;
}

describe('a message', () => {
  const described = z.object({
    name: z
      .string()
      .regex(/^[a-z]+$/)
      .meta({ description: 'The name of the class. Unique.' }),
    severity: z.enum(['info', 'warning', 'critical']).default('warning'),
    port: z.number().int().min(1).max(65_535).optional(),
  });

  it('explains a pattern with the description, names allowed values and ranges, and lists all problems', () => {
    expect(problems(described, { name: 'A b', severity: 'critcal', port: 0 })).toEqual([
      'name: must match the pattern /^[a-z]+$/; its description: The name of the class (got "A b")',
      'severity: must be one of "info", "warning" or "critical"; did you mean "critical"? (got "critcal")',
      'port: must be from 1 to 65535 (got 0)',
    ]);
    expect(problems(described, {})).toEqual(['name: is required; set it to a string']);
  });

  it('names the field that was probably meant, and else all of them', () => {
    const schema = z.strictObject({ soakSeconds: z.number().optional(), checks: z.array(z.string()).optional() });
    expect(problems(schema, { soakSecond: 1, other: 2 })).toEqual([
      'soakSecond: unknown field; did you mean "soakSeconds"? valid fields: soakSeconds, checks',
      'other: unknown field; valid fields: soakSeconds, checks',
    ]);
  });

  it('tells the problems of the closest alternative, or the alternatives', () => {
    const matcher = z.union([z.string(), z.strictObject({ regex: z.string() })]);
    expect(problems(z.object({ match: matcher }), { match: { regex: 7 } })).toEqual([
      'match.regex: must be a string (got 7)',
    ]);
    expect(problems(z.object({ match: matcher }), { match: 7 })).toEqual([
      'match: must be a string or an object (got 7)',
    ]);
    const kinds = z.discriminatedUnion('kind', [
      z.object({ kind: z.literal('a') }),
      z.object({ kind: z.literal('b') }),
    ]);
    expect(problems(kinds, { kind: 'c' })).toEqual(['kind: must be one of "a" or "b" (got "c")']);
  });

  it('shortens long values, and never shows a URL with a password', () => {
    const [long = ''] = problems(z.object({ a: z.number() }), { a: 'x'.repeat(5000) });
    expect(long.length).toBeLessThan(260);
    expect(problems(z.object({ a: z.number() }), { a: 'https://me:pw@host' })).toEqual(['a: must be a number']);
  });

  it('lists at most ten problems', () => {
    const keys = Object.fromEntries(Array.from({ length: 14 }, (_, index) => [`unknown${index}`, 1]));
    const parse = () => parseInput(z.strictObject({}), keys, 'a.yaml', { values: 'shown' });
    expect(parse).toThrow(InvalidInput);
    expect(parse).toThrow(/^a\.yaml: 14 problems:\n {2}- unknown0: /);
    expect(parse).toThrow(/\n {2}and 4 more$/);
    expect(MAX_PROBLEMS).toBe(10);
  });

  it.each<[string, z.ZodType, unknown]>([
    [
      'unknown fields with long names',
      z.strictObject(
        Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`field${index}`.padEnd(60), z.any()])),
      ),
      Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`unknown${index}`.padEnd(60, 'x'), 1])),
    ],
    ['elements of another type', z.array(z.strictObject({ a: z.number() })), Array(100_000).fill(1)],
    [
      'faults in the closest alternative of a union',
      z.union([z.string(), z.array(z.strictObject({ a: z.number() }))]),
      Array(100_000).fill({}),
    ],
  ])('does not take long over many: %s', (_what, schema, value) => {
    const started = performance.now();
    expect(() => parseInput(schema, value, 'body', { values: 'hidden' })).toThrow(/^body: 100 or more problems:\n/);
    expect(performance.now() - started).toBeLessThan(2000);
  });
});

it('the nearest name differs by case or a few letters', () => {
  const known = ['namespace', 'name', 'port', 'cel'];
  expect(['nmaespace', 'Name', 'prot', 'cle'].map((name) => nearestName(name, known))).toEqual(known);
  expect(nearestName('labels', known)).toBeUndefined();
});

it('nothing else in src, lab or hack puts an issue of zod into words', async () => {
  const root = path.join(import.meta.dirname, '../..');
  const found: string[] = [];
  for (const folder of ['src', 'lab', 'hack']) {
    for (const name of await readdir(path.join(root, folder), { recursive: true })) {
      const file = path.join(folder, name);
      if (!name.endsWith('.ts') || name.endsWith('.test.ts') || file.startsWith('src/input/')) continue;
      // The double speaks in the words of the API.
      if (file === 'src/messages-double/validate.ts') continue;
      const text = await readFile(path.join(root, file), 'utf8');
      if (/prettifyError|treeifyError|flattenError|formatError|\berror\??\.issues\b|\{ issues\b/.test(text))
        found.push(file);
    }
  }
  expect(found).toEqual([]);
});
