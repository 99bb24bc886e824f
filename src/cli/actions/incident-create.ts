// The command `oplab incident create`.

import { readFile } from 'node:fs/promises';
import { text as readText } from 'node:stream/consumers';
import type { Command } from 'commander';
import { parseAllDocuments } from 'yaml';
import * as z from 'zod';
import { API_VERSION } from '../../api/group.ts';
import { severity } from '../../api/incident.ts';
import { Cel } from '../../checks/cel.ts';
import { InvalidInput } from '../../errors.ts';
import { describeFileProblem } from '../../input/file.ts';
import { parseInput } from '../../input/parse-input.ts';
import { parseHttpCheck, parseObjectCheck, parsePrometheusCheck } from '../check-flags.ts';
import { connectionFlags, type Environment, parseFlags } from '../environment.ts';
import type { NewIncident } from '../incidents.ts';
import { checkAsServer, checkExpressions, parseSpec } from '../manifest-check.ts';
import { writeStructured } from '../structured.ts';

const list = z.array(z.string()).default([]);
const whole = z.coerce.number().int().optional();
const flags = connectionFlags.extend({
  filename: z.string().optional(),
  summary: z.string().optional(),
  description: z.string().optional(),
  severity: severity.optional(),
  class: z.string().optional(),
  target: list,
  httpCheck: list,
  objectCheck: list,
  prometheusCheck: list,
  soakSeconds: whole,
  timeoutSeconds: whole,
  maxTurns: whole,
  maxTokens: whole,
  maxCostMilliUsd: whole,
  attempts: whole,
  label: list,
  annotation: list,
  suspend: z.boolean().default(false),
  dryRun: z.enum(['client', 'server']).optional(),
  output: z.enum(['yaml', 'json', 'name']).default('yaml'),
});
type Flags = z.infer<typeof flags>;

/** The flags that describe an Incident, which cannot be combined with a file that does. */
const DESCRIBING = [
  'summary',
  'description',
  'severity',
  'class',
  'target',
  'httpCheck',
  'objectCheck',
  'prometheusCheck',
  'soakSeconds',
  'timeoutSeconds',
  'maxTurns',
  'maxTokens',
  'maxCostMilliUsd',
  'attempts',
  'label',
  'annotation',
] as const;

/** Creates Incidents, or only checks them (dry run). @throws InvalidInput, NotAllowed, NotFound */
export async function createIncidents(
  environment: Environment,
  command: Command,
  name: string | undefined,
): Promise<void> {
  const { output } = environment;
  const given = parseFlags(command, flags);
  const wanted = given.filename === undefined ? [fromFlags(given, name)] : await fromFile(given, name);
  const checked = await completed(environment, given, wanted);
  for (const one of checked) {
    const made =
      given.dryRun === 'client'
        ? one
        : await environment.incidents(given).create(one, { dryRun: given.dryRun === 'server' });
    await show(environment, given, made);
    const { namespace = '', name: called, generateName = '' } = made.metadata;
    const full = `${namespace}/${called ?? `${generateName}…`}`;
    output.note(
      given.dryRun === undefined
        ? `Incident ${full} created. To follow it: oplab incident watch ${full}`
        : `Incident ${full} would be created (${given.dryRun} dry run)`,
    );
  }
}

/** @throws InvalidInput */
function fromFlags(given: Flags, text: string | undefined): NewIncident {
  if (given.summary === undefined)
    throw new InvalidInput('describe the problem with --summary, or name a file with -f');
  const checks = [
    ...given.httpCheck.map(parseHttpCheck),
    ...given.objectCheck.map(parseObjectCheck),
    ...given.prometheusCheck.map(parsePrometheusCheck),
  ];
  if (checks.length === 0) {
    throw new InvalidInput(
      'at least one check is required to verify the repair: --http-check, --object-check or --prometheus-check',
    );
  }
  const { timeoutSeconds, maxTurns, maxTokens, maxCostMilliUsd: maxCostMilliUSD, attempts } = given;
  const limits = present({ timeoutSeconds, maxTurns, maxTokens, maxCostMilliUSD, attempts });
  return {
    apiVersion: API_VERSION,
    kind: 'Incident',
    metadata: named(text, given.summary),
    spec: present({
      summary: given.summary,
      description: given.description,
      severity: given.severity,
      agentClassName: given.class,
      targetNamespaces: given.target.length === 0 ? undefined : given.target,
      alertLabels: parsePairs(given.label, '--label'),
      alertAnnotations: parsePairs(given.annotation, '--annotation'),
      verify: present({ soakSeconds: given.soakSeconds, checks }),
      limits: Object.keys(limits).length === 0 ? undefined : limits,
      suspend: given.suspend || undefined,
    }),
  };
}

