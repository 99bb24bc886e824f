// What was there before a write: read with the attempt's own rights, and recorded before the write
// is forwarded.

import { differences, showPath } from '../../../audit/object-diff.ts';
import { isMap, type JsonMap, parseObject, textMember, viewObject } from '../../../audit/object-view.ts';
import type { Json } from '../../../audit/redaction.ts';
import { errorMessage } from '../../../errors.ts';
import { readPieces } from '../../../net/answer-body.ts';
import type { MemoryHold } from '../../body-memory.ts';
import type { ApiServer } from './api-server.ts';
import { AUDIT_ID, createAuditID } from './audit-id.ts';
import type { KubeRequest } from './classify.ts';
import { secretBody } from './secret-body.ts';

/** How long one read may take, in milliseconds. Then the write goes on without it. */
const READ_MS = 5000;
/** In bytes. An object of the API server has at most 1.5 MiB. */
const MAX_OBJECT = 2 * 1024 * 1024;
/** Of the objects that a deletecollection matches. */
const MAX_LIST = { objects: 500, bytes: 4 * 1024 * 1024 } as const;
const PAGE = 50;
/** In bytes, of the objects of a list in one entry. */
const MAX_ENTRY = 768 * 1024;
/** Fields that an outcome names. With more, it names none. */
const MAX_CHANGED = 64;

/** What was there before a write. */
export type Before =
  | { readonly state: 'absent' }
  | { readonly state: 'present'; readonly object: JsonMap }
  | { readonly state: 'unreadable'; readonly why: string }
  /** `more`: objects that are not in the list; undefined if their number is not known. */
  | { readonly state: 'list'; readonly objects: readonly JsonMap[]; readonly more: number | undefined };

export interface BeforeOptions {
  readonly apiServer: Pick<ApiServer, 'request'>;
  /** Of the attempt's account: what it may not read, the record does not show. */
  readonly token: string;
  readonly memory: MemoryHold;
}

/**
 * Reads what a write is going to change. Undefined if the write changes no stored object, or
 * creates one: the API server creates only what is not there, and its answer says so.
 */
export async function readBefore(options: BeforeOptions, wanted: KubeRequest): Promise<Before | undefined> {
  const { verb, resource, name, subresource, dryRun } = wanted;
  if (resource === undefined || dryRun) return undefined;
  try {
    if (verb === 'deletecollection') return await readList(options, wanted);
    const changes = verb === 'update' || verb === 'patch' || verb === 'delete' || subresource !== undefined;
    if (name === undefined || verb === 'connect' || !changes) return undefined;
    return await readOne(options, wanted);
  } catch (error) {
    return { state: 'unreadable', why: errorMessage(error) };
  }
}

async function readOne(options: BeforeOptions, wanted: KubeRequest): Promise<Before> {
  const { status, text } = await get(options, objectPath(wanted));
  if (status === 404) return { state: 'absent' };
  const object = status === 200 ? parseObject(text) : undefined;
  return object === undefined ? { state: 'unreadable', why: `the API server answered ${status}` } : found(object);
}

function found(object: JsonMap): Before {
  // Without its identity, it cannot be compared with the answer to the write.
  const hasIdentity = textMember(object, 'metadata', 'uid') !== undefined;
  return hasIdentity ? { state: 'present', object } : { state: 'unreadable', why: 'the answer is no stored object' };
}

async function readList(options: BeforeOptions, wanted: KubeRequest): Promise<Before> {
  const query = new URLSearchParams({ limit: String(PAGE) });
  for (const selector of ['labelSelector', 'fieldSelector']) {
    for (const value of wanted.query.getAll(selector)) query.append(selector, value);
  }
  const objects: JsonMap[] = [];
  let bytes = 0;
  for (;;) {
    const { status, text } = await get(options, `${objectPath(wanted)}?${query}`);
    if (status !== 200) {
      if (objects.length === 0) return { state: 'unreadable', why: `the API server answered ${status}` };
      return { state: 'list', objects, more: undefined };
    }
    const list = parseObject(text);
    const items = Array.isArray(list?.items) ? list.items.filter(isMap) : [];
    objects.push(...items.slice(0, MAX_LIST.objects - objects.length));
    bytes += text.length;
    const next = textMember(list, 'metadata', 'continue') ?? '';
    if (next === '') return { state: 'list', objects, more: 0 };
    if (objects.length >= MAX_LIST.objects || bytes >= MAX_LIST.bytes) {
      const remaining = isMap(list?.metadata) ? list.metadata.remainingItemCount : undefined;
      return { state: 'list', objects, more: typeof remaining === 'number' ? remaining : undefined };
    }
    query.set('continue', next);
  }
}

