// The writes of a session as changes of objects, from the gateway's entries and their texts.

import * as z from 'zod';
import type { Entry } from '../../audit/entry.ts';
import { wasRefused } from '../../audit/entry-params.ts';
import { isMap, type JsonMap, member, type ObjectPart, parseObject, textMember } from '../../audit/object-view.ts';
import { findRace } from './race.ts';

/** What identifies an object in the API. */
export interface Target {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly namespace: string | undefined;
  readonly name: string;
}

interface Write {
  readonly seq: number;
  readonly time: string;
  readonly attempt: number;
  readonly verb: string;
}

/** A write with the two states of its object. */
export interface ObjectChange extends Write {
  readonly type: 'object';
  readonly target: Target;
  readonly part: ObjectPart;
  /** Undefined: it was not there. */
  readonly before: JsonMap | undefined;
  readonly after: JsonMap | undefined;
  /** Fields that changed, by name, also those whose values are not on record. */
  readonly changed: readonly string[] | undefined;
  /** Somebody else wrote between the reading of `before` and this write. */
  readonly race: string | undefined;
}

/** A write of which the record does not hold both states. */
export interface OtherChange extends Write {
  readonly type: 'other';
  readonly text: string;
  /** Why it is not shown as a difference, and not undone. */
  readonly why: string;
  readonly target: Target | undefined;
}

export type Change = ObjectChange | OtherChange;

const intentParams = z.looseObject({
  verb: z.string(),
  group: z.string().optional(),
  version: z.string().optional(),
  resource: z.string().optional(),
  namespace: z.string().optional(),
  name: z.string().optional(),
  subresource: z.string().optional(),
  dryRun: z.boolean().optional(),
  method: z.string().optional(),
  userAgent: z.string().optional(),
  query: z.record(z.string(), z.array(z.string())).optional(),
});
type Intent = z.infer<typeof intentParams>;
const beforeParams = z.looseObject({
  intentSeq: z.number(),
  state: z.enum(['absent', 'present', 'unreadable', 'list']),
  why: z.string().optional(),
  more: z.union([z.number(), z.string()]).optional(),
});
const outcomeParams = z.looseObject({
  intentSeq: z.number(),
  status: z.number().nullable(),
  subresource: z.string().optional(),
  reason: z.string().optional(),
  changed: z.array(z.string()).optional(),
});
const dockerParams = z.looseObject({ changes: z.boolean().default(true) });
const READS: ReadonlySet<string> = new Set(['get', 'list', 'watch', 'head']);

type Before = z.infer<typeof beforeParams> & { readonly text: string | undefined };

/** A write that may have changed something, with all that is on record about it. */
interface Recorded {
  readonly entry: Entry;
  readonly intent: Intent;
  readonly body: string | undefined;
  readonly befores: Before[];
  outcome?: z.infer<typeof outcomeParams> & { readonly text: string | undefined };
}

/**
 * The changes of a session, oldest first. Refused writes and dry runs are none.
 * @param blob reads the text behind a digest; undefined if it was pruned
 */