function present(members: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}

function named(text: string | undefined, summary: string): NewIncident['metadata'] {
  if (text === undefined) {
    const words = summary.toLowerCase().match(/[a-z0-9]+/g) ?? ['incident'];
    return { generateName: `${words.join('-').slice(0, 40).replace(/-+$/, '')}-` };
  }
  const [first = '', second, ...more] = text.split('/');
  if (first === '' || second === '' || more.length > 0) {
    throw new InvalidInput(`"${text}" is not a valid name; use NAME or NAMESPACE/NAME`);
  }
  return second === undefined ? { name: first } : { namespace: first, name: second };
}

/** @throws InvalidInput */
function parsePairs(pairs: readonly string[], flag: string): Record<string, string> | undefined {
  if (pairs.length === 0) return undefined;
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw new InvalidInput(`${flag} ${pair}: use the form NAME=VALUE`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

const manifest = z.looseObject({
  apiVersion: z.literal(API_VERSION, `must be ${API_VERSION}`),
  kind: z.literal('Incident', 'must be Incident'),
  metadata: z.looseObject({
    name: z.string().optional(),
    generateName: z.string().optional(),
    namespace: z.string().optional(),
  }),
  spec: z.record(z.string(), z.unknown()),
});

/** @throws InvalidInput */
async function fromFile(given: Flags, name: string | undefined): Promise<NewIncident[]> {
  const path = given.filename ?? '-';
  const said = DESCRIBING.filter((flag) => {
    const value = given[flag];
    return Array.isArray(value) ? value.length > 0 : value !== undefined;
  });
  if (said.length > 0 || name !== undefined) {
    throw new InvalidInput(
      'with -f, the file describes the Incident; omit the name argument and the flags that describe it',
    );
  }
  let source: string;
  try {
    source = path === '-' ? await readText(process.stdin) : await readFile(path, 'utf8');
  } catch (error) {
    throw new InvalidInput(`-f: ${describeFileProblem(path === '-' ? 'standard input' : path, error)}`, error);
  }
  const where = path === '-' ? 'standard input' : path;
  const documents = parseAllDocuments(source);
  const found = ('empty' in documents ? [] : documents).flatMap((document): NewIncident[] => {
    const [problem] = document.errors;
    if (problem !== undefined)
      throw new InvalidInput(`${where} is not valid YAML: ${problem.message.split('\n')[0]?.replace(/:$/, '')}`);
    const raw: unknown = document.toJS();
    if (raw === null) return [];
    const { apiVersion, kind, metadata, spec } = parseInput(manifest, raw, where, { values: 'shown' });
    return [{ apiVersion, kind, metadata, spec: given.suspend ? { ...spec, suspend: true } : spec }];
  });
  if (found.length === 0) throw new InvalidInput(`${where} contains no Incident`);
  return found;
}

/** Completes and checks all Incidents before the first one is sent. @throws InvalidInput */
async function completed(environment: Environment, given: Flags, wanted: NewIncident[]): Promise<NewIncident[]> {
  const cel = new Cel();
  try {
    const checked: NewIncident[] = [];
    for (const one of wanted) checked.push(await complete(environment, given, one, cel));
    return checked;
  } finally {
    await cel.close();
  }
}

/**
 * Sets the namespace and checks what can be checked locally; the API server checks the rest.
 * @throws InvalidInput
 */
async function complete(environment: Environment, given: Flags, one: NewIncident, cel: Cel): Promise<NewIncident> {
  const { namespace } = one.metadata;
  if (namespace !== undefined && given.namespace !== undefined && namespace !== given.namespace) {
    throw new InvalidInput(
      `metadata.namespace is ${namespace}, but --namespace is ${given.namespace}; remove one, or make them equal`,
    );
  }
  const metadata = { ...one.metadata, namespace: namespace ?? environment.namespace(given) };
  const complete = { ...one, metadata };
  if (given.dryRun === 'client') await checkAsServer(complete, cel);
  const { verify } = parseSpec(one.spec);
  await checkExpressions(verify.checks, cel);
  return complete;
}

async function show({ output }: Environment, given: Flags, made: NewIncident): Promise<void> {
  const { apiVersion, kind, spec, metadata } = made;
  const { name, generateName, namespace, uid, labels, annotations, creationTimestamp } = metadata;
  if (given.output === 'name') {
    output.line(`incident.oplab.dev/${name ?? generateName}`);
    return;
  }
  const shown = present({ name, generateName: name === undefined ? generateName : undefined, namespace, uid });
  await writeStructured(output, given.output, {
    apiVersion,
    kind,
    metadata: { ...shown, ...present({ creationTimestamp, labels, annotations }) },
    spec,
  });
}
