// What the API server and the controller would refuse in a new Incident, as far as it can be told without them.

import { z } from 'zod';
import type { Check } from '../api/check.ts';
import { incidentSpecSchema, type Schema } from '../api/crd.ts';
import { incident } from '../api/incident.ts';
import type { Cel } from '../checks/cel.ts';
import { InvalidInput } from '../errors.ts';
import type { NewIncident } from './incidents.ts';

type Evaluator = Pick<Cel, 'syntaxError' | 'evaluate'>;

/** As much of a value as an error shows. */
function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

/** The first thing that a schema says, with the field and the value. */
export function issueText({ issues: [issue] }: z.ZodError): string {
  const { path = [], message = '', input } = issue ?? {};
  const value = input === undefined || typeof input === 'object' ? '' : ` (it is ${shown(input)})`;
  return `${path.join('.')}: ${message}${value}`;
}

/** The spec with its defaults. @throws InvalidInput for what does not fit the schema */
export function parseSpec(spec: object): z.infer<typeof incident.shape.spec> {
  const parsed = incident.shape.spec.safeParse(spec, { reportInput: true });
  if (!parsed.success) throw new InvalidInput(`spec.${issueText(parsed.error)}`);
  return parsed.data;
}

/** CEL that the controller would refuse, so that no Incident is made of it. @throws InvalidInput */
export async function checkExpressions(checks: readonly Check[], cel: Evaluator): Promise<void> {
  for (const [index, check] of checks.entries()) {
    for (const look of ['http', 'kubernetes', 'prometheus'] as const) {
      const expression = check[look]?.cel;
      const problem = expression === undefined ? undefined : await cel.syntaxError(expression);
      if (problem === undefined) continue;
      throw new InvalidInput(
        `spec.verify.checks.${index}.${look}.cel: ${shown(expression)} is no CEL that a check can be judged by: ${problem}; write what is true when all is well, for example ${EXAMPLES[look]}`,
      );
    }
  }
}

const EXAMPLES = {
  http: 'status == 200',
  kubernetes: 'object.status.readyReplicas == 3',
  prometheus: 'size(samples) == 0',
};

/**
 * The rest of what the API server holds against its schema: names, unknown fields, lists without doubles, rules.
 * Who may do it and whether namespace and class exist, only the server knows.
 * @throws InvalidInput
 */
export async function checkAsServer(wanted: NewIncident, cel: Evaluator): Promise<void> {
  const { name, generateName, namespace } = wanted.metadata;
  if (name === undefined && generateName === undefined) throw new InvalidInput('metadata.name: give it one');
  if (name !== undefined) requireName('metadata.name', name, name);
  // What the server puts behind it ends in a letter or a digit.
  else requireName('metadata.generateName', generateName ?? '', `${generateName}x`);
  if (namespace !== undefined && (!SUBDOMAIN.test(namespace) || namespace.includes('.') || namespace.length > 63)) {
    throw new InvalidInput(
      `metadata.namespace: ${shown(namespace)} is no name of a namespace; write small letters, digits and "-", at most 63`,
    );
  }
  checkShape(incidentSpecSchema(), wanted.spec, 'spec');
  await checkRules(incidentSpecSchema(), parseSpec(wanted.spec), 'spec', cel);
}

/** A name as the API server takes it (RFC 1123 subdomain). */
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

function requireName(field: string, value: string, name: string): void {
  if (SUBDOMAIN.test(name) && name.length <= 253) return;
  throw new InvalidInput(
    `${field}: ${shown(value)} is no name of an object; write small letters, digits, "-" and ".", a letter or a digit first and last, at most 253`,
  );
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

/** Fields that nobody knows, and elements that are there twice. */
function checkShape(schema: Schema, value: unknown, at: string): void {
  const {
    'x-kubernetes-list-type': type,
    'x-kubernetes-list-map-keys': keys,
    maxProperties: most,
  } = extensions.parse(schema);
  if (Array.isArray(value)) {
    const seen = new Set<string>();
    for (const [index, element] of value.entries()) {
      const { items } = schema;
      if (items !== undefined) checkShape(items, element, `${at}.${index}`);
      if (type !== 'set' && type !== 'map') continue;
      const fields = record.safeParse(element);
      const identity = type === 'set' ? [element] : keys.map((key) => fields.data?.[key]);
      const same = JSON.stringify(identity);
      if (seen.has(same)) {
        const field = [at, index, ...(type === 'set' ? [] : [keys.join(',')])].join('.');
        throw new InvalidInput(
          `${field}: ${identity.map(shown).join(', ')} is there twice; leave one out, or rename it`,
        );
      }
      seen.add(same);
    }
    return;
  }
  const fields = record.safeParse(value);
  if (!fields.success) return;
  const size = Object.keys(fields.data).length;
  if (size > most) throw new InvalidInput(`${at}: it has ${size} entries; at most ${most} fit`);
  if (schema.properties === undefined) return;
  for (const [name, child] of Object.entries(fields.data)) {
    const known = schema.properties[name];
    if (known === undefined) {
      const names = Object.keys(schema.properties).join(', ');
      throw new InvalidInput(`${at}.${name}: there is no such field; there are: ${names}`);
    }
    checkShape(known, child, `${at}.${name}`);
  }
}

/** The rules of the schema; those that compare with an older object say nothing of a new one. */
async function checkRules(schema: Schema, value: unknown, at: string, cel: Evaluator): Promise<void> {
  if (value === undefined) return;
  for (const { rule, message, optionalOldSelf } of extensions.parse(schema)['x-kubernetes-validations']) {
    const ofNew = optionalOldSelf ? rule.replaceAll('oldSelf.hasValue()', 'false') : rule;
    if (/\boldSelf\b/.test(ofNew)) continue;
    const verdict = await cel.evaluate(ofNew, { self: { json: JSON.stringify(value) } });
    if (verdict.type === 'failed') throw new InvalidInput(`${at}: ${message}`);
  }
  if (Array.isArray(value)) {
    const { items = {} } = schema;
    for (const [index, element] of value.entries()) await checkRules(items, element, `${at}.${index}`, cel);
    return;
  }
  const fields = record.safeParse(value);
  if (!fields.success) return;
  for (const [name, child] of Object.entries(schema.properties ?? {})) {
    await checkRules(child, fields.data[name], `${at}.${name}`, cel);
  }
}