export async function readChanges(
  entries: readonly Entry[],
  blob: (digest: string) => Promise<string | undefined>,
): Promise<Change[]> {
  const text = async ({ blobDigest }: Entry) => (blobDigest === null ? undefined : await blob(blobDigest));
  const writes = new Map<number, Recorded | OtherChange>();
  for (const entry of entries) {
    // Nobody else's word counts.
    if (entry.writer !== 'gateway') continue;
    if (entry.kind === 'docker_intent') {
      if (dockerParams.safeParse(entry.params ?? {}).data?.changes === false) continue;
      writes.set(entry.seq, other(entry, 'docker', 'a call to Docker has no state that could be put back'));
    } else if (entry.kind === 'docker_outcome') {
      const outcome = outcomeParams.safeParse(entry.params);
      if (outcome.success && wasRefused(outcome.data)) writes.delete(outcome.data.intentSeq);
    } else if (entry.kind === 'kube_intent') {
      const intent = intentParams.safeParse(entry.params);
      if (!intent.success) writes.set(entry.seq, other(entry, 'unknown', 'its intent cannot be read'));
      else if (isWrite(intent.data)) {
        writes.set(entry.seq, { entry, intent: intent.data, body: await text(entry), befores: [] });
      }
    } else if (entry.kind === 'kube_before') {
      const before = beforeParams.safeParse(entry.params);
      const write = before.success ? writes.get(before.data.intentSeq) : undefined;
      if (before.success && write !== undefined && 'befores' in write) {
        write.befores.push({ ...before.data, text: await text(entry) });
      }
    } else if (entry.kind === 'kube_outcome') {
      const outcome = outcomeParams.safeParse(entry.params);
      const write = outcome.success ? writes.get(outcome.data.intentSeq) : undefined;
      if (outcome.success && write !== undefined && 'befores' in write) {
        if (wasRefused(outcome.data)) writes.delete(outcome.data.intentSeq);
        else write.outcome = { ...outcome.data, text: await text(entry) };
      }
    }
  }
  return [...writes.values()].flatMap((write) => ('type' in write ? [write] : describeWrite(write)));
}

function isWrite({ verb, dryRun, subresource, method }: Intent): boolean {
  if (READS.has(verb)) return false;
  if (verb !== 'connect') return dryRun !== true;
  return subresource !== 'proxy' || !READS.has((method ?? '').toLowerCase());
}

function other(entry: Entry, verb: string, why: string, target?: Target): OtherChange {
  const { seq, time, attempt, content } = entry;
  return { type: 'other', seq, time, attempt, verb, text: content, why, target };
}

function describeWrite(write: Recorded): Change[] {
  const { entry, intent, outcome } = write;
  const { verb, resource, subresource } = intent;
  const fail = (why: string): OtherChange[] => [other(entry, verb, why, targetOf(intent, intent.name))];
  if (verb === 'connect') {
    const what = subresource === 'exec' || subresource === 'attach' ? 'a command in a container' : 'a connection';
    return fail(`what ${what} changed is not on record`);
  }
  if (resource === undefined) return fail('it is not a write of an object');
  if (subresource !== undefined && subresource !== 'scale' && subresource !== 'status') {
    return fail(`a write of ${resource}/${subresource} has no state that could be put back`);
  }
  if (outcome === undefined || outcome.status === null) {
    return fail('its answer is not on record, so whether it was done is not known');
  }
  if (outcome.status >= 400) {
    return fail(`it was answered with the error ${outcome.status}, so whether it was done is not known`);
  }
  const answer = outcome.text === undefined ? undefined : parseObject(outcome.text);
  if (verb === 'deletecollection') return describeDeletions(write, answer);
  if (verb === 'delete') return [describeDeletion(write, answer)];
  if (answer === undefined || textMember(answer, 'metadata', 'uid') === undefined) {
    return fail('the object after it is not whole on record');
  }
  if (verb === 'create' && subresource === undefined) return [objectChange(write, undefined, answer)];
  const [before] = write.befores;
  if (before === undefined) return fail('the object before it is not on record');
  if (before.state === 'absent') return [objectChange(write, undefined, answer)];
  const object = before.text === undefined ? undefined : parseObject(before.text);
  if (object === undefined) return fail(unreadable(before));
  if (subresource !== 'scale') return [objectChange(write, object, answer)];
  const replicas = member(answer, 'spec', 'replicas');
  if (typeof member(object, 'spec', 'replicas') !== 'number' || !isMap(object.spec)) {
    return fail('where this kind keeps its replicas is not known');
  }
  const metadata = isMap(object.metadata) ? { ...object.metadata, ...identityOf(answer) } : answer.metadata;
  return [objectChange(write, object, { ...object, metadata, spec: { ...object.spec, replicas: replicas ?? 0 } })];
}

function identityOf(object: JsonMap) {
  return {
    uid: textMember(object, 'metadata', 'uid'),
    resourceVersion: textMember(object, 'metadata', 'resourceVersion'),
  };
}

