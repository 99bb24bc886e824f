// Builds the CRDs from the zod schemas: structural OpenAPI v3 with CEL rules and printer columns.

import * as z from 'zod';
import { agentClassSpec, agentClassStatus } from './agent-class.ts';
import { namespaceRule } from './check.ts';
import { API_VERSION, GROUP, VERSION } from './group.ts';
import { incidentSpec } from './incident.ts';
import { incidentStatus } from './incident-status.ts';
import { SOAK_FITS } from './limits.ts';
import { monitorSpec, monitorStatus } from './monitor.ts';

/** A node of a structural schema. */
export interface Schema {
  [key: string]: unknown;
  type?: string;
  description?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
  additionalProperties?: Schema;
  required?: string[];
}

interface Rule {
  readonly rule: string;
  readonly message: string;
  readonly fieldPath?: string;
  readonly optionalOldSelf?: boolean;
}

interface Column {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date';
  readonly jsonPath: string;
  readonly description?: string;
  readonly priority?: 1;
}

interface Definition {
  readonly plural: string;
  readonly kind: string;
  readonly shortName: string;
  readonly categories?: readonly string[];
  readonly scope: 'Namespaced' | 'Cluster';
  readonly description: string;
  readonly columns: readonly Column[];
  readonly spec: Schema;
  readonly status?: Schema;
  readonly rules?: readonly Rule[];
}

/** The fields of an Incident's spec that may change after creation. */
const MUTABLE = ['suspend', 'cancel'];

const condition = (type: string) => `.status.conditions[?(@.type=="${type}")].status`;

