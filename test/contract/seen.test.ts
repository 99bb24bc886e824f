// What the real API was seen to send, against the recordings: a member that no recording has is new.

import { describe, expect, it } from 'vitest';
import { RECORDINGS } from './recordings.ts';
import { findStale, memberPaths, readNewest, shapeOf } from './shape.ts';

const newest = await readNewest();
const events = Object.values(RECORDINGS)
  .flat()
  .flatMap((recorded) => (typeof recorded.events === 'string' ? [] : recorded.events))
  .filter((event): event is { type: string } => 'type' in event);
const known = new Set(events.flatMap((event) => memberPaths(event).map((member) => `${event.type}: ${member}`)));

describe.runIf(newest !== undefined)('the newest record of the real API', () => {
  it('has nothing that no recording has', () => {
    const seen = (newest?.events ?? []).flatMap((event) =>
      memberPaths(event).map((member) => `${event.type}: ${member}`),
    );
    // In a record, the values that belong to the structure are quoted.
    const members = new Set(seen.map((member) => member.replaceAll('"', '')));
    expect([...members].filter((member) => !known.has(member))).toEqual([]);
  });
});

// The tags and branches of releases.
describe.runIf(/^(?:v\d|release)/.test(process.env.GITHUB_REF_NAME ?? ''))('a release', () => {
  it('is made with a record of the real API that is not old', () => {
    expect(findStale(newest, new Date())).toBeUndefined();
  });
});

describe('a record', () => {
  it('has the structure of an event, and none of its text', () => {
    const event = { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'secret' }, x: [null] };
    const shape = shapeOf(event);
    expect(shape).toEqual({
      ...{ type: '"content_block_delta"', index: 'number', x: ['null'] },
      delta: { type: '"text_delta"', text: 'string' },
    });
    expect(JSON.stringify(shape)).not.toContain('secret');
    expect(memberPaths(shape)).toContain('delta.text');
  });

  it('is too old after 90 days, and missing if there is none', () => {
    const now = new Date('2026-11-27T00:00:00Z');
    expect(findStale({ date: '2026-09-01' }, now)).toBeUndefined();
    expect(findStale({ date: '2026-08-01' }, now)).toMatch(/118 days ago: run npm run test:contract/);
    expect(findStale(undefined, now)).toMatch(/never asked/);
  });
});
