// The plan of an undo, over random writes to objects in memory. test/api/undo.test.ts does the same
// against a real API server.

import { describe, expect, it } from 'vitest';
import { random as seededRandom } from '../../../test/support/random.ts';
import {
  type Expectation,
  flatten,
  isWeb,
  newObject,
  patchOf,
  runSequence,
  type UndoWorld,
  type Write,
} from '../../../test/support/undo-model.ts';
import { isMap, type JsonMap, parseObject } from '../../audit/object-view.ts';
import type { Change, ObjectChange, Target } from './change.ts';
import { planUndo } from './undo.ts';
import { type PatchOperation, type Present, planObject } from './undo-plan.ts';

class Memory implements UndoWorld {
  readonly objects = ['one', 'two', 'web'];
  readonly changes: Change[] = [];
  readonly #stored = new Map<string, JsonMap>();
  #serial = 0;

  async read(object: string): Promise<JsonMap | undefined> {
    return this.#stored.get(object);
  }

  async write({ who, object, operation }: Write): Promise<void> {
    if (operation.type === 'deletecollection') {
      for (const one of this.objects.filter((name) => !isWeb(name) && this.#stored.has(name))) {
        this.#note(who, one, this.#stored.get(one), undefined);
        this.#stored.delete(one);
      }
      return;
    }
    const before = this.#stored.get(object);
    if (operation.type === 'delete') this.#stored.delete(object);
    else if (operation.type === 'create')
      this.#put(object, merge({}, newObject(object, 'ns', {})), `u${++this.#serial}`);
    else {
      const field = operation.type === 'scale' ? '/spec/replicas' : operation.field;
      this.#put(object, merge(before, patchOf(field, operation.value)), uidOf(before));
    }
    this.#note(who, object, before, this.#stored.get(object));
  }

  #put(object: string, value: unknown, uid: string): void {
    const map = isMap(value) ? value : {};
    const metadata = isMap(map.metadata) ? map.metadata : {};
    const resourceVersion = String(++this.#serial);
    this.#stored.set(object, { ...map, metadata: { ...metadata, uid, resourceVersion } });
  }

  #note(who: Write['who'], name: string, before: JsonMap | undefined, after: JsonMap | undefined): void {
    if (who === 'other') return;
    const change: ObjectChange = {
      ...{ type: 'object', seq: this.changes.length + 1, time: '', attempt: 1, verb: 'x', part: 'main' },
      ...{ target: targetOf(name), before, after, changed: undefined, race: undefined },
    };
    this.changes.push(change);
  }

  present({ name }: Target): Present {
    const object = this.#stored.get(name);
    return object === undefined ? { state: 'absent' } : { state: 'present', object };
  }
}

const targetOf = (name: string): Target => ({ group: '', version: 'v1', resource: 'x', namespace: 'ns', name });

function uidOf(object: JsonMap | undefined): string {
  return isMap(object?.metadata) ? String(object.metadata.uid) : '';
}

/** A strategic merge, as far as the sequences need one. */
function merge(into: unknown, patch: unknown): unknown {
  if (Array.isArray(into) && Array.isArray(patch)) {
    return into.map((item) => patch.reduce((one, part) => (one.name === part.name ? merge(one, part) : one), item));
  }
  if (!isMap(patch)) return patch;
  const merged = { ...(isMap(into) ? into : {}) };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key];
    else merged[key] = merge(merged[key], value);
  }
  // The API server stores no empty maps of names.
  for (const key of ['labels', 'annotations', 'data']) {
    if (isMap(merged[key]) && Object.keys(merged[key]).length === 0) delete merged[key];
  }
  return merged;
}

function patched(object: unknown, operations: readonly PatchOperation[]): unknown {
  const copy = structuredClone(object);
  for (const { op, path, value } of operations) {
    if (op === 'test') continue;
    const keys = path
      .split('/')
      .slice(1)
      .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = keys.pop() ?? '';
    const parent = keys.reduce<unknown>((at, key) => (isMap(at) ? at[key] : undefined), copy);
    if (typeof parent !== 'object' || parent === null) throw new Error(`${path} is not there`);
    if (op === 'remove') Reflect.deleteProperty(parent, last);
    else Reflect.set(parent, last, value);
  }
  return copy;
}

