// Writes docs/reference.md from the code: resources, error codes and the help of the CLI.

import type { Command } from 'commander';
import * as z from 'zod';
import { customResourceDefinitions } from '../src/api/crd.ts';
import { createProgram } from '../src/cli/program.ts';
import { ERRORS } from '../src/error-codes.ts';

/** As much of a structural schema as a reference shows. */
interface Schema {
  readonly type?: string | undefined;
  readonly description?: string | undefined;
  readonly default?: unknown;
  readonly enum?: readonly unknown[] | undefined;
  readonly minimum?: number | undefined;
  readonly maximum?: number | undefined;
  readonly properties?: Readonly<Record<string, Schema>> | undefined;
  readonly required?: readonly string[] | undefined;
  readonly items?: Schema | undefined;
  readonly additionalProperties?: Schema | boolean | undefined;
}

const schema: z.ZodType<Schema> = z.lazy(() =>
  z.object({
    type: z.string().optional(),
    description: z.string().optional(),
    default: z.unknown().optional(),
    enum: z.array(z.unknown()).optional(),
    minimum: z.number().optional(),
    maximum: z.number().optional(),
    properties: z.record(z.string(), schema).optional(),
    required: z.array(z.string()).optional(),
    items: schema.optional(),
    additionalProperties: z.union([z.boolean(), schema]).optional(),
  }),
);

const definition = z.object({
  spec: z.object({
    names: z.object({ kind: z.string(), plural: z.string(), shortNames: z.array(z.string()).optional() }),
    scope: z.string(),
    versions: z.array(z.object({ name: z.string(), schema: z.object({ openAPIV3Schema: schema }) })).min(1),
  }),
});

function describeType(field: Schema): string {
  if (field.enum !== undefined) return field.enum.map((value) => `\`${String(value)}\``).join(' ');
  if (field.type === 'array') return `list of ${field.items === undefined ? 'anything' : describeType(field.items)}`;
  if (field.type === 'object' && typeof field.additionalProperties === 'object') return 'map';
  return field.type ?? 'anything';
}

/** One table row per field, depth first, with dotted paths. */
function rows(field: Schema, prefix: string): string[] {
  return Object.entries(field.properties ?? {}).flatMap(([name, child]) => {
    const here = `${prefix}${name}`;
    const range = [
      child.minimum === undefined ? '' : `≥ ${child.minimum}`,
      child.maximum === undefined ? '' : `≤ ${child.maximum}`,
    ];
    const notes = [
      child.description ?? '',
      child.default === undefined || typeof child.default === 'object' ? '' : `Default \`${String(child.default)}\`.`,
      range.filter((part) => part !== '' && !part.includes(String(Number.MAX_SAFE_INTEGER))).join(', '),
    ];
    const required = field.required?.includes(name) === true && child.default === undefined ? ' **required**' : '';
    const cell = notes
      .filter((note) => note !== '')
      .join(' ')
      .replaceAll('|', '\\|')
      .replaceAll('\n', ' ');
    const below =
      child.type === 'array' && child.items !== undefined ? rows(child.items, `${here}[].`) : rows(child, `${here}.`);
    return [`| \`${here}\`${required} | ${describeType(child).replaceAll('|', '\\|')} | ${cell} |`, ...below];
  });
}

function resources(): string {
  return Object.values(customResourceDefinitions())
    .map((raw) => definition.parse(raw).spec)
    .map(({ names, scope, versions }) => {
      const top = versions[0]?.schema.openAPIV3Schema.properties ?? {};
      const parts = (['spec', 'status'] as const).flatMap((part) => {
        const fields = top[part];
        return fields === undefined
          ? []
          : [`### ${names.kind} ${part}`, '', '| field | type | |', '| --- | --- | --- |', ...rows(fields, ''), ''];
      });
      const short = names.shortNames === undefined ? '' : `, short ${names.shortNames.join(', ')}`;
      return [
        `## ${names.kind}`,
        '',
        `\`oplab.dev/${versions[0]?.name}\`, ${scope}, plural ${names.plural}${short}.`,
        '',
        ...parts,
      ].join('\n');
    })
    .join('\n');
}

/** The catalogue, as the code has it. */
function errors(): string {
  return [
    '## Error codes',
    '',
    'Conditions, logs, the audit trail and the CLI show the same code. The status is that of an HTTP answer, the exit code that of a',
    'command. Retry says whether the same request may succeed later without a change.',
    '',
    '| code | meaning | status | exit code | retry |',
    '| --- | --- | --- | --- | --- |',
    ...Object.entries(ERRORS)
      .map(
        ([code, { meaning, status, exitCode, retry }]) =>
          `| \`${code}\` | ${meaning} | ${status} | ${exitCode} | ${retry ? 'yes' : 'no'} |`,
      )
      .sort(),
    '',
  ].join('\n');
}

function commands(command: Command, above: string): string[] {
  const name = `${above} ${command.name()}`.trim();
  const children = command.commands.flatMap((child) => commands(child, name));
  if (command.commands.length > 0) return children;
  command.configureHelp({ helpWidth: 100 });
  let help = '';
  command.configureOutput({
    writeOut: (text) => (help += text),
    getOutHelpWidth: () => 100,
    getOutHasColors: () => false,
  });
  command.outputHelp();
  return [`### ${name}`, '', '```text', help.trimEnd(), '```', ''];
}

/** The whole page. */
export async function reference(): Promise<string> {
  return [
    '<!-- Generated by `npm run generate`; do not edit. -->',
    '# Reference',
    '',
    'Values of the chart: [helm/oplab/values.yaml](../helm/oplab/values.yaml), each with its comment.',
    '',
    resources(),
    '## CLI',
    '',
    ...commands(createProgram(), ''),
    errors(),
  ].join('\n');
}
