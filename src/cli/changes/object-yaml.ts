// A state of an object as YAML to be read by people, and the difference of two of them.

import { stringify } from 'yaml';
import { withoutControls } from '../../audit/controls.ts';
import { differences, showPath } from '../../audit/object-diff.ts';
import { isMap, type JsonMap, viewObject } from '../../audit/object-view.ts';
import type { ObjectChange, Target } from './change.ts';
import { unifiedDiff } from './line-diff.ts';

/** "configmaps patient/config", "deployments.apps patient/web". */
export function describeTarget({ group, resource, namespace, name }: Target): string {
  const kind = group === '' ? resource : `${resource}.${group}`;
  return withoutControls(`${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`);
}

/** The lines of a unified diff from before to after, with its two head lines. */
export function diffChange({ before, after, part, target }: ObjectChange): string[] {
  const [from, to] = [show(before, part), show(after, part)];
  const file = describeTarget(target).replace(' ', '/');
  const lines = unifiedDiff(from, to);
  if (lines.length === 0) return [];
  return [
    before === undefined ? '--- /dev/null' : `--- a/${file}`,
    after === undefined ? '+++ /dev/null' : `+++ b/${file}`,
    ...lines,
  ];
}

/** Fields that changed although the record shows the same: their values are not on record. */
export function hiddenFields({ before, after, part, changed = [] }: ObjectChange): string[] {
  if (before === undefined || after === undefined) return [];
  const shown = new Set(
    differences(viewObject(before, part), viewObject(after, part)).map(({ path }) => showPath(path)),
  );
  return changed.filter((field) => !shown.has(field)).map(withoutControls);
}

function show(object: JsonMap | undefined, part: ObjectChange['part']): string {
  if (object === undefined) return '';
  const { metadata, ...rest } = viewObject(object, part);
  const view = isMap(metadata) && Object.keys(metadata).length > 0 ? { metadata, ...rest } : rest;
  if (Object.keys(view).length === 0) return '';
  return withoutControls(stringify(plain(view), { lineWidth: 0, aliasDuplicateObjects: false }));
}

/** Numbers that JavaScript cannot hold, as texts. Keys in one order, so that only changes differ. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (isMap(value)) {
    const members = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
    return Object.fromEntries(members.map(([key, inner]) => [key, plain(inner)]));
  }
  return JSON.isRawJSON(value) ? JSON.stringify(value) : value;
}
