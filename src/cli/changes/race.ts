// Whether somebody else wrote to an object between the moment it was read and a write to it. Pure.

import { isEqual } from '../../audit/object-diff.ts';
import { isMap, type JsonMap, member, parseObject, textMember } from '../../audit/object-view.ts';

export interface RaceEvidence {
  readonly before: JsonMap | undefined;
  readonly after: JsonMap | undefined;
  /** The status of the answer. */
  readonly status: number;
  /** The body of the write, as recorded. */
  readonly body: string | undefined;
  /** The name under which the API server notes what the write changed. */
  readonly manager: string;
  readonly subresource: string | undefined;
}

/** What shows that somebody else's write came between; undefined if nothing does. */
export function findRace({ before, after, status, body, manager, subresource }: RaceEvidence): string | undefined {
  if (after === undefined) return undefined;
  if (before === undefined) return status === 201 ? undefined : 'somebody else created it just before';
  if (textMember(before, 'metadata', 'uid') !== textMember(after, 'metadata', 'uid')) {
    return 'somebody else replaced it just before';
  }
  const version = textMember(before, 'metadata', 'resourceVersion');
  // The API server accepts a write with a version only for that version.
  const wanted = textMember(body === undefined ? undefined : parseObject(body), 'metadata', 'resourceVersion');
  if (wanted !== undefined && wanted !== '') {
    return wanted === version ? undefined : 'somebody else changed it just before';
  }
  const [from, to] = [member(before, 'metadata', 'generation'), member(after, 'metadata', 'generation')];
  if (typeof from === 'number' && typeof to === 'number' && to > from + 1) {
    return 'somebody else changed it just before: its generation grew by more than one';
  }
  if (subresource === 'scale') return undefined;
  const stranger = findStranger(before, after, manager, subresource);
  return stranger === undefined ? undefined : `"${stranger}" changed it just before`;
}

/** Another writer whose entry in managedFields is new or younger, or has more fields. */
function findStranger(before: JsonMap, after: JsonMap, manager: string, subresource?: string): string | undefined {
  const known = writers(before);
  for (const entry of writers(after)) {
    const name = textMember(entry, 'manager') ?? '';
    // Only what the write itself can change matters.
    if (name === manager || name === 'before-first-apply') continue;
    if ((textMember(entry, 'subresource') ?? '') !== (subresource ?? '')) continue;
    const earlier = known.filter((one) =>
      ['manager', 'operation', 'apiVersion', 'subresource'].every((key) => isEqual(one[key], entry[key])),
    );
    // Times have only seconds. A write can take fields from others, but gives them none.
    const isKnown = (one: JsonMap) => isEqual(one.time, entry.time) && covers(one.fieldsV1, entry.fieldsV1);
    if (!earlier.some(isKnown)) return name;
  }
  return undefined;
}

/** Whether a set of fields has all of another. */
function covers(fields: unknown, others: unknown): boolean {
  if (!isMap(others)) return true;
  return Object.keys(others).every(
    (key) => isMap(fields) && Object.hasOwn(fields, key) && covers(fields[key], others[key]),
  );
}

function writers(object: JsonMap): JsonMap[] {
  const entries = member(object, 'metadata', 'managedFields');
  return Array.isArray(entries) ? entries.filter(isMap) : [];
}
