// Plans how the changes of a session are put back, object by object, newest change first. Pure.
//
// A field is put back only if its present value is the one that the session left. So nothing that
// somebody else wrote since is overwritten.

import {
  type Difference,
  differences,
  fieldAt,
  isEqual,
  overlap,
  type Path,
  showPath,
  withBefore,
} from '../../audit/object-diff.ts';
import {
  isHidden,
  isMap,
  type JsonMap,
  member,
  type ObjectPart,
  textMember,
  viewObject,
} from '../../audit/object-view.ts';
import type { Change, ObjectChange, Target } from './change.ts';

/** A field that somebody else changed since. Undefined values: not there. */
export interface Conflict {
  readonly seq: number;
  /** Empty: the whole object. */
  readonly field: string;
  readonly before: unknown;
  readonly ours: unknown;
  readonly present: unknown;
  readonly why: string;
}

/** Something that is put back, and why this overwrites nothing of others. */
export interface Restored {
  readonly seq: number;
  readonly action: 'set' | 'remove' | 'create' | 'delete';
  readonly part: ObjectPart;
  /** Empty: the whole object. */
  readonly field: string;
  /** What the field is set to. */
  readonly value?: unknown;
  readonly why: string;
}

/** Something that cannot be put back, whoever wrote since. */
export interface NotUndone {
  readonly seq: number;
  readonly what: string;
  readonly why: string;
}

/** What is done to one object. `patch` is RFC 6902. */
export type Step =
  | { readonly type: 'create'; readonly object: JsonMap }
  | { readonly type: 'delete'; readonly uid: string; readonly resourceVersion: string }
  | { readonly type: 'patch'; readonly part: ObjectPart; readonly patch: readonly PatchOperation[] };

export interface PatchOperation {
  readonly op: 'add' | 'replace' | 'remove' | 'test';
  readonly path: string;
  readonly value?: unknown;
}

/** The plan for one object. */
export interface ObjectPlan {
  readonly target: Target;
  readonly steps: readonly Step[];
  readonly restored: readonly Restored[];
  readonly conflicts: readonly Conflict[];
  readonly notUndone: readonly NotUndone[];
}

/** The object as it is now. */
export type Present =
  | { readonly state: 'absent' }
  | { readonly state: 'present'; readonly object: JsonMap }
  | { readonly state: 'unreadable'; readonly why: string };

/** The key of an object, in whatever version of its kind it is written. */
export function targetKey({ group, resource, namespace, name }: Target): string {
  return JSON.stringify([group, resource, namespace ?? '', name]);
}

/** The objects of the changes, the one that was changed last first. */
export function changedObjects(changes: readonly Change[]): Map<string, ObjectChange[]> {
  const objects = new Map<string, ObjectChange[]>();
  for (const change of changes.toReversed()) {
    if (change.type !== 'object') continue;
    const key = targetKey(change.target);
    objects.set(key, [...(objects.get(key) ?? []), change]);
  }
  return objects;
}

/** @param changes of one object, newest first */
export function planObject(changes: readonly ObjectChange[], present: Present): ObjectPlan | undefined {
  const [newest] = changes;
  if (newest === undefined) return undefined;
  const { target } = newest;
  const all = (why: string): ObjectPlan => ({
    ...{ target, steps: [], restored: [], conflicts: [] },
    notUndone: changes.map(({ seq, verb }) => ({ seq, what: verb, why })),
  });
  if (present.state === 'unreadable') return all(`the object cannot be read: ${present.why}`);
  if (new Set(changes.map((change) => change.target.version)).size > 1) {
    return all('it was written in several versions of its kind, whose fields cannot be compared');
  }
  const plan = new Planner(present.state === 'present' ? present.object : undefined);
  for (const change of changes) plan.undo(change);
  return { target, ...plan.result() };
}

interface State {
  readonly uid: string | undefined;
  /** Kept to create the object anew. */
  readonly object: JsonMap;
  readonly main: unknown;
  readonly status: unknown;
}

const read = (object: JsonMap): State => ({
  uid: textMember(object, 'metadata', 'uid'),
  object,
  main: viewObject(object, 'main'),
  status: viewObject(object, 'status'),
});

class Planner {
  readonly #present: JsonMap | undefined;
  #state: State | undefined;
  #restored: Restored[] = [];
  readonly #conflicts: Conflict[] = [];
  readonly #notUndone: NotUndone[] = [];
  /** Fields with a conflict: what was written to them earlier stays as well. */
  #blocked: { readonly part: ObjectPart; readonly path: Path }[] = [];

  /** Objects of which it is not known whether they were there before the session: their uids. */
  readonly #doubtful = new Set<string>();

  constructor(present: JsonMap | undefined) {
    this.#present = present;
    this.#state = present === undefined ? undefined : read(present);
  }