/** What is wrong with the undo of one random sequence; empty if nothing is. */
async function check(seed: number, look: (memory: Memory, target: Target) => Present): Promise<string[]> {
  const random = seededRandom(seed);
  const memory = new Memory();
  // Some objects were there before the session.
  for (const object of memory.objects) {
    if (random() < 0.6) await memory.write({ who: 'other', object, operation: { type: 'create' } });
  }
  const expected: Expectation = await runSequence(memory, random, 4 + Math.floor(random() * 16));
  const plans = await planUndo(memory.changes, { read: async (target) => look(memory, target) });
  const wrong: string[] = [];
  for (const object of memory.objects) {
    const [step] = plans.find(({ target }) => target.name === object)?.steps ?? [];
    const stored = await memory.read(object);
    const result =
      step === undefined
        ? stored
        : step.type === 'delete'
          ? undefined
          : step.type === 'create'
            ? step.object
            : patched(stored, step.patch);
    const [found, wanted] = [flatten(isMap(result) ? result : undefined), expected.states.get(object)];
    if (show(found) !== show(wanted)) wrong.push(`${object}: ${show(found)} instead of ${show(wanted)}`);
    for (const { field, value } of expected.others.filter((one) => one.object === object)) {
      if (found?.get(field) !== value) wrong.push(`${object}: ${field} of somebody else was overwritten`);
    }
  }
  const conflicts = plans.flatMap(({ target, conflicts: named }) =>
    named.map(({ field }) => `${target.name} ${field}`),
  );
  const named = [...new Set(conflicts)].toSorted();
  if (named.join() !== expected.conflicts.join()) wrong.push(`conflicts ${named} instead of ${expected.conflicts}`);
  return wrong;
}

const show = (flat: ReadonlyMap<string, unknown> | undefined) =>
  flat === undefined ? 'absent' : JSON.stringify([...flat].toSorted());

describe('the plan of an undo', () => {
  it('brings back what the session changed and leaves what others did, over 2000 random sequences', async () => {
    for (let seed = 1; seed <= 2000; seed += 1) {
      expect(await check(seed, (memory, target) => memory.present(target)), `seed ${seed}`).toEqual([]);
    }
  });

  it('would be found out if it did not look at the present values', async () => {
    const blind = (memory: Memory, target: Target): Present => {
      const present = memory.present(target);
      const last = memory.changes.findLast((change) => change.type === 'object' && change.target.name === target.name);
      if (present.state !== 'present' || last?.type !== 'object' || last.after === undefined) return present;
      return { state: 'present', object: last.after };
    };
    const wrong: string[] = [];
    for (let seed = 1; seed <= 50; seed += 1) wrong.push(...(await check(seed, blind)));
    expect(wrong.some((line) => line.includes('overwritten') || line.includes('conflicts'))).toBe(true);
  });
});

