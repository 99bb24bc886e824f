// What `oplab incident create` does.

import { readFile } from 'node:fs/promises';
import { text as textOf } from 'node:stream/consumers';
import type { Command } from 'commander';
import { parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { API_VERSION } from '../../api/group.ts';
import { severity } from '../../api/incident.ts';
import { Cel } from '../../checks/cel.ts';
import { InvalidInput, messageOf } from '../../errors.ts';
import { httpCheckOf, objectCheckOf, prometheusCheckOf } from '../check-flags.ts';
import { connectionFlags, type Environment, flagsOf } from '../environment.ts';
import type { NewIncident } from '../incidents.ts';
import { checkAsServer, checkExpressions, issueText, parseSpec } from '../manifest-check.ts';
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

/** What describes an Incident, and so cannot stand beside a file that does. */
const DESCRIBING = [
  ...['summary', 'description', 'severity', 'class', 'target', 'httpCheck', 'objectCheck', 'prometheusCheck'],
  ...['soakSeconds', 'timeoutSeconds', 'maxTurns', 'maxTokens', 'maxCostMilliUsd', 'attempts', 'label', 'annotation'],
] as const;

/** Creates Incidents, or tries it. @throws InvalidInput, NotAllowed, NotFound */
export async function createIncidents(
  environment: Environment,
  command: Command,
  name: string | undefined,
): Promise<void> {
  const { output } = environment;
  const given = flagsOf(command, flags);
  if (given.allNamespaces) {
    throw new InvalidInput('-A, --all-namespaces: an Incident is made in one namespace; name it with -n');
  }
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
        ? `Incident ${full} created; follow it: oplab incident watch ${full}`
        : `Incident ${full} would be created (dry run by the ${given.dryRun})`,
    );
  }
}

/** @throws InvalidInput */
function fromFlags(given: Flags, text: string | undefined): NewIncident {
  if (given.summary === undefined) throw new InvalidInput('say what is wrong with --summary, or give a file with -f');
  const checks = [
    ...given.httpCheck.map(httpCheckOf),
    ...given.objectCheck.map(objectCheckOf),
    ...given.prometheusCheck.map(prometheusCheckOf),
  ];
  if (checks.length === 0) {
    throw new InvalidInput('say how to tell that it is fixed: --http-check, --object-check or --prometheus-check');
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
      alertLabels: mapOf(given.label, '--label'),
      alertAnnotations: mapOf(given.annotation, '--annotation'),
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
    throw new InvalidInput(`"${text}" is no name: write NAME or NAMESPACE/NAME`);
  }
  return second === undefined ? { name: first } : { namespace: first, name: second };
}

/** @throws InvalidInput */
function mapOf(pairs: readonly string[], flag: string): Record<string, string> | undefined {
  if (pairs.length === 0) return undefined;
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw new InvalidInput(`${flag} ${pair}: write NAME=VALUE`);
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
      'with -f the file describes the Incident: leave out its name, and flags that describe it too',
    );
  }
  let source: string;
  try {
    source = path === '-' ? await textOf(process.stdin) : await readFile(path, 'utf8');
  } catch (error) {
    throw new InvalidInput(`${path} cannot be read: ${messageOf(error)}`, error);
  }
  const where = path === '-' ? 'the input' : path;
  const documents = parseAllDocuments(source);
  const found = ('empty' in documents ? [] : documents).flatMap((document): NewIncident[] => {
    const [problem] = document.errors;
    if (problem !== undefined) throw new InvalidInput(`${where} is no YAML: ${problem.message.split('\n')[0]}`);
    const raw: unknown = document.toJS();
    if (raw === null) return [];
    const parsed = manifest.safeParse(raw, { reportInput: true });
    if (!parsed.success) throw new InvalidInput(`${where}: ${issueText(parsed.error)}`);
    const { apiVersion, kind, metadata, spec } = parsed.data;
    return [{ apiVersion, kind, metadata, spec: given.suspend ? { ...spec, suspend: true } : spec }];
  });
  if (found.length === 0) throw new InvalidInput(`${where} holds no Incident`);
  return found;
}

/** All of them, before the first is sent. @throws InvalidInput */
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

/** Puts the namespace in, and looks at what can be told here; the rest is the API server's to say. @throws InvalidInput */
async function complete(environment: Environment, given: Flags, one: NewIncident, cel: Cel): Promise<NewIncident> {
  const { namespace } = one.metadata;
  if (namespace !== undefined && given.namespace !== undefined && namespace !== given.namespace) {
    throw new InvalidInput(`the Incident says namespace ${namespace}, the flag says ${given.namespace}`);
  }
  const metadata = { ...one.metadata, namespace: namespace ?? environment.namespace(given) };
  const complete = { ...one, metadata };
  const { verify } = parseSpec(one.spec);
  if (given.dryRun === 'client') await checkAsServer(complete, cel);
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