  undo(change: ObjectChange): void {
    if (change.before === undefined && change.after !== undefined) this.#undoCreation(change, change.after);
    else if (change.before !== undefined && change.after === undefined) this.#undoDeletion(change, change.before);
    else if (change.before !== undefined && change.after !== undefined) {
      this.#undoChange(change, change.before, change.after);
    }
  }

  #conflict({ seq }: ObjectChange, why: string, values: Partial<Conflict> = {}): void {
    this.#conflicts.push({ field: '', before: undefined, ours: undefined, present: undefined, ...values, seq, why });
  }

  #undoCreation(change: ObjectChange, after: JsonMap): void {
    const state = this.#state;
    // Somebody else has deleted it.
    if (state === undefined) return;
    const uid = textMember(after, 'metadata', 'uid') ?? '';
    if (change.race !== undefined) {
      this.#doubtful.add(uid);
      this.#conflict(change, change.race);
      return;
    }
    if (state.uid !== uid) {
      this.#conflict(change, 'somebody else created another object of this name since', { present: state.main });
      return;
    }
    const isUntouched =
      state.object === this.#present &&
      member(state.object, 'metadata', 'resourceVersion') === member(after, 'metadata', 'resourceVersion');
    const fields = isUntouched ? [] : differences(viewObject(after, 'main'), state.main).filter(isForeign(change));
    for (const { path, before: ours, after: found } of fields) {
      const why = isHidden(ours)
        ? 'whether somebody else changed it since is not known: its value is not on record'
        : 'somebody else changed it since, so the object stays';
      this.#conflict(change, why, { field: showPath(path), ours, present: found });
    }
    if (fields.length > 0) return;
    this.#state = undefined;
    const why = 'the session created it, and nobody has changed it since';
    this.#restored.push({ seq: change.seq, action: 'delete', part: 'main', field: '', why });
  }

  #undoDeletion(change: ObjectChange, before: JsonMap): void {
    const { target, seq, verb } = change;
    const state = this.#state;
    if (state !== undefined && state.uid === textMember(before, 'metadata', 'uid')) {
      this.#notUndone.push({ seq, what: verb, why: 'the object is still being deleted; try again when it is gone' });
      return;
    }
    if (state !== undefined) {
      this.#conflict(change, 'somebody else created another object of this name since', {
        before: viewObject(before, 'main'),
        present: state.main,
      });
      return;
    }
    if (change.race !== undefined) {
      this.#conflict(change, change.race);
      return;
    }
    const why = whyNotAgain(target, before);
    if (why !== undefined) {
      this.#notUndone.push({ seq, what: verb, why });
      return;
    }
    this.#state = read(before);
    // What happened to the later object of this name does not concern this one.
    this.#blocked = [];
    const gone = 'the session deleted it, and it is still not there';
    this.#restored.push({ seq, action: 'create', part: 'main', field: '', why: gone });
  }

  #undoChange(change: ObjectChange, before: JsonMap, after: JsonMap): void {
    const { part, seq, race } = change;
    const fields = differences(viewObject(before, part), viewObject(after, part));
    this.#listHidden(change, fields, after);
    for (const difference of fields) {
      const field = showPath(difference.path);
      const state = this.#state;
      const now = state === undefined ? { found: false, value: undefined } : fieldAt(state[part], difference.path);
      const values = { field, before: difference.before, ours: difference.after, present: now.value };
      const block = (why: string) => {
        this.#conflict(change, why, values);
        this.#blocked.push({ part, path: difference.path });
      };
      if (state === undefined) block('somebody else deleted the object since');
      else if (state.uid !== textMember(after, 'metadata', 'uid')) {
        block('somebody else replaced the object since');
      } else if (race !== undefined) block(race);
      else if (isHidden(difference.before) || isHidden(difference.after)) {
        this.#notUndone.push({ seq, what: field, why: 'its value is not on record' });
        this.#blocked.push({ part, path: difference.path });
      } else if (this.#blocked.some((one) => one.part === part && overlap(one.path, difference.path))) {
        block('a later value of this field is not put back');
      } else if (now.found && isEqual(now.value, difference.after)) {
        this.#state = { ...state, [part]: withBefore(state[part], difference) };
        this.#restoreField(change, field, difference);
      } else if (!now.found || !isEqual(now.value, difference.before)) block('somebody else changed it since');
    }
  }

  /** Of several values that the session gave to a field, only the one before all of them is named. */
  #restoreField({ seq, part }: ObjectChange, field: string, { before, after }: Difference): void {
    const why =
      after === undefined
        ? 'the session removed it, and it is still not there'
        : 'it still has the value of the session';
    this.#restored = [
      ...this.#restored.filter((one) => one.field !== field || one.part !== part),
      before === undefined
        ? { seq, action: 'remove', part, field, why }
        : { seq, action: 'set', part, field, value: before, why },
    ];
  }

  /** Fields that changed, but look the same on record. */
  #listHidden({ changed, seq, part }: ObjectChange, fields: readonly Difference[], after: JsonMap): void {
    const shown = new Set(fields.map(({ path }) => showPath(path)));
    if (changed !== undefined) {
      for (const field of changed.filter((name) => !shown.has(name))) {
        this.#notUndone.push({ seq, what: field, why: 'its value is not on record' });
      }
    } else if (isHidden(viewObject(after, part))) {
      this.#notUndone.push({
        seq,
        what: 'values',
        why: 'some are not on record, so whether they changed is not known',
      });
    }
  }

  result(): Omit<ObjectPlan, 'target'> {
    const plan = { restored: this.#restored, conflicts: this.#conflicts, notUndone: this.#notUndone };
    const [present, state] = [this.#present, this.#state];
    if (present === undefined && state !== undefined && this.#doubtful.has(state.uid ?? '')) {
      const why =
        'the session may have created it itself, at the same time as somebody else, so it is not created again';
      const deletions = this.#restored.filter(({ action }) => action === 'create');
      return {
        ...plan,
        restored: [],
        notUndone: [...this.#notUndone, ...deletions.map(({ seq }) => ({ seq, what: 'delete', why }))],
        steps: [],
      };
    }
    const identity = {
      uid: textMember(present, 'metadata', 'uid') ?? '',
      resourceVersion: textMember(present, 'metadata', 'resourceVersion') ?? '',
    };
    if (state === undefined) return { ...plan, steps: present === undefined ? [] : [{ type: 'delete', ...identity }] };
    if (present === undefined) return { ...plan, steps: [{ type: 'create', object: newObject(state) }] };
    const parts = (['main', 'status'] as const).map((part): Step[] => {
      const operations = patchOperations('', viewObject(present, part), state[part]);
      if (operations.length === 0) return [];
      const uid: PatchOperation = { op: 'test', path: '/metadata/uid', value: identity.uid };
      const version: PatchOperation = {
        op: 'replace',
        path: '/metadata/resourceVersion',
        value: identity.resourceVersion,
      };
      return [{ type: 'patch', part, patch: [uid, version, ...operations] }];
    });
    return { ...plan, steps: parts.flat() };
  }
}

/** Fields of a created object in which a change since is somebody's, and not the scheduler's. */
function isForeign({ target }: ObjectChange): (difference: Difference) => boolean {
  const isPod = target.group === '' && target.resource === 'pods';
  return ({ path }) => !(isPod && showPath(path) === '/spec/nodeName');
}

/** Why a deleted object is not created again. */
function whyNotAgain({ group, resource }: Target, before: JsonMap): string | undefined {
  const kind = group === '' ? resource : `${resource}.${group}`;
  const owners = member(before, 'metadata', 'ownerReferences');
  if (kind === 'persistentvolumeclaims' || kind === 'persistentvolumes') return 'the data of a deleted volume is gone';
  if (kind === 'jobs.batch') return 'a Job that is created again runs again';
  if (Array.isArray(owners) && owners.some((owner) => member(owner, 'controller') === true)) {
    return 'its controller creates it anew';
  }
  if (isHidden(viewObject(before, 'main'))) return 'some of its values are not on record';
  return undefined;
}

/** Finalizers that only say how an object is deleted. */
const DELETION: ReadonlySet<string> = new Set(['foregroundDeletion', 'orphan']);

/** The object to create, without what the API server gives to each object anew. */
function newObject({ object, main }: State): JsonMap {
  const view = isMap(main) ? main : {};
  const { finalizers, ...kept } = isMap(view.metadata) ? view.metadata : {};
  const own = Array.isArray(finalizers) ? finalizers.filter((one) => !DELETION.has(String(one))) : [];
  const metadata = { ...kept, ...(own.length === 0 ? {} : { finalizers: own }), ...named(object) };
  const spec = object.kind === 'Pod' && isMap(view.spec) ? { spec: omit(view.spec, 'nodeName') } : {};
  return { apiVersion: object.apiVersion, kind: object.kind, ...view, ...spec, metadata };
}

function named(object: JsonMap): JsonMap {
  const [name, namespace] = [textMember(object, 'metadata', 'name'), textMember(object, 'metadata', 'namespace')];
  return { name, ...(namespace === undefined ? {} : { namespace }) };
}

function omit(map: JsonMap, key: string): JsonMap {
  return Object.fromEntries(Object.entries(map).filter(([name]) => name !== key));
}

/** The operations of RFC 6902 that make one value of the other. Lists are replaced as a whole. */
export function patchOperations(path: string, from: unknown, to: unknown): PatchOperation[] {
  if (isEqual(from, to)) return [];
  if (!isMap(from) || !isMap(to)) {
    if (to === undefined) return [{ op: 'remove', path }];
    return [{ op: from === undefined ? 'add' : 'replace', path, value: to }];
  }
  return [...new Set([...Object.keys(from), ...Object.keys(to)])].flatMap((key) =>
    patchOperations(`${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`, member(from, key), member(to, key)),
  );
}