describe('the plan for one object', () => {
  const state = (data: object, version = '1', more: object = {}): JsonMap => ({
    ...{ apiVersion: 'v1', kind: 'ConfigMap', data },
    metadata: { name: 'x', namespace: 'ns', uid: 'u', resourceVersion: version, ...more },
  });
  let serial = 0;
  const change = (before: JsonMap | undefined, after: JsonMap | undefined, more: Partial<ObjectChange> = {}) => ({
    ...{ type: 'object' as const, seq: ++serial, time: '', attempt: 1, verb: 'x', part: 'main' as const },
    ...{ target: targetOf('x'), before, after, changed: [], race: undefined },
    ...more,
  });
  const plan = (present: JsonMap | undefined, ...changes: ObjectChange[]) =>
    planObject(
      changes.toReversed(),
      present === undefined ? { state: 'absent' } : { state: 'present', object: present },
    );

  it('leaves a field whose later value of the session is not put back, even if it looks like an earlier one', () => {
    // Somebody else set it to d in between, and to c in the end.
    const changes = [change(state({ a: 'x' }), state({ a: 'c' })), change(state({ a: 'd' }), state({ a: 'e' }))];
    const found = plan(state({ a: 'c' }, '9'), ...changes);
    expect(found?.steps).toEqual([]);
    expect(found?.conflicts.map(({ field, present }) => [field, present])).toEqual([
      ['/data/a', 'c'],
      ['/data/a', 'c'],
    ]);
  });

  it('creates nothing that may not have been there before the session', () => {
    // Two writes at once, both of which saw no object, and were answered with 201 and 200.
    const [first, second] = [state({ a: '1' }), state({ a: '2' }, '2')];
    const raced = change(undefined, second, { race: 'somebody else created it just before' });
    const found = plan(undefined, change(undefined, first), raced, change(second, undefined, { verb: 'delete' }));
    expect(found?.steps).toEqual([]);
    expect(found?.restored).toEqual([]);
    expect(found?.notUndone.map(({ what, why }) => `${what}: ${why}`)).toEqual([
      expect.stringMatching(/^delete: the session may have created it itself/),
    ]);
  });

  it('never writes a placeholder of the record into an object', () => {
    const found = plan(
      state({ a: 'plain' }, '2'),
      change(state({ a: '[redacted:password:7]' }), state({ a: 'plain' }, '2')),
    );
    expect(found).toMatchObject({ steps: [], notUndone: [{ what: '/data/a' }] });
    const deleted = plan(undefined, change(state({ a: '[redacted:password:7]' }), undefined));
    expect(deleted).toMatchObject({ steps: [], notUndone: [{ why: 'some of its values are not on record' }] });
  });

  it('deletes a created object with values that are not on record only in the version that the session left', () => {
    const created = change(undefined, state({ a: '[redacted:password:7]' }, '5'));
    expect(plan(state({ a: 'secret' }, '5'), created)?.steps).toEqual([
      { type: 'delete', uid: 'u', resourceVersion: '5' },
    ]);
    expect(plan(state({ a: 'secret' }, '6'), created)).toMatchObject({ steps: [], conflicts: [{ field: '/data/a' }] });
  });

  it('takes every field of a write for a conflict if somebody else wrote just before', () => {
    const found = plan(
      state({ a: 'y' }, '2'),
      change(state({ a: 'x' }), state({ a: 'y' }, '2'), { race: 'it was raced' }),
    );
    expect(found).toMatchObject({ steps: [], conflicts: [{ field: '/data/a', why: 'it was raced' }] });
  });

  it('puts an item of a list back in its place, and leaves the items of others', () => {
    const list = (...names: string[]) => ({ list: names.map((name) => ({ name })) });
    const found = plan(
      state(list('new', 'a', 'c'), '9'),
      change(state(list('a', 'b', 'c')), state(list('a', 'c'), '2')),
    );
    expect(found?.steps).toMatchObject([
      { patch: [{}, {}, { path: '/data/list', value: list('new', 'a', 'b', 'c').list }] },
    ]);
  });

  it('keeps integers of 64 bits', () => {
    const parse = (text: string) =>
      parseObject(`{"metadata":{"uid":"u","resourceVersion":"1"},"spec":{"n":${text}}}`) ?? {};
    const found = plan(parse('5'), change(parse('9007199254740993'), parse('5')));
    expect(JSON.stringify(found?.steps)).toContain('"value":9007199254740993}');
  });

  it('waits for an object that is still being deleted, and leaves one that came instead', () => {
    const deletion = change(state({ a: 'x' }), undefined);
    expect(plan(state({ a: 'x' }), deletion)?.notUndone).toMatchObject([
      { why: expect.stringContaining('still being') },
    ]);
    expect(plan(state({ a: 'x' }, '1', { uid: 'other' }), deletion)?.conflicts).toMatchObject([{ field: '' }]);
  });

  it('creates no pod of a controller, no Job and no volume again', () => {
    const owned = state({}, '1', { ownerReferences: [{ kind: 'StatefulSet', controller: true }] });
    const again = (resource: string, group: string, object: JsonMap) =>
      plan(undefined, change(object, undefined, { target: { ...targetOf('x'), group, resource } }))?.steps;
    expect(again('pods', '', owned)).toEqual([]);
    expect(again('jobs', 'batch', state({}))).toEqual([]);
    expect(again('persistentvolumeclaims', '', state({}))).toEqual([]);
    expect(again('configmaps', '', state({}))).toMatchObject([{ type: 'create', object: { metadata: { name: 'x' } } }]);
  });
});
