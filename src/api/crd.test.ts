// The generated CRDs describe every field of a spec and protect those that must not change.

import { describe, expect, it } from 'vitest';
import { agentClassSpec } from './agent-class.ts';
import { customResourceDefinitions, type Schema, structural } from './crd.ts';
import { incidentSpec } from './incident.ts';
import { incidentStatus } from './incident-status.ts';
import { monitorSpec, monitorStatus } from './monitor.ts';

/** Paths of all fields below a schema that have no description. */
function undescribed(schema: Schema, path: string): string[] {
  const children = [...Object.entries(schema.properties ?? {}), ...Object.entries(schema.items?.properties ?? {})];
  return children.flatMap(([name, child]) => [
    ...(child.description === undefined ? [`${path}.${name}`] : []),
    ...undescribed(child, `${path}.${name}`),
  ]);
}

describe('the definitions', () => {
  it.each([
    ['Incident', incidentSpec],
    ['AgentClass', agentClassSpec],
    ['Monitor', monitorSpec],
  ])('describe every field of the spec of %s', (_kind, schema) => {
    expect(undescribed(structural(schema), 'spec')).toEqual([]);
  });

  it.each([
    ['Incident', incidentStatus],
    ['Monitor', monitorStatus],
  ])('describe every field of the status of %s', (_kind, schema) => {
    expect(undescribed(structural(schema), 'status')).toEqual([]);
  });

  it('make every field of the spec of an Incident immutable, except suspend and cancel', () => {
    const [incidents] = Object.values(customResourceDefinitions());
    const rules = JSON.stringify(incidents);
    for (const field of Object.keys(structural(incidentSpec).properties ?? {})) {
      expect(rules.includes(`${field} cannot be changed`), field).toBe(!['suspend', 'cancel'].includes(field));
    }
  });

  it('forbid no additional properties: the API server prunes them and warns', () => {
    expect(JSON.stringify(customResourceDefinitions())).not.toContain('"additionalProperties":false');
  });
});
