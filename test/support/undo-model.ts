// Random sequences of writes by a session and by others, and what an undo of them has to do. The
// expectation comes from who wrote which field last, not from the code under test.

import { isMap, member } from '../../src/audit/object-view.ts';

export type Random = () => number;

/** What a write does to one object. */
export type Operation =
  | { readonly type: 'create' }
  | { readonly type: 'delete' }
  | { readonly type: 'deletecollection' }
  | { readonly type: 'set'; readonly how: How; readonly field: string; readonly value: unknown }
  | { readonly type: 'scale'; readonly value: number };
export type How = 'update' | 'update-versioned' | 'json' | 'merge' | 'strategic' | 'apply';

export interface Write {
  readonly who: 'session' | 'other';
  readonly object: string;
  readonly operation: Operation;
}

/** Where the writes go. All writes are done when the promise resolves. */
export interface UndoWorld {
  /** The objects of this sequence; a "web" is a Deployment, the others are ConfigMaps. */
  readonly objects: readonly string[];
  write(write: Write): Promise<void>;
  read(object: string): Promise<object | undefined>;
}

const CONFIG_FIELDS = ['/data/a', '/data/b', '/data/c', '/metadata/labels/x', '/metadata/annotations/note'];
const IMAGE = (name: string) => `/spec/template/spec/containers[name=${name}]/image`;
const WEB_FIELDS = ['/spec/replicas', IMAGE('main'), IMAGE('side'), '/metadata/labels/x', '/metadata/annotations/note'];
const HOWS: readonly How[] = ['update', 'update-versioned', 'json', 'merge', 'strategic', 'apply'];

export const isWeb = (object: string): boolean => object.endsWith('web');
export const fieldsOf = (object: string): readonly string[] => (isWeb(object) ? WEB_FIELDS : CONFIG_FIELDS);

/** The fields of an object that the sequences write, with their values. */
export type Flat = ReadonlyMap<string, unknown>;

export function flatten(object: object | undefined): Flat | undefined {
  if (object === undefined) return undefined;
  const flat = new Map<string, unknown>();
  for (const map of ['labels', 'annotations']) {
    const values = member(object, 'metadata', map);
    for (const [key, value] of isMap(values) ? Object.entries(values) : []) {
      if (key !== 'sequence') flat.set(`/metadata/${map}/${key}`, value);
    }
  }
  const data = member(object, 'data');
  for (const [key, value] of isMap(data) ? Object.entries(data) : []) flat.set(`/data/${key}`, value);
  const replicas = member(object, 'spec', 'replicas');
  if (replicas !== undefined) flat.set('/spec/replicas', replicas);
  const containers = member(object, 'spec', 'template', 'spec', 'containers');
  for (const container of Array.isArray(containers) ? containers : []) {
    flat.set(IMAGE(String(member(container, 'name'))), member(container, 'image'));
  }
  return flat;
}

interface Event {
  readonly who: Write['who'];
  readonly before: Flat | undefined;
  readonly after: Flat | undefined;
}

/** What an undo has to leave, and the conflicts that it has to name: "object field". */
export interface Expectation {
  readonly states: ReadonlyMap<string, Flat | undefined>;
  readonly conflicts: readonly string[];
  /** Fields that others wrote last, with their values: whatever happens, these stay. */
  readonly others: readonly { readonly object: string; readonly field: string; readonly value: unknown }[];
}

/** Runs a random sequence, and says what an undo of it has to do. */
export async function runSequence(world: UndoWorld, random: Random, length: number): Promise<Expectation> {
  const histories = new Map<string, Event[]>(world.objects.map((object) => [object, []]));
  const states = new Map<string, Flat | undefined>();
  for (const object of world.objects) states.set(object, flatten(await world.read(object)));
  let serial = 0;
  for (let step = 0; step < length; step += 1) {
    const write = nextWrite(world.objects, random, states, histories, () => ++serial);
    await world.write(write);
    // A deletecollection deletes more than one object.
    const touched = write.operation.type === 'deletecollection' ? world.objects : [write.object];
    for (const object of touched) {
      const [before, after] = [states.get(object), flatten(await world.read(object))];
      states.set(object, after);
      const isSame = (before === undefined) === (after === undefined) && changedFields(before, after).length === 0;
      if (!isSame) histories.get(object)?.push({ who: write.who, before, after });
    }
  }
  const expected = new Map<string, Flat | undefined>();
  const conflicts: string[] = [];
  const others: { object: string; field: string; value: unknown }[] = [];
  for (const [object, events] of histories) {
    const named = new Set<string>();
    expected.set(object, expectState(states.get(object), events, named));
    conflicts.push(...[...named].map((field) => `${object} ${field}`));
    for (const [field, value] of states.get(object) ?? []) {
      const last = events.findLast((event) => event.before?.get(field) !== event.after?.get(field));
      if (last?.who === 'other') others.push({ object, field, value });
    }
  }
  return { states: expected, conflicts: conflicts.toSorted(), others };
}

