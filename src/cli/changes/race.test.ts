// What shows that somebody else's write came between the reading of an object and a write to it.

import { describe, expect, it } from 'vitest';
import { findRace, type RaceEvidence } from './race.ts';

const object = (metadata: object) => ({ metadata: { uid: 'u', resourceVersion: '1', ...metadata } });
const entry = (manager: string, time: string, more: object = {}) => ({
  ...{ manager, operation: 'Update', apiVersion: 'v1', time, fieldsV1: {} },
  ...more,
});
const race = (evidence: Partial<RaceEvidence>) =>
  findRace({
    ...{ before: object({}), after: object({ resourceVersion: '2' }), status: 200 },
    ...{ body: undefined, manager: 'kubectl', subresource: undefined },
    ...evidence,
  });
const fields = (...managedFields: object[]) => object({ resourceVersion: '9', managedFields });

describe('a write of somebody else in between', () => {
  it('is not assumed', () => {
    expect(race({})).toBeUndefined();
    expect(race({ before: undefined, status: 201 })).toBeUndefined();
    expect(race({ after: undefined })).toBeUndefined();
    expect(race({ before: object({ generation: 3 }), after: object({ generation: 4 }) })).toBeUndefined();
  });

  it('is seen in the identity of the object', () => {
    expect(race({ after: object({ uid: 'other' }) })).toContain('replaced');
    expect(race({ before: undefined, status: 200 })).toContain('created');
  });

  it('is seen in the version that the write names, which also proves that there was none', () => {
    const body = (resourceVersion: string) => JSON.stringify({ metadata: { resourceVersion } });
    expect(race({ body: body('2') })).toContain('changed');
    const strangers = fields(entry('kubectl-edit', '2026-01-01T00:00:01Z'));
    expect(race({ body: body('1'), after: strangers })).toBeUndefined();
  });

  it('is seen in a generation that grew by more than one', () => {
    expect(race({ before: object({ generation: 3 }), after: object({ generation: 5 }) })).toContain('generation');
  });

  it('is seen in another writer whose entry is new or younger, but not in a status or in an older entry', () => {
    const before = fields(entry('helm', '2026-01-01T00:00:00Z'));
    const written = (...more: object[]) => ({
      before,
      after: fields(entry('kubectl', '2026-01-01T00:00:05Z'), ...more),
    });
    expect(race(written(entry('helm', '2026-01-01T00:00:00Z')))).toBeUndefined();
    expect(race(written(entry('helm', '2026-01-01T00:00:04Z')))).toBe('"helm" changed it just before');
    expect(race(written(entry('argocd', '2026-01-01T00:00:04Z')))).toBe('"argocd" changed it just before');
    expect(race(written(entry('kcm', '2026-01-01T00:00:04Z', { subresource: 'status' })))).toBeUndefined();
    expect(
      race({ ...written(entry('kcm', '2026-01-01T00:00:04Z', { subresource: 'status' })), subresource: 'status' }),
    ).toContain('kcm');
  });

  it('is seen in the fields of another writer who wrote twice in one second', () => {
    const at = '2026-01-01T00:00:00Z';
    const had = { 'f:data': { 'f:a': {}, 'f:b': {} } };
    const before = fields(entry('helm', at, { fieldsV1: had }));
    const later = (fieldsV1: object) => fields(entry('helm', at, { fieldsV1 }));
    expect(race({ before, after: later({ 'f:data': { 'f:b': {} } }) })).toBeUndefined();
    expect(race({ before, after: later({ 'f:data': { 'f:a': {}, 'f:c': {} } }) })).toContain('helm');
  });
});