function incidentDefinition(): Definition {
  const spec = structural(incidentSpec);
  spec['x-kubernetes-validations'] = [
    ...Object.keys(spec.properties ?? {})
      .filter((field) => !MUTABLE.includes(field))
      .map((field) => immutable(field, spec.required?.includes(field) ?? false)),
    {
      rule: '!(has(oldSelf.cancel) && oldSelf.cancel) || (has(self.cancel) && self.cancel)',
      message: 'cancel cannot be unset: a cancelled Incident stays cancelled; create another Incident',
      fieldPath: '.cancel',
    },
    // Checked on creation only: an Incident that is older than the rule must still allow a cancel.
    { ...SOAK_FITS, rule: `oldSelf.hasValue() || ${SOAK_FITS.rule}`, optionalOldSelf: true },
    {
      rule: `!has(self.targetNamespaces) || self.verify.checks.all(c, ${namespaceRule('c', 'self.targetNamespaces')})`,
      message: 'verify.checks: the namespace of each check must be in targetNamespaces; add it there',
      fieldPath: '.verify',
    },
  ] satisfies Rule[];
  return {
    plural: 'incidents',
    kind: 'Incident',
    shortName: 'inc',
    categories: ['all'],
    scope: 'Namespaced',
    description: 'Describes something that is wrong. An agent repairs it, and checks verify the repair.',
    columns: [
      { name: 'Phase', type: 'string', jsonPath: '.status.phase' },
      { name: 'Severity', type: 'string', jsonPath: '.spec.severity' },
      {
        name: 'Attempt',
        type: 'integer',
        jsonPath: '.status.attempts[-1:].number',
        description: 'Number of the latest attempt.',
      },
      { name: 'Claim', type: 'string', jsonPath: '.status.claim.outcome', description: 'What the agent claims.' },
      {
        name: 'Verified',
        type: 'string',
        jsonPath: condition('Verified'),
        description: 'Whether the checks confirm it.',
      },
      { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
      { name: 'Message', type: 'string', jsonPath: '.status.message', priority: 1 },
      { name: 'Class', type: 'string', jsonPath: '.spec.agentClassName', priority: 1 },
      {
        name: 'Cost',
        type: 'integer',
        jsonPath: '.status.usage.costMilliUSD',
        description: 'Cost in thousandths of a US dollar.',
        priority: 1,
      },
    ],
    spec,
    status: structural(incidentStatus),
    rules: [
      {
        // At the root: a rule on a field is not evaluated when the field, or what contains it, goes.
        rule:
          '!has(oldSelf.status) || !has(oldSelf.status.audit) || !has(oldSelf.status.audit.sealedHeadHash) || ' +
          '(has(self.status) && has(self.status.audit) && has(self.status.audit.sealedHeadHash))',
        message: 'status.audit.sealedHeadHash cannot be removed',
      },
    ],
  };
}

function agentClassDefinition(): Definition {
  return {
    plural: 'agentclasses',
    kind: 'AgentClass',
    shortName: 'agc',
    scope: 'Cluster',
    description:
      'Defines what agents may use and do: models, images, permissions in the target namespaces, upper bounds on limits.',
    columns: [
      { name: 'Mode', type: 'string', jsonPath: '.spec.mode' },
      { name: 'Model', type: 'string', jsonPath: '.spec.model.name' },
      {
        name: 'Reachable',
        type: 'string',
        jsonPath: '.status.conditions[?(@.type=="ModelReachable")].status',
        description: 'Whether the model API has the models of the class.',
      },
      {
        name: 'Reason',
        type: 'string',
        jsonPath: '.status.conditions[?(@.type=="ModelReachable")].reason',
        description: 'Why the models can be reached, or why not.',
      },
      {
        name: 'Today',
        type: 'integer',
        jsonPath: '.status.day.costMilliUSD',
        description: 'Cost of the last day with a model call, in thousandths of a US dollar.',
        priority: 1,
      },
      { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
    ],
    spec: structural(agentClassSpec),
    status: structural(agentClassStatus),
    rules: [
      {
        rule: 'size(self.metadata.name) <= 50',
        message: 'metadata.name: must be at most 50 characters, because names of other objects contain it',
      },
    ],
  };
}

function monitorDefinition(): Definition {
  return {
    plural: 'monitors',
    kind: 'Monitor',
    shortName: 'mon',
    scope: 'Namespaced',
    description:
      'Runs a check at an interval. Opens an Incident when the check fails, and clears the alarm when it holds.',
    columns: [
      { name: 'State', type: 'string', jsonPath: '.status.state' },
      { name: 'Severity', type: 'string', jsonPath: '.spec.severity' },
      {
        name: 'Incident',
        type: 'string',
        jsonPath: '.status.alarms[*].incident',
        description: 'Incidents of the current alarms.',
      },
      {
        name: 'Seen',
        type: 'date',
        jsonPath: '.status.lastObservedTime',
        description: 'Time of the last successful observation.',
      },
      { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
      { name: 'Message', type: 'string', jsonPath: '.status.message', priority: 1 },
    ],
    spec: structural(monitorSpec),
    status: structural(monitorStatus),
    rules: [
      {
        rule: 'size(self.metadata.name) <= 50',
        message: 'metadata.name: must be at most 50 characters, because the names of its Incidents begin with it',
      },
    ],
  };
}

/** A rule that forbids a field to change, appear or disappear after creation. */
function immutable(field: string, required: boolean): Rule {
  const rule = required
    ? `self.${field} == oldSelf.${field}`
    : `has(self.${field}) == has(oldSelf.${field}) && (!has(self.${field}) || self.${field} == oldSelf.${field})`;
  return {
    rule,
    message: `${field} cannot be changed: only suspend and cancel can change in the spec of an Incident; create another Incident`,
    fieldPath: `.${field}`,
  };
}

/**
 * The structural schema of what a client may send. Defaults are kept; integers are 64 bits wide.
 */
export function structural(schema: z.ZodType): Schema {
  return tidy(z.toJSONSchema(schema, { target: 'openapi-3.0', io: 'input', unrepresentable: 'throw' }));
}

function tidy(node: object): Schema {
  const tidied: Schema = {};
  for (const [key, value] of Object.entries(node)) {
    if (key === 'properties') {
      tidied.properties = Object.fromEntries(Object.entries<unknown>(value).map(tidyEntry));
    } else if (key === 'items' || (key === 'additionalProperties' && typeof value === 'object')) {
      tidied[key] = tidy(value);
    } else if (key !== 'additionalProperties' && key !== '$schema') {
      // additionalProperties: false is not structural. The API server prunes unknown fields, or
      // warns about them.
      tidied[key] = value;
    }
  }
  if (tidied['x-kubernetes-int-or-string'] === true) {
    // The only union that a structural schema may contain, and the only way to write it.
    return { ...tidied, anyOf: [{ type: 'integer' }, { type: 'string' }] };
  }
  if (tidied.type === 'integer') {
    tidied.format = 'int64';
    if (tidied.minimum === Number.MIN_SAFE_INTEGER) delete tidied.minimum;
    if (tidied.maximum === Number.MAX_SAFE_INTEGER) delete tidied.maximum;
  }
  return tidied;
}

function tidyEntry([name, child]: [string, unknown]): [string, Schema] {
  if (typeof child !== 'object' || child === null) throw new TypeError(`property ${name} has no schema`);
  return [name, tidy(child)];
}

function buildDefinition(definition: Definition): object {
  const { plural, kind, shortName, categories, scope, description, columns, spec, status, rules } = definition;
  const root: Schema = {
    type: 'object',
    description,
    required: ['spec'],
    properties: {
      apiVersion: { type: 'string', description: `${API_VERSION}.` },
      kind: { type: 'string', description: `${kind}.` },
      metadata: { type: 'object' },
      spec,
      ...(status === undefined ? {} : { status }),
    },
    ...(rules === undefined ? {} : { 'x-kubernetes-validations': rules }),
  };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${GROUP}`, labels: { 'app.kubernetes.io/name': 'oplab' } },
    spec: {
      group: GROUP,
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        shortNames: [shortName],
        ...(categories === undefined ? {} : { categories }),
      },
      scope,
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          additionalPrinterColumns: columns,
          ...(status === undefined ? {} : { subresources: { status: {} } }),
          schema: { openAPIV3Schema: root },
        },
      ],
    },
  };
}

/** The schema of an Incident's spec, including its rules. */
export function incidentSpecSchema(): Schema {
  return incidentDefinition().spec;
}

/** All definitions by file name, in the form that the API server accepts. */
export function customResourceDefinitions(): Record<string, object> {
  return {
    [`${GROUP}_incidents.yaml`]: buildDefinition(incidentDefinition()),
    [`${GROUP}_agentclasses.yaml`]: buildDefinition(agentClassDefinition()),
    [`${GROUP}_monitors.yaml`]: buildDefinition(monitorDefinition()),
  };
}
