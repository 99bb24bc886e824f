// The undo of what a session wrote through the kube door, against a real API server: over random
// sequences of writes of all kinds, with writes of others in between. `npm run test:undo` runs more.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Entry } from '../../src/audit/entry.ts';
import { isMap } from '../../src/audit/object-view.ts';
import { type Change, readChanges } from '../../src/cli/changes/change.ts';
import { planUndo, runUndo } from '../../src/cli/changes/undo.ts';
import { UNDO_ANNOTATION } from '../../src/cli/changes/undo-record.ts';
import { clusterObjects, type Objects } from '../../src/cli/objects.ts';
import { isNotFound } from '../../src/kube/errors.ts';
import { CONFIG_MAPS, DEPLOYMENTS, INCIDENTS, restPath } from '../../src/kube/resources.ts';
import { type Attempt, TARGET } from '../support/gateway-attempts.ts';
import { type Answer, type GatewayHarness, startGatewayHarness } from '../support/gateway-harness.ts';
import { random as seededRandom } from '../support/random.ts';
import {
  type Expectation,
  type Flat,
  flatten,
  isWeb,
  newObject,
  patchOf,
  runSequence,
  type UndoWorld,
  type Write,
} from '../support/undo-model.ts';

/** Sequences; and how many at once, each with a session of its own, as a session has a rate limit. */
const SEQUENCES = Number(process.env.OPLAB_UNDO_SEQUENCES ?? 24);
const AT_ONCE = 4;
/** Sequences of one session, which has a time limit. */
const PER_SESSION = 50;
const FIRST = Number(process.env.OPLAB_UNDO_SEED ?? 1);

let lab: GatewayHarness;
beforeAll(async () => {
  lab = await startGatewayHarness();
});
afterAll(async () => {
  await lab?.close();
});

const resourceOf = (object: string) => (isWeb(object) ? DEPLOYMENTS : CONFIG_MAPS);

/** The objects of one sequence; the session writes through the door, others beside it. */
class Cluster implements UndoWorld {
  readonly objects: readonly string[];
  readonly #attempt: Attempt;
  readonly #labels: Readonly<Record<string, string>>;

  constructor(attempt: Attempt, sequence: string) {
    this.#attempt = attempt;
    this.#labels = { sequence };
    this.objects = ['one', 'two', 'web'].map((name) => `${sequence}-${name}`);
  }

