// Finds what the API server or the controller would reject in a new Incident, without a cluster.

import * as z from 'zod';
import type { Check } from '../api/check.ts';
import { incidentSpecSchema, type Schema } from '../api/crd.ts';
import { incident } from '../api/incident.ts';
import type { Cel } from '../checks/cel.ts';
import { InvalidInput } from '../errors.ts';
import { unknownField } from '../input/issue-text.ts';
import { checkInput, joinProblems, parseInput } from '../input/parse-input.ts';
import type { NewIncident } from './incidents.ts';

type Evaluator = Pick<Cel, 'syntaxError' | 'evaluate'>;

/** The part of a value that an error shows. */
function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

/** The spec with its defaults. @throws InvalidInput with all problems */
export function parseSpec(spec: object): z.infer<typeof incident.shape.spec> {
  return parseInput(incident.shape.spec, spec, '', { values: 'shown', at: ['spec'] });
}

/**
 * Checks for CEL that the controller would reject, before an Incident is created. @throws
 * InvalidInput
 */
export async function checkExpressions(checks: readonly Check[], cel: Evaluator): Promise<void> {
  const problems: string[] = [];
  for (const [index, check] of checks.entries()) {
    for (const kind of ['http', 'kubernetes', 'prometheus'] as const) {
      const expression = check[kind]?.cel;
      const problem = expression === undefined ? undefined : await cel.syntaxError(expression);
      if (problem === undefined) continue;
      problems.push(
        `spec.verify.checks[${index}].${kind}.cel: ${shown(expression)} is not a valid CEL expression for a check: ${problem}; write an expression that is true when the check passes, for example ${EXAMPLES[kind]}`,
      );
    }
  }
  throwAll(problems);
}

/** @throws InvalidInput if there are problems */
function throwAll(problems: readonly string[]): void {
  if (problems.length > 0) throw new InvalidInput(joinProblems('', problems));
}

const EXAMPLES = {
  http: 'status == 200',
  kubernetes: 'object.status.readyReplicas == 3',
  prometheus: 'size(samples) == 0',
};

/**
 * The remaining validation of the API server: names, unknown fields, duplicates in lists, CEL
 * rules. Permissions, and whether the namespace and the AgentClass exist, only the server can
 * check.
 * @throws InvalidInput with all problems. The CEL rules are evaluated only if there are no others
 */
export async function checkAsServer(wanted: NewIncident, cel: Evaluator): Promise<void> {
  const schema = incidentSpecSchema();
  const spec = checkInput(incident.shape.spec, wanted.spec, { values: 'shown', at: ['spec'] });
  throwAll([
    ...nameProblems(wanted.metadata),
    ...(spec.success ? [] : spec.problems),
    ...shapeProblems(schema, wanted.spec, 'spec'),
  ]);
  throwAll(await ruleProblems(schema, parseSpec(wanted.spec), 'spec', cel));
}

/** The names that the API server accepts (RFC 1123 subdomains). */
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

function nameProblems({ name, generateName, namespace }: NewIncident['metadata']): string[] {
  const problems: string[] = [];
  if (name !== undefined) problems.push(...objectNameProblems('metadata.name', name, name));
  // The suffix that the server appends ends in a letter or a digit.
  else if (generateName !== undefined) {
    problems.push(...objectNameProblems('metadata.generateName', generateName, `${generateName}x`));
  } else problems.push('metadata.name: must be set, or metadata.generateName instead');
  if (namespace !== undefined && (!SUBDOMAIN.test(namespace) || namespace.includes('.') || namespace.length > 63)) {
    problems.push(
      `metadata.namespace: ${shown(namespace)} is not a valid namespace name; use at most 63 lowercase letters, digits and "-"`,
    );
  }
  return problems;
}

function objectNameProblems(field: string, value: string, name: string): string[] {
  if (SUBDOMAIN.test(name) && name.length <= 253) return [];
  return [
    `${field}: ${shown(value)} is not a valid object name; use at most 253 lowercase letters, digits, "-" and ".", and start and end with a letter or a digit`,
  ];
}

const record = z.record(z.string(), z.unknown());
const extensions = z.looseObject({
  maxProperties: z.number().default(Number.POSITIVE_INFINITY),
  'x-kubernetes-list-type': z.enum(['set', 'map', 'atomic']).optional(),
  'x-kubernetes-list-map-keys': z.array(z.string()).default([]),
  'x-kubernetes-validations': z
    .array(z.looseObject({ rule: z.string(), message: z.string(), optionalOldSelf: z.boolean().default(false) }))
    .default([]),
});

/** Unknown fields, duplicate elements and too many properties, at any depth. */
function shapeProblems(schema: Schema, value: unknown, at: string): string[] {
  const {
    'x-kubernetes-list-type': type,
    'x-kubernetes-list-map-keys': keys,
    maxProperties: most,
  } = extensions.parse(schema);
  const problems: string[] = [];
  if (Array.isArray(value)) {
    const seen = new Set<string>();
    for (const [index, element] of value.entries()) {
      const { items } = schema;
      if (items !== undefined) problems.push(...shapeProblems(items, element, `${at}[${index}]`));
      if (type !== 'set' && type !== 'map') continue;
      const fields = record.safeParse(element);
      const identity = type === 'set' ? [element] : keys.map((key) => fields.data?.[key]);
      const same = JSON.stringify(identity);
      if (seen.has(same)) {
        const field = `${at}[${index}]${type === 'set' ? '' : `.${keys.join(',')}`}`;
        problems.push(`${field}: ${identity.map(shown).join(', ')} is a duplicate; remove or rename it`);
      }
      seen.add(same);
    }
    return problems;
  }
  const fields = record.safeParse(value);
  if (!fields.success) return problems;
  const size = Object.keys(fields.data).length;
  if (size > most) problems.push(`${at}: must have at most ${most} entries, not ${size}`);
  if (schema.properties === undefined) return problems;
  for (const [name, child] of Object.entries(fields.data)) {
    const known = schema.properties[name];
    if (known !== undefined) problems.push(...shapeProblems(known, child, `${at}.${name}`));
    else problems.push(`${at}.${name}: ${unknownField(name, Object.keys(schema.properties))}`);
  }
  return problems;
}

/** What the schema's CEL rules report, except those that compare with an older object. */
async function ruleProblems(schema: Schema, value: unknown, at: string, cel: Evaluator): Promise<string[]> {
  if (value === undefined) return [];
  const problems: string[] = [];
  for (const { rule, message, optionalOldSelf } of extensions.parse(schema)['x-kubernetes-validations']) {
    const ofNew = optionalOldSelf ? rule.replaceAll('oldSelf.hasValue()', 'false') : rule;
    if (/\boldSelf\b/.test(ofNew)) continue;
    const result = await cel.evaluate(ofNew, { self: { json: JSON.stringify(value) } });
    if (result.type === 'failed') problems.push(`${at}: ${message}`);
  }
  if (Array.isArray(value)) {
    const { items = {} } = schema;
    for (const [index, element] of value.entries()) {
      problems.push(...(await ruleProblems(items, element, `${at}[${index}]`, cel)));
    }
    return problems;
  }
  const fields = record.safeParse(value);
  if (!fields.success) return problems;
  for (const [name, child] of Object.entries(schema.properties ?? {})) {
    problems.push(...(await ruleProblems(child, fields.data[name], `${at}.${name}`, cel)));
  }
  return problems;
}