function pick<T>(random: Random, values: readonly T[]): T {
  const value = values[Math.floor(random() * values.length)];
  if (value === undefined) throw new Error('nothing to pick from');
  return value;
}

function nextWrite(
  objects: readonly string[],
  random: Random,
  states: ReadonlyMap<string, Flat | undefined>,
  histories: ReadonlyMap<string, readonly Event[]>,
  serial: () => number,
): Write {
  const who = random() < 0.65 ? 'session' : 'other';
  const object = pick(random, objects);
  if (states.get(object) === undefined) return { who, object, operation: { type: 'create' } };
  const die = random();
  // What is created and deleted again by others leaves no trace, so that it could not be known.
  const creation = histories.get(object)?.findLast(({ before }) => before === undefined);
  if (die < 0.12 && !(who === 'other' && creation?.who === 'other'))
    return { who, object, operation: { type: 'delete' } };
  if (die < 0.16 && who === 'session' && !isWeb(object))
    return { who, object, operation: { type: 'deletecollection' } };
  // Values that nobody else writes.
  const value = serial();
  if (die < 0.26 && isWeb(object)) return { who, object, operation: { type: 'scale', value } };
  const field = pick(random, fieldsOf(object));
  const how = who === 'other' ? 'merge' : pick(random, HOWS);
  const canRemove = who === 'session' && how !== 'apply' && /^\/(?:data|metadata)/.test(field);
  const given = field === '/spec/replicas' ? value : `v${value}`;
  return {
    who,
    object,
    operation: { type: 'set', how, field, value: canRemove && random() < 0.2 ? undefined : given },
  };
}

function changedFields(before: Flat | undefined, after: Flat | undefined): string[] {
  const fields = new Set([...(before?.keys() ?? []), ...(after?.keys() ?? [])]);
  return [...fields].filter((field) => before?.get(field) !== after?.get(field));
}

/** Walks back from the present: what others touched since stays. */
function expectState(final: Flat | undefined, events: readonly Event[], conflicts: Set<string>): Flat | undefined {
  let current = final;
  /** Fields that others wrote after the event at hand; and whether they deleted or made the object. */
  let touched = new Set<string>();
  let isTheirs = false;
  for (const { who, before, after } of events.toReversed()) {
    const fields = changedFields(before, after);
    if (who === 'other') {
      if (before === undefined || after === undefined) isTheirs = true;
      for (const field of fields) touched.add(field);
    } else if (before === undefined) {
      if (current === undefined) continue;
      if (isTheirs) conflicts.add('');
      else if (touched.size === 0) {
        current = undefined;
        continue;
      } else for (const field of touched) conflicts.add(field);
      // It stays, so nothing of an earlier object can come back.
      isTheirs = true;
    } else if (after === undefined) {
      if (current === undefined) {
        current = before;
        touched = new Set();
        isTheirs = false;
      } else conflicts.add('');
    } else {
      for (const field of fields) {
        if (isTheirs || touched.has(field)) conflicts.add(field);
        else if (current !== undefined) current = withField(current, field, before.get(field));
      }
    }
  }
  return current;
}

function withField(flat: Flat, field: string, value: unknown): Flat {
  const copy = new Map(flat);
  if (value === undefined) copy.delete(field);
  else copy.set(field, value);
  return copy;
}

/** What a new object of this name looks like. */
export function newObject(
  object: string,
  namespace: string,
  labels: Readonly<Record<string, string>>,
): Record<string, unknown> {
  const metadata = { name: object, namespace, labels };
  if (!isWeb(object)) return { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { a: 'new' } };
  const containers = ['main', 'side'].map((name) => ({ name, image: `${name}:new` }));
  const template = { metadata: { labels: { app: object } }, spec: { containers } };
  const spec = { replicas: 0, selector: { matchLabels: { app: object } }, template };
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec };
}

/** A merge or strategic patch, or an apply configuration, that sets one field. */
export function patchOf(field: string, value: unknown): Record<string, unknown> {
  const set = value === undefined ? null : value;
  const image = /containers\[name=(\w+)\]\/image$/.exec(field);
  if (image !== null) {
    return { spec: { template: { spec: { containers: [{ name: image[1], image: set }] } } } };
  }
  const [, first = '', second = '', third] = field.split('/');
  return { [first]: { [second]: third === undefined ? set : { [third]: set } } };
}