  async read(object: string) {
    try {
      return await lab.client.get(resourceOf(object), { namespace: TARGET, name: object });
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  async write({ who, object, operation }: Write): Promise<void> {
    const ref = { namespace: TARGET, name: object };
    if (who === 'session') return await this.#throughTheDoor(object, operation);
    if (operation.type === 'create') await lab.client.create(resourceOf(object), this.#new(object));
    else if (operation.type === 'delete') await lab.client.delete(resourceOf(object), ref);
    else if (operation.type === 'scale') {
      await lab.client.patch(DEPLOYMENTS, ref, { spec: { replicas: operation.value } }, { subresource: 'scale' });
    } else if (operation.type === 'set' && operation.field.endsWith('/image')) {
      const { index, present } = await this.#container(object, operation.field);
      if (!present) return;
      const path = `/spec/template/spec/containers/${index}/image`;
      await lab.client.patch(DEPLOYMENTS, ref, [{ op: 'replace', path, value: operation.value }], { type: 'json' });
    } else if (operation.type === 'set') {
      await lab.client.patch(resourceOf(object), ref, patchOf(operation.field, operation.value));
    }
  }

  #new(object: string) {
    return {
      ...newObject(object, TARGET, this.#labels),
      metadata: { name: object, namespace: TARGET, labels: this.#labels },
    };
  }

  async #container(object: string, field: string) {
    const found = await this.read(object);
    const spec = isMap(found?.spec) && isMap(found.spec.template) ? found.spec.template.spec : undefined;
    const containers = isMap(spec) && Array.isArray(spec.containers) ? spec.containers : [];
    const index = containers.findIndex((one) => field.includes(`[name=${one.name}]`));
    return { index, present: index >= 0 };
  }

  async #throughTheDoor(object: string, operation: Write['operation']): Promise<void> {
    const collection = restPath(resourceOf(object), TARGET);
    const path = `${collection}/${object}`;
    if (operation.type === 'create') await this.#send('POST', collection, 'application/json', this.#new(object));
    else if (operation.type === 'delete') await this.#send('DELETE', path);
    else if (operation.type === 'deletecollection') {
      await this.#send(
        'DELETE',
        `${collection}?labelSelector=${encodeURIComponent(`sequence=${this.#labels.sequence}`)}`,
      );
    } else if (operation.type === 'scale') {
      await this.#send('PATCH', `${path}/scale`, MERGE, { spec: { replicas: operation.value } });
    } else await this.#set(object, path, operation);
  }

  async #set(object: string, path: string, { how, field, value }: Extract<Write['operation'], { type: 'set' }>) {
    const isImage = field.endsWith('/image');
    const change = patchOf(field, value);
    if (how === 'strategic' || (how === 'merge' && isImage)) return await this.#send('PATCH', path, STRATEGIC, change);
    if (how === 'merge') return await this.#send('PATCH', path, MERGE, change);
    if (how === 'apply') {
      const { apiVersion, kind } = newObject(object, TARGET, {});
      const metadata = { name: object, ...(isMap(change.metadata) ? change.metadata : {}) };
      const query = '?fieldManager=agent&force=true';
      return await this.#send('PATCH', `${path}${query}`, APPLY, { apiVersion, kind, ...change, metadata });
    }
    const now = await this.read(object);
    if (now === undefined) throw new Error(`${object} is not there`);
    if (how === 'json') return await this.#jsonPatch(object, path, field, value, now);
    const metadata = how === 'update' ? without(now.metadata, 'resourceVersion') : now.metadata;
    const containers = isImage ? await this.#container(object, field) : undefined;
    await this.#send('PUT', path, 'application/json', setField({ ...now, metadata }, field, value, containers?.index));
  }

  async #jsonPatch(object: string, path: string, field: string, value: unknown, now: object): Promise<void> {
    if (field.endsWith('/image')) {
      const { index } = await this.#container(object, field);
      const place = `/spec/template/spec/containers/${index}/image`;
      return await this.#send('PATCH', path, JSON_PATCH, [{ op: 'replace', path: place, value }]);
    }
    const flat = flatten(now);
    if (value === undefined && flat?.get(field) === undefined) return;
    const parent = field.slice(0, field.lastIndexOf('/'));
    const hasParent =
      parent === '/spec' ||
      [...(flat?.keys() ?? [])].some((key) => key.startsWith(`${parent}/`)) ||
      parent.endsWith('labels');
    const operation = value === undefined ? { op: 'remove', path: field } : { op: 'add', path: field, value };
    await this.#send('PATCH', path, JSON_PATCH, [
      ...(hasParent ? [] : [{ op: 'add', path: parent, value: {} }]),
      operation,
    ]);
  }

  async #send(method: string, path: string, contentType?: string, body?: unknown): Promise<void> {
    const headers = { 'user-agent': 'agent/1', ...(contentType === undefined ? {} : { 'content-type': contentType }) };
    const text = body === undefined ? undefined : JSON.stringify(body);
    let answer: Answer;
    do {
      answer = await lab.kube(this.#attempt, method, path, headers, text);
      if (answer.status === 429) await new Promise((resolve) => setTimeout(resolve, 200));
    } while (answer.status === 429);
    // What the API server finds not valid is refused, and changes nothing.
    if (answer.status >= 400 && answer.status !== 422)
      throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
  }
}

const MERGE = 'application/merge-patch+json';
const STRATEGIC = 'application/strategic-merge-patch+json';
const APPLY = 'application/apply-patch+yaml';
const JSON_PATCH = 'application/json-patch+json';

function without(map: object, key: string): object {
  return Object.fromEntries(Object.entries(map).filter(([name]) => name !== key));
}

/** A copy of an object with one field set; undefined removes it. */
function setField(object: object, field: string, value: unknown, container?: number): unknown {
  const copy = structuredClone(object);
  const keys =
    container === undefined
      ? field.split('/').slice(1)
      : ['spec', 'template', 'spec', 'containers', String(container), 'image'];
  const last = keys.pop() ?? '';
  let parent: object = copy;
  for (const key of keys) {
    const next: unknown = Reflect.get(parent, key) ?? {};
    if (typeof next !== 'object' || next === null) throw new Error(`${field}: ${key} is no map`);
    Reflect.set(parent, key, next);
    parent = next;
  }
  if (value === undefined) Reflect.deleteProperty(parent, last);
  else Reflect.set(parent, last, value);
  return copy;
}

