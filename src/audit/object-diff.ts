// The fields in which two states of an object differ, and how one field is found and set. Pure.
//
// A field is what is put back as a whole. The items of a list whose items have unique names are
// fields of their own, so that two writers of two containers do not meet.

import { isMap, type JsonMap } from './object-view.ts';

/** An item of a list, named by one of its members. */
export interface ItemStep {
  readonly key: string;
  readonly value: string;
}
export type Path = readonly (string | ItemStep)[];

/** One field with its two values. Undefined where there is none. */
export interface Difference {
  readonly path: Path;
  readonly before: unknown;
  readonly after: unknown;
  /** Whether the map of the field was not there before, so that it goes when it becomes empty. */
  readonly prune: boolean;
  /** For an item of a list: the names in the list before. */
  readonly order: readonly string[];
}

/** Maps from names to single values, to which several writers add their own. */
const SHARED_MAPS: ReadonlySet<string> = new Set(
  'labels annotations data binaryData stringData nodeSelector matchLabels selector requests limits'.split(' '),
);
/**
 * A map or list with more members is one field: each of them is found and set anew for each field,
 * and the gateway compares each write on its main thread.
 */
const MAX_MEMBERS = 250;
/** Members that name the items of a list, best first. */
const ITEM_KEYS = ['name', 'mountPath', 'containerPort', 'port', 'key', 'uid', 'ip', 'type'] as const;

/** Whether two values of JSON are the same. The order of members does not matter. */
export function isEqual(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, index) => isEqual(item, b[index]));
  }
  if (isMap(a) && isMap(b)) {
    const keys = Object.keys(a);
    return (
      keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && isEqual(a[key], b[key]))
    );
  }
  return JSON.isRawJSON(a) && JSON.isRawJSON(b) && JSON.stringify(a) === JSON.stringify(b);
}

/** The fields that differ. */
export function differences(before: unknown, after: unknown): Difference[] {
  const found: Difference[] = [];
  walk([], before, after, false, [], found);
  return found;
}

function walk(
  path: Path,
  before: unknown,
  after: unknown,
  prune: boolean,
  order: readonly string[],
  found: Difference[],
): void {
  if (isEqual(before, after)) return;
  const last = path.at(-1);
  const isShared = typeof last === 'string' && SHARED_MAPS.has(last);
  const isOpen = (value: unknown) => isMap(value) || (isShared && value === undefined);
  if (isOpen(before) && isOpen(after)) {
    const [from, to] = [isMap(before) ? before : {}, isMap(after) ? after : {}];
    const isNew = before === undefined;
    const keys = new Set([...Object.keys(from), ...Object.keys(to)]);
    // An empty map is a value of its own.
    const isValue = isNew ? Object.keys(to).length === 0 : after === undefined && Object.keys(from).length === 0;
    if (!isValue && keys.size <= 2 * MAX_MEMBERS) {
      for (const key of keys) {
        walk([...path, key], own(from, key), own(to, key), isNew, [], found);
      }
      return;
    }
  }
  const lists = namedLists(before, after);
  if (lists !== undefined) {
    const [key, from, to] = lists;
    const names = [...from.keys()];
    for (const value of new Set([...from.keys(), ...to.keys()])) {
      walk([...path, { key, value }], from.get(value), to.get(value), false, names, found);
    }
    return;
  }
  found.push({ path, before, after, prune, order });
}

function own(map: JsonMap, key: string): unknown {
  return Object.hasOwn(map, key) ? map[key] : undefined;
}

type Items = ReadonlyMap<string, unknown>;

/** Two lists by the names of their items, if both have such names and keep the order. */
function namedLists(a: unknown, b: unknown): [key: string, Items, Items] | undefined {
  if (!Array.isArray(a) || !Array.isArray(b)) return undefined;
  if (Math.max(a.length, b.length) > MAX_MEMBERS) return undefined;
  for (const key of ITEM_KEYS) {
    const [from, to] = [byName(a, key), byName(b, key)];
    if (from === undefined || to === undefined) continue;
    const common = [...from.keys()].filter((name) => to.has(name));
    const same = [...to.keys()].filter((name) => from.has(name)).every((name, index) => name === common[index]);
    return same ? [key, from, to] : undefined;
  }
  return undefined;
}

/** The items of a list by a member of theirs; undefined if it does not name each of them. */
function byName(list: readonly unknown[], key: string): Items | undefined {
  const items = new Map<string, unknown>();
  for (const item of list) {
    const name = isMap(item) ? item[key] : undefined;
    if ((typeof name !== 'string' && typeof name !== 'number') || items.has(String(name))) return undefined;
    items.set(String(name), item);
  }
  return items;
}

/** The value of a field. `found` is false if the way to it is not there. */
export function fieldAt(tree: unknown, path: Path): { readonly found: boolean; readonly value: unknown } {
  let value = tree;
  for (const [index, step] of path.entries()) {
    const isLast = index === path.length - 1;
    if (typeof step === 'string') {
      // A shared map that is not there holds nothing.
      if (value === undefined && SHARED_MAPS.has(String(path[index - 1]))) return { found: isLast, value: undefined };
      if (!isMap(value)) return { found: false, value: undefined };
      value = own(value, step);
    } else {
      const items = Array.isArray(value) ? byName(value, step.key) : undefined;
      if (items === undefined) return { found: false, value: undefined };
      value = items.get(step.value);
    }
  }
  return { found: true, value };
}

/** The tree with the field's value of before. The way to the field must be there. */
export function withBefore(tree: unknown, difference: Difference): unknown {
  return set(tree, difference.path, difference);
}

function set(tree: unknown, [step, ...rest]: Path, difference: Difference): unknown {
  if (step === undefined) return difference.before;
  if (typeof step === 'string') {
    const map = isMap(tree) ? tree : {};
    const value = set(own(map, step), rest, difference);
    const gone = value === undefined || (rest.length === 1 && difference.prune && isMap(value) && isEmpty(value));
    const others = Object.entries(map).filter(([key]) => key !== step);
    if (gone) return Object.fromEntries(others);
    if (Object.hasOwn(map, step)) {
      return Object.fromEntries(Object.entries(map).map(([key, old]) => [key, key === step ? value : old]));
    }
    return Object.fromEntries([...others, [step, value]]);
  }
  const list: readonly unknown[] = Array.isArray(tree) ? tree : [];
  const names = [...(byName(list, step.key) ?? new Map<string, unknown>()).keys()];
  const at = names.indexOf(step.value);
  const value = set(at === -1 ? undefined : list[at], rest, difference);
  if (at !== -1) return value === undefined ? list.toSpliced(at, 1) : list.with(at, value);
  if (value === undefined) return list;
  const earlier = difference.order.slice(0, difference.order.indexOf(step.value));
  const place = Math.max(-1, ...earlier.map((name) => names.indexOf(name))) + 1;
  return list.toSpliced(place, 0, value);
}

function isEmpty(map: JsonMap): boolean {
  return Object.keys(map).length === 0;
}

/** A path for people and for the record: `/spec/containers[name=tikv]/image`, escaped as RFC 6901. */
export function showPath(path: Path): string {
  return path
    .map((step) =>
      typeof step === 'string' ? `/${step.replaceAll('~', '~0').replaceAll('/', '~1')}` : `[${step.key}=${step.value}]`,
    )
    .join('');
}

/** Whether one of two fields is in the other. */
export function overlap(a: Path, b: Path): boolean {
  const [shorter, longer] = a.length <= b.length ? [a, b] : [b, a];
  return shorter.every((step, index) => isEqual(step, longer[index]));
}