/** The path of the object itself, also for a write to a subresource. */
function objectPath({ group, version, resource = '', namespace, name }: KubeRequest): string {
  const parts = [
    ...(group === '' ? ['api'] : ['apis', group]),
    version,
    ...(namespace === undefined ? [] : ['namespaces', namespace]),
    resource,
    ...(name === undefined ? [] : [name]),
  ];
  return `/${parts.map(encodeURIComponent).join('/')}`;
}

async function get({ apiServer, token, memory }: BeforeOptions, path: string) {
  const headers = {
    accept: 'application/json',
    'accept-encoding': 'identity',
    'user-agent': 'oplab-gateway',
    [AUDIT_ID]: createAuditID('gateway'),
  };
  const outgoing = apiServer.request(
    { method: 'GET', path, headers, body: Buffer.alloc(0) },
    { token, limits: { whole: READ_MS } },
  );
  outgoing.body.end();
  const answer = await outgoing.receiveResponse();
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of readPieces(answer, { wholeMs: READ_MS })) {
    size += piece.length;
    if (size > MAX_OBJECT) throw new Error(`it has more than ${MAX_OBJECT} bytes`);
    if (!memory.tryGrow(piece.length)) throw new Error('the memory for bodies is in use');
    pieces.push(piece);
  }
  return { status: answer.statusCode ?? 0, text: Buffer.concat(pieces).toString('utf8') };
}

interface Facts {
  readonly params: Readonly<Record<string, Json>>;
  readonly content: string;
  readonly blob?: string;
}

/** The entries that record it: several for a long list. */
export function describeBefore(before: Before, secret: boolean): Facts[] {
  const show = (value: unknown) => (secret ? secretBody(value) : JSON.stringify(value));
  switch (before.state) {
    case 'absent':
      return [{ params: { state: 'absent' }, content: 'absent' }];
    case 'unreadable':
      return [{ params: { state: 'unreadable', why: before.why.slice(0, 1024) }, content: 'not readable' }];
    case 'present': {
      const { object } = before;
      return [{ params: { state: 'present', object: identity(object) }, content: 'present', blob: show(object) }];
    }
    case 'list': {
      const { objects, more } = before;
      const parts = chunks(objects.map(show));
      const rest = more === 0 ? {} : { more: more ?? 'unknown' };
      const left = more === 0 ? '' : `, ${more ?? 'some'} more not recorded`;
      return parts.map((part, index) => ({
        params: { state: 'list', objects: part.length, part: index + 1, parts: parts.length, ...rest },
        content: `${part.length} objects, part ${index + 1} of ${parts.length}${left}`,
        blob: `{"items":[${part.join(',')}]}`,
      }));
    }
  }
}

function identity(object: JsonMap) {
  const uid = textMember(object, 'metadata', 'uid');
  const resourceVersion = textMember(object, 'metadata', 'resourceVersion');
  return {
    ...(uid === undefined ? {} : { uid }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
  };
}

/** Texts in groups that fit into an entry each; one group if there are none. */
function chunks(texts: readonly string[]): string[][] {
  const groups: string[][] = [[]];
  let size = 0;
  for (const text of texts) {
    if (size > 0 && size + text.length > MAX_ENTRY) {
      groups.push([]);
      size = 0;
    }
    groups.at(-1)?.push(text);
    size += text.length;
  }
  return groups;
}

/**
 * The names of the fields that a write changed, from the objects as they are and not as they are
 * recorded: so the record says which value that it does not hold has changed. Undefined if that is
 * not known.
 */
export function changedFields(before: Before | undefined, answer: string, subresource?: string): string[] | undefined {
  if (before?.state !== 'present' || (subresource !== undefined && subresource !== 'status')) return undefined;
  const after = parseObject(answer);
  if (after === undefined || textMember(after, 'metadata', 'uid') === undefined) return undefined;
  const part = subresource === 'status' ? 'status' : 'main';
  try {
    const fields = differences(viewObject(before.object, part), viewObject(after, part));
    return fields.length > MAX_CHANGED ? undefined : fields.map(({ path }) => showPath(path).slice(0, 512));
  } catch {
    // It is nested too deeply.
    return undefined;
  }
}
