// Finds what the API server or the controller would reject in a new Incident, without a cluster.

import { z } from 'zod';
import type { Check } from '../api/check.ts';
import { incidentSpecSchema, type Schema } from '../api/crd.ts';
import { incident } from '../api/incident.ts';
import type { Cel } from '../checks/cel.ts';
import { InvalidInput } from '../errors.ts';
import type { NewIncident } from './incidents.ts';

type Evaluator = Pick<Cel, 'syntaxError' | 'evaluate'>;

/** The part of a value that an error shows. */
function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

/** The first issue that a schema reports, with its field and value. */
export function issueText({ issues: [issue] }: z.ZodError): string {
  const { path = [], message = '', input } = issue ?? {};
  const value = input === undefined || typeof input === 'object' ? '' : ` (got ${shown(input)})`;
  return `${path.join('.')}: ${message}${value}`;
}

/** The spec with its defaults. @throws InvalidInput if it does not match the schema */
export function parseSpec(spec: object): z.infer<typeof incident.shape.spec> {
  const parsed = incident.shape.spec.safeParse(spec, { reportInput: true });
  if (!parsed.success) throw new InvalidInput(`spec.${issueText(parsed.error)}`);
  return parsed.data;
}

/**
 * Checks for CEL that the controller would reject, before an Incident is created. @throws
 * InvalidInput
 */
export async function checkExpressions(checks: readonly Check[], cel: Evaluator): Promise<void> {
  for (const [index, check] of checks.entries()) {
    for (const kind of ['http', 'kubernetes', 'prometheus'] as const) {
      const expression = check[kind]?.cel;
      const problem = expression === undefined ? undefined : await cel.syntaxError(expression);
      if (problem === undefined) continue;
      throw new InvalidInput(
        `spec.verify.checks.${index}.${kind}.cel: ${shown(expression)} is not a valid CEL expression for a check: ${problem}; write an expression that is true when the check passes, for example ${EXAMPLES[kind]}`,
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
 * The remaining validation of the API server: names, unknown fields, duplicates in lists, CEL
 * rules. Permissions, and whether the namespace and the AgentClass exist, only the server can
 * check.
 * @throws InvalidInput
 */
export async function checkAsServer(wanted: NewIncident, cel: Evaluator): Promise<void> {
  const { name, generateName, namespace } = wanted.metadata;
  if (name === undefined && generateName === undefined) throw new InvalidInput('metadata.name: must be set');
  if (name !== undefined) requireName('metadata.name', name, name);
  // The suffix that the server appends ends in a letter or a digit.
  else requireName('metadata.generateName', generateName ?? '', `${generateName}x`);
  if (namespace !== undefined && (!SUBDOMAIN.test(namespace) || namespace.includes('.') || namespace.length > 63)) {
    throw new InvalidInput(
      `metadata.namespace: ${shown(namespace)} is not a valid namespace name; use at most 63 lowercase letters, digits and "-"`,
    );
  }
  checkShape(incidentSpecSchema(), wanted.spec, 'spec');
  await checkRules(incidentSpecSchema(), parseSpec(wanted.spec), 'spec', cel);
}

/** The names that the API server accepts (RFC 1123 subdomains). */
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

function requireName(field: string, value: string, name: string): void {
  if (SUBDOMAIN.test(name) && name.length <= 253) return;
  throw new InvalidInput(
    `${field}: ${shown(value)} is not a valid object name; use at most 253 lowercase letters, digits, "-" and ".", and start and end with a letter or a digit`,
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

/** Rejects unknown fields, duplicate elements and too many properties. @throws InvalidInput */
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
        throw new InvalidInput(`${field}: ${identity.map(shown).join(', ')} is a duplicate; remove or rename it`);
      }
      seen.add(same);
    }
    return;
  }
  const fields = record.safeParse(value);
  if (!fields.success) return;
  const size = Object.keys(fields.data).length;
  if (size > most) throw new InvalidInput(`${at}: must have at most ${most} entries, not ${size}`);
  if (schema.properties === undefined) return;
  for (const [name, child] of Object.entries(fields.data)) {
    const known = schema.properties[name];
    if (known === undefined) {
      const names = Object.keys(schema.properties).join(', ');
      throw new InvalidInput(`${at}.${name}: unknown field; valid fields: ${names}`);
    }
    checkShape(known, child, `${at}.${name}`);
  }
}

/** Checks the schema's CEL rules, except those that compare with an older object. */
async function checkRules(schema: Schema, value: unknown, at: string, cel: Evaluator): Promise<void> {
  if (value === undefined) return;
  for (const { rule, message, optionalOldSelf } of extensions.parse(schema)['x-kubernetes-validations']) {
    const ofNew = optionalOldSelf ? rule.replaceAll('oldSelf.hasValue()', 'false') : rule;
    if (/\boldSelf\b/.test(ofNew)) continue;
    const result = await cel.evaluate(ofNew, { self: { json: JSON.stringify(value) } });
    if (result.type === 'failed') throw new InvalidInput(`${at}: ${message}`);
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
