// Only writes that were made, or may have been made, count as changes.

import { describe, expect, it } from 'vitest';
import type { Entry } from '../audit/entry.ts';
import { ChangeBook, Changes, readChange } from './changes.ts';

let seq = 0;
const entry = (kind: Entry['kind'], params: Entry['params'], parts: Partial<Entry> = {}): Entry => {
  seq += 1;
  return {
    session: 's',
    seq,
    time: '',
    attempt: 1,
    writer: 'gateway',
    clientKey: String(seq),
    kind,
    tool: 'kube',
    params,
    exitCode: null,
    durationMs: null,
    content: `entry ${seq}`,
    blobDigest: null,
    prevHash: '',
    hash: '',
    ...parts,
  };
};
const write = (params: object = {}) => entry('kube_intent', { verb: 'patch', resource: 'statefulsets', ...params });
const outcome = (intentSeq: number, status: number | null) =>
  entry('kube_outcome', { verb: 'patch', intentSeq, status });

describe('an intent is a change', () => {
  it.each<[boolean, object]>([
    [true, { verb: 'create' }],
    [true, { verb: 'deletecollection' }],
    [false, { verb: 'patch', dryRun: true }],
    [false, { verb: 'list', resource: 'secrets' }],
    [true, { verb: 'connect', subresource: 'exec' }],
    [true, { verb: 'connect', subresource: 'exec', dryRun: true }],
    [true, { verb: 'connect', subresource: 'attach' }],
    [false, { verb: 'connect', subresource: 'portforward' }],
    [false, { verb: 'connect', subresource: 'proxy', method: 'GET' }],
    [true, { verb: 'connect', subresource: 'proxy', method: 'POST' }],
    [true, { verb: 'connect', subresource: 'proxy' }],
    [true, { verb: 'post', path: '/nonsense' }],
  ])('%s: %o', (is, params) => {
    expect(readChange(write(params)) !== undefined).toBe(is);
  });

  it('only if the gateway recorded it', () => {
    expect(readChange(entry('kube_intent', { verb: 'patch' }, { writer: 'agent' }))).toBeUndefined();
    expect(readChange(entry('tool_call', { command: 'kubectl delete all' }))).toBeUndefined();
    expect(readChange(entry('kube_intent', null))).toBeDefined();
  });

  it('for Docker as well, unless it says that it changes nothing', () => {
    expect(readChange(entry('docker_intent', { operation: 'start' }))).toMatchObject({ plane: 'docker' });
    expect(readChange(entry('docker_intent', { changes: false }))).toBeUndefined();
  });

  it('whose text contains no terminal escapes', () => {
    const text =
      readChange(entry('kube_intent', { verb: 'patch' }, { content: `a\u001b[2J${'ä'.repeat(600)}` }))?.text ?? '';
    expect(text).not.toContain('\u001b');
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(512);
  });
});

describe('the count', () => {
  it('drops refused writes and keeps those without an outcome', () => {
    const changes = new Changes();
    const [made, refused, lost] = [write(), write(), write()];
    for (const one of [
      made,
      refused,
      lost,
      outcome(made.seq, 200),
      outcome(refused.seq, 409),
      outcome(lost.seq, null),
    ]) {
      changes.add(one);
    }
    expect(changes.summary()).toMatchObject({ count: 2, last: [{ seq: made.seq }, { seq: lost.seq }] });
    // An outcome counts once.
    changes.add(outcome(made.seq, 500));
    expect(changes.summary().count).toBe(2);
  });

  it.each<[string, number, object]>([
    ['a server error may follow on a change', 500, {}],
    ['a time-out says nothing about the change', 504, {}],
    ['a server behind a proxy may answer anything after a change', 400, { subresource: 'proxy', reason: 'whatever' }],
    ['nor does its own 403 say more', 403, { subresource: 'proxy' }],
  ])('keeps what may have been done: %s', (_why, status, more) => {
    const changes = new Changes();
    const made = write(more);
    changes.add(made);
    changes.add(entry('kube_outcome', { verb: 'patch', intentSeq: made.seq, status, ...more }));
    expect(changes.summary().count).toBe(1);
  });

  it('drops a request to a proxy that the API server has refused itself', () => {
    const changes = new Changes();
    const asked = { verb: 'connect', subresource: 'proxy', method: 'POST' };
    const made = entry('kube_intent', asked);
    changes.add(made);
    changes.add(entry('kube_outcome', { ...asked, intentSeq: made.seq, status: 403, reason: 'Forbidden' }));
    expect(changes.summary().count).toBe(0);
  });

  it('adds the name of a created object from the answer', () => {
    const changes = new Changes();
    const made = entry('kube_intent', { verb: 'create' }, { content: 'create apps/deployments tikv' });
    const answer = { verb: 'create', namespace: 'tikv', object: { name: 'web' }, intentSeq: made.seq, status: 201 };
    for (const one of [made, entry('kube_outcome', answer)]) changes.add(one);
    expect(changes.summary().last[0]?.text).toBe('create apps/deployments tikv/web');
  });

  it('shows only the last changes', () => {
    const changes = new Changes();
    for (let index = 0; index < 40; index += 1) changes.add(write());
    const { count, last } = changes.summary();
    expect([count, last.length, last.at(-1)?.seq]).toEqual([40, 16, seq]);
  });
});

it('the book continues where it stopped and counts each entry once, even with concurrent readers', async () => {
  const log: Entry[] = [write(), write()];
  const book = new ChangeBook({
    read: async (_session, { afterSeq = 0, limit = 1000 } = {}) =>
      log.filter((one) => one.seq > afterSeq).slice(0, limit),
  });
  const [first, second] = await Promise.all([book.of('s'), book.of('s')]);
  expect([first.count, second.count]).toEqual([2, 2]);
  const next = write();
  log.push(next, outcome(next.seq, 403));
  expect((await book.of('s')).count).toBe(2);
  log.push(write());
  expect((await book.of('s')).count).toBe(3);
  book.forget('s');
  expect((await book.of('s')).count).toBe(3);
});