function unreadable({ state, why }: Before): string {
  return state === 'unreadable'
    ? `the object before it was not readable: ${why ?? 'no reason on record'}`
    : 'the object before it is not whole on record';
}

function targetOf({ group, version, resource, namespace }: Intent, name: string | undefined): Target | undefined {
  if (resource === undefined || name === undefined) return undefined;
  return { group: group ?? '', version: version ?? '', resource, namespace, name };
}

function objectChange(write: Recorded, before: JsonMap | undefined, after: JsonMap | undefined): Change {
  const { entry, intent, outcome } = write;
  const { seq, time, attempt } = entry;
  const found = after ?? before;
  const name = intent.name ?? textMember(found, 'metadata', 'name');
  const namespace = intent.namespace ?? textMember(found, 'metadata', 'namespace');
  const target = targetOf({ ...intent, namespace }, name);
  if (target === undefined) return other(entry, intent.verb, 'the name of its object is not on record');
  return {
    type: 'object',
    ...{ seq, time, attempt, target, before, after },
    verb: intent.subresource === undefined ? intent.verb : `${intent.verb} ${intent.subresource}`,
    part: intent.subresource === 'status' ? 'status' : 'main',
    // A scale changes nothing else.
    changed: intent.subresource === 'scale' ? [] : outcome?.changed,
    race: findRace({ before, after, ...writerOf(intent), status: outcome?.status ?? 0, body: write.body }),
  };
}

/** The name under which the API server notes what a request writes. */
function writerOf({ query, userAgent, subresource }: Intent) {
  const manager = query?.fieldManager?.[0] ?? (userAgent ?? '').split('/', 1)[0] ?? '';
  return { manager, subresource };
}

/** The answer to a DELETE is the object as it was, or only its uid. */
function describeDeletion(write: Recorded, answer: JsonMap | undefined): Change {
  const { entry, intent, befores } = write;
  const [before] = befores;
  const read = before?.text === undefined ? undefined : parseObject(before.text);
  const uid = textMember(answer, 'metadata', 'uid') ?? textMember(answer, 'details', 'uid');
  // The object in the answer is newer than the one that was read before.
  const last = textMember(answer, 'metadata', 'uid') !== undefined && answer?.kind !== 'Status' ? answer : read;
  if (last === undefined) {
    const why = before === undefined ? 'the object before it is not on record' : unreadable(before);
    return other(entry, intent.verb, why, targetOf(intent, intent.name));
  }
  const change = objectChange(write, last, undefined);
  if (change.type === 'other' || uid === undefined || uid === textMember(last, 'metadata', 'uid')) return change;
  return { ...change, race: 'another object of this name was deleted than the one that was read before' };
}

/** The answer to a deletecollection is the list of what was deleted. */
function describeDeletions(write: Recorded, answer: JsonMap | undefined): Change[] {
  const { entry, intent, befores } = write;
  const items = Array.isArray(answer?.items) ? answer.items.filter(isMap) : undefined;
  if (items === undefined) {
    return [other(entry, intent.verb, 'the list of what it deleted is not whole on record')];
  }
  const read = new Map<string, JsonMap>();
  for (const { text } of befores) {
    const list = text === undefined ? undefined : parseObject(text);
    for (const item of Array.isArray(list?.items) ? list.items.filter(isMap) : []) {
      read.set(textMember(item, 'metadata', 'uid') ?? '', item);
    }
  }
  return items.map((item) => {
    const known = read.get(textMember(item, 'metadata', 'uid') ?? '');
    // The items of a list have neither kind nor version; the answer is newer than what was read.
    return objectChange(write, { ...pick(known ?? {}, 'apiVersion', 'kind'), ...item }, undefined);
  });
}

function pick(object: JsonMap, ...keys: readonly string[]): JsonMap {
  return Object.fromEntries(keys.flatMap((key) => (object[key] === undefined ? [] : [[key, object[key]]])));
}