/** All entries of a session after a number. */
async function entriesAfter({ session }: Attempt, afterSeq: number): Promise<Entry[]> {
  const found: Entry[] = [];
  for (;;) {
    const page = await lab.gateway.log.read(session, { afterSeq: found.at(-1)?.seq ?? afterSeq, limit: 500 });
    found.push(...page);
    if (page.length < 500) return found;
  }
}

const changesAfter = async (attempt: Attempt, seq: number): Promise<Change[]> =>
  await readChanges(await entriesAfter(attempt, seq), (digest) => lab.gateway.log.blob(digest));

const lastSeq = async ({ session }: Attempt) => (await lab.gateway.log.head(session))?.entries ?? 0;

const show = (flat: Flat | undefined) => (flat === undefined ? 'absent' : JSON.stringify([...flat].toSorted()));

interface Outcome {
  readonly wrong: readonly string[];
  readonly writes: number;
  readonly conflicts: number;
}

/** Runs one sequence and its undo. */
async function check(
  attempt: Attempt,
  seed: number,
  name: string,
  see: (objects: Objects, changes: readonly Change[]) => Objects = (objects) => objects,
): Promise<Outcome> {
  const random = seededRandom(seed);
  const cluster = new Cluster(attempt, name);
  for (const object of cluster.objects) {
    if (random() < 0.6) await cluster.write({ who: 'other', object, operation: { type: 'create' } });
  }
  const start = await lastSeq(attempt);
  const expected: Expectation = await runSequence(cluster, random, 4 + Math.floor(random() * 12));
  const changes = await changesAfter(attempt, start);
  const objects = see(clusterObjects(lab.client), changes);
  const plans = await planUndo(changes, objects);
  const results = await runUndo(plans, objects);
  const wrong: string[] = changes
    .filter(({ type }) => type === 'other')
    .map((change) => `not on record: ${JSON.stringify(change)}`);
  for (const { target, failure, notUndone } of results) {
    if (failure !== undefined) wrong.push(`${target.name}: ${failure}`);
    for (const { what, why } of notUndone) wrong.push(`${target.name}: ${what}: ${why}`);
  }
  for (const object of cluster.objects) {
    const found = flatten(await cluster.read(object));
    const wanted = expected.states.get(object);
    if (show(found) !== show(wanted)) wrong.push(`${object}: ${show(found)} instead of ${show(wanted)}`);
    for (const { field, value } of expected.others.filter((one) => one.object === object)) {
      if (found?.get(field) !== value) wrong.push(`${object}: ${field} of somebody else was overwritten`);
    }
    await lab.client.delete(resourceOf(object), { namespace: TARGET, name: object });
  }
  const named = [
    ...new Set(plans.flatMap(({ target, conflicts }) => conflicts.map(({ field }) => `${target.name} ${field}`))),
  ];
  if (named.toSorted().join() !== expected.conflicts.join()) {
    wrong.push(`conflicts ${named.toSorted()} instead of ${expected.conflicts}`);
  }
  return { wrong, writes: changes.length, conflicts: named.length };
}

