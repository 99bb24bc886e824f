// The generated CustomResourceDefinitions: up to date, and readable for those who write the objects.

import { describe, expect, it } from 'vitest';
import { agentClassSpec } from './agent-class.ts';
import { customResourceDefinitions, type Schema, structural } from './crd.ts';
import { incidentSpec } from './incident.ts';

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
  ])('describe every field that the author of an %s writes', (_kind, schema) => {
    expect(undescribed(structural(schema), 'spec')).toEqual([]);
  });

  it('make every field of an Incident’s spec immutable but for suspend and cancel', () => {
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