describe('undo', () => {
  it(`is a theorem: ${SEQUENCES} random sequences`, { timeout: 24 * 3_600_000 }, async () => {
    let next = 0;
    let [writes, conflicts] = [0, 0];
    const started = Date.now();
    await Promise.all(
      Array.from({ length: AT_ONCE }, async (_, worker) => {
        let attempt = await lab.open(`undo-${worker}-0`);
        for (let done = 0; next < SEQUENCES; done += 1) {
          if (done > 0 && done % PER_SESSION === 0) attempt = await lab.open(`undo-${worker}-${done}`);
          next += 1;
          const seed = FIRST + next - 1;
          const outcome = await check(attempt, seed, `s${seed}`);
          expect(outcome.wrong, `OPLAB_UNDO_SEED=${seed}`).toEqual([]);
          writes += outcome.writes;
          conflicts += outcome.conflicts;
          if (next % 250 === 0)
            console.log(`${next} sequences, ${writes} changes, ${conflicts} conflicts, ${Date.now() - started} ms`);
        }
      }),
    );
    console.log(`${SEQUENCES} sequences, ${writes} changes, ${conflicts} conflicts, ${Date.now() - started} ms`);
    expect(conflicts).toBeGreaterThan(0);
  });

  it('that does not look at the present state is found out', async () => {
    const blind = (objects: Objects, changes: readonly Change[]): Objects => ({
      ...objects,
      async read(target) {
        const present = await objects.read(target);
        const last = changes.findLast((change) => change.type === 'object' && change.target.name === target.name);
        if (present.state !== 'present' || last?.type !== 'object' || last.after === undefined) return present;
        return { state: 'present', object: { ...last.after, metadata: present.object.metadata } };
      },
    });
    const attempt = await lab.open('blind');
    const wrong: string[] = [];
    for (let seed = 1; seed <= 12; seed += 1) wrong.push(...(await check(attempt, seed, `blind${seed}`, blind)).wrong);
    expect(wrong.some((line) => /overwritten|conflicts/.test(line))).toBe(true);
  });

  it('loses to somebody who writes after the plan was made, and says so', async () => {
    const attempt = await lab.open('late');
    const cluster = new Cluster(attempt, 'late');
    const object = 'late-one';
    await cluster.write({ who: 'other', object, operation: { type: 'create' } });
    const start = await lastSeq(attempt);
    const set = (who: Write['who'], value: string) =>
      cluster.write({ who, object, operation: { type: 'set', how: 'merge', field: '/data/a', value } });
    await set('session', 'ours');
    const objects = clusterObjects(lab.client);
    const plans = await planUndo(await changesAfter(attempt, start), objects);
    await set('other', 'theirs');
    const [result] = await runUndo(plans, objects);
    expect(result).toMatchObject({
      done: false,
      failure: expect.stringContaining('somebody else changed it just now'),
    });
    expect(flatten(await cluster.read(object))?.get('/data/a')).toBe('theirs');
  });

  it('takes a write of somebody else between the reading and the write for a conflict', async () => {
    const attempt = await lab.open('race');
    const cluster = new Cluster(attempt, 'race');
    const object = 'race-one';
    await cluster.write({ who: 'other', object, operation: { type: 'create' } });
    const start = await lastSeq(attempt);
    // The write of the other comes as soon as the object before is on record.
    const stop = lab.gateway.log.onAppend((entry) => {
      if (entry.kind === 'kube_before' && entry.session === attempt.session) {
        stop();
        raced = cluster.write({
          who: 'other',
          object,
          operation: { type: 'set', how: 'merge', field: '/data/b', value: 'x' },
        });
      }
    });
    let raced: Promise<void> | undefined;
    await cluster.write({
      who: 'session',
      object,
      operation: { type: 'set', how: 'merge', field: '/data/a', value: 'o' },
    });
    await raced;
    const plans = await planUndo(await changesAfter(attempt, start), clusterObjects(lab.client));
    const fields = flatten(await cluster.read(object));
    const [plan] = plans;
    // Whoever was first: what the other wrote is not taken for the session's.
    expect(JSON.stringify(plan?.steps)).not.toContain('/data/b');
    expect(fields?.get('/data/b')).toBe('x');
  });

  it('is recorded on the Incident, in the version that was read', async () => {
    const attempt = await lab.open('undo-0');
    const ref = { name: 'undo-0', namespace: TARGET };
    const incident = await lab.client.get(INCIDENTS, ref);
    const objects = clusterObjects(lab.client);
    await objects.annotateIncident(incident, UNDO_ANNOTATION, '[]');
    expect((await lab.client.get(INCIDENTS, ref)).metadata.annotations).toMatchObject({ [UNDO_ANNOTATION]: '[]' });
    await expect(objects.annotateIncident(incident, UNDO_ANNOTATION, '[1]')).rejects.toMatchObject({ status: 409 });
    expect(await objects.whoAmI()).not.toBe('unknown');
    // No agent may write there.
    const path = restPath(INCIDENTS, TARGET, 'undo-0');
    const forged = await lab.kube(attempt, 'PATCH', path, { 'content-type': MERGE }, '{"metadata":{"annotations":{}}}');
    expect(forged.text).toContain('an agent may not write incidents.oplab.dev');
  });
});
