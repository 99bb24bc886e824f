// The commands `oplab changes` and `oplab undo` on a session export and objects in memory.

import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { anIncident } from '../../test/support/an-incident.ts';
import { commandLine, fakeEnvironment, outputTo } from '../../test/support/fake-environment.ts';
import type { Entry } from '../audit/entry.ts';
import { buildExport } from '../audit/export.ts';
import { entryHash, genesisHash, sha256 } from '../audit/hash-chain.ts';
import type { JsonMap } from '../audit/object-view.ts';
import { KubeError } from '../kube/errors.ts';
import type { Present, Step } from './changes/undo-plan.ts';

const SESSION = '6f1c0f5e-58a2-4c0e-9d1a-2f4f3c0b7a11';
const target = { group: '', version: 'v1', resource: 'configmaps', namespace: 'tikv', name: 'config' };
const object = (text: string, resourceVersion: string): JsonMap => ({
  ...{ apiVersion: 'v1', kind: 'ConfigMap', data: { 'config.toml': text, other: 'same' } },
  metadata: { name: 'config', namespace: 'tikv', uid: 'u1', resourceVersion },
});

type Given = Pick<Entry, 'kind'> & Partial<Pick<Entry, 'params' | 'content'>> & { readonly blob?: string };

/** A sealed session with these entries, as a file. */
function exported(given: readonly Given[]): string {
  const blobs = new Map<string, string>();
  const entries: Entry[] = [];
  const all: readonly Given[] = [
    { kind: 'lifecycle', params: { event: 'opened', incident: { namespace: 'tikv', name: 'down' } } },
    ...given,
    { kind: 'lifecycle', params: { event: 'sealed', outcome: 'Resolved' } },
  ];
  for (const { kind, params = null, content = '', blob } of all) {
    const seq = entries.length + 1;
    const blobDigest = blob === undefined ? null : sha256(blob);
    if (blob !== undefined && blobDigest !== null) blobs.set(blobDigest, blob);
    const fields = {
      ...{ session: SESSION, seq, time: '2026-01-01T00:00:00.000Z', attempt: 1, writer: 'gateway' as const },
      ...{ clientKey: `k${seq}`, kind, tool: 'kube', params, exitCode: null, durationMs: null, content, blobDigest },
      prevHash: entries.at(-1)?.hash ?? genesisHash(SESSION),
    };
    entries.push({ ...fields, hash: entryHash(fields) });
  }
  const last = entries.at(-1);
  const summary = {
    ...{ session: SESSION, incident: { namespace: 'tikv', name: 'down', uid: SESSION }, summary: 'down' },
    ...{ openedAt: '2026-01-01T00:00:00.000Z', lastAt: '2026-01-01T00:00:00.000Z', entries: entries.length },
    ...{ headHash: last?.hash ?? '', sealed: true, outcome: 'Resolved' },
  };
  const file = path.join(mkdtempSync(path.join(tmpdir(), 'oplab-undo-')), 'session.json');
  const when = new Date('2026-01-01T00:10:00Z');
  writeFileSync(
    file,
    JSON.stringify(
      buildExport({
        summary,
        entries,
        blobs,
        incident: undefined,
        source: 'test',
        exportedAt: when,
        exportedBy: 'test',
      }),
    ),
  );
  return file;
}

/** The entries of one patch: seq 2, 3 and 4 in the first call. */
const patch = (intentSeq: number, before: JsonMap, after: JsonMap, more: object = {}): Given[] => [
  { kind: 'kube_intent', params: { ...target, verb: 'patch' }, content: 'patch configmaps tikv/config' },
  { kind: 'kube_before', params: { intentSeq, state: 'present' }, blob: JSON.stringify(before) },
  { kind: 'kube_outcome', params: { intentSeq, status: 200, ...more }, blob: JSON.stringify(after) },
];
const exec: Given = {
  kind: 'kube_intent',
  params: { ...target, resource: 'pods', verb: 'connect', subresource: 'exec' },
  content: 'exec pods tikv/config: rm -rf \u001b[31m/data',
};

/** The command line, with one object in its cluster. */
function cluster(present: Present, isConfirmed = true) {
  const lines: string[] = [];
  const notes: string[] = [];
  const questions: string[] = [];
  let other: string | undefined;
  let sealedHeadHash: string | undefined;
  const steps: Step[] = [];
  const annotations: string[] = [];
  let annotate = async (value: string) => void annotations.push(value);
  const incident = anIncident({ metadata: { name: 'down', namespace: 'tikv', uid: SESSION } });
  const environment = fakeEnvironment({
    output: outputTo(
      (text) => lines.push(text),
      (text) => notes.push(text),
    ),
    confirm: async (question) => {
      questions.push(question);
      return isConfirmed;
    },
    incidents: () => ({
      get: async () => ({
        incident: sealedHeadHash === undefined ? incident : { ...incident, status: { audit: { sealedHeadHash } } },
        raw: { metadata: { annotations: { 'oplab.dev/undo': annotations.at(-1) ?? '[]' } } },
      }),
      list: async () => [],
      create: () => Promise.reject(new Error('not here')),
    }),
    objects: () => ({
      read: async () => present,
      take: async (_target, step) => {
        // The record is there before the first step.
        expect(annotations).toHaveLength(1);
        steps.push(step);
        const [begun] = JSON.parse(annotations.at(-1) ?? '');
        if (other !== undefined) annotations.push(JSON.stringify([begun, { ...begun, by: other }]));
      },
      whoAmI: async () => 'alice',
      annotateIncident: async (_incident, _annotation, value) => {
        await annotate(value);
        return {};
      },
    }),
  });
  return {
    run: commandLine(environment),
    text: () => lines.join(''),
    notes: () => notes.join(''),
    clear: () => void lines.splice(0),
    seal: (hash: string) => {
      sealedHeadHash = hash;
    },
    questions,
    /** Somebody else begins an undo while this one acts. */
    beginOther: (by: string) => {
      other = by;
    },
    steps,
    annotations,
    refuseRecord: () => {
      annotate = () => Promise.reject(new KubeError(403, 'Forbidden', 'you may not patch incidents'));
    },
  };
}

const changed = [...patch(2, object('a = 1\nb = 2', '1'), object('a = 1\nb = 3', '2'))];
const now = (text: string): Present => ({ state: 'present', object: object(text, '7') });

describe('oplab changes', () => {
  it('shows an object before and after as a diff, and what has none, without terminal escapes', async () => {
    const { run, text } = cluster({ state: 'absent' });
    await run('changes', SESSION, '--file', exported([...changed, exec]));
    expect(text()).toContain('configmaps tikv/config\n#2 ');
    expect(text()).toMatch(/-\s+b = 2\n\+\s+b = 3\n/);
    expect(text()).not.toContain('resourceVersion');
    expect(text()).toContain('rm -rf /data: what a command in a container changed is not on record');
  });

  it('prints diffs alone as a patch, and both states as JSON', async () => {
    const patches = cluster({ state: 'absent' });
    await patches.run('changes', SESSION, '--file', exported([...changed, exec]), '-o', 'patch');
    expect(patches.text()).toMatch(/^--- a\/configmaps\/tikv\/config\n\+\+\+ b\/configmaps\/tikv\/config\n@@ -1,/);
    const json = cluster({ state: 'absent' });
    await json.run('changes', SESSION, '--file', exported([...changed, exec]), '-o', 'json');
    expect(JSON.parse(json.text()).items).toMatchObject([
      { type: 'object', seq: 2, before: {}, after: {} },
      { type: 'other' },
    ]);
  });

  it('says that a value changed which is not on record', async () => {
    const secret = object('[redacted]', '1');
    const { run, text } = cluster({ state: 'absent' });
    const entries = patch(2, secret, object('[redacted]', '2'), { changed: ['/data/config.toml'] });
    await run('changes', SESSION, '--file', exported(entries));
    expect(text()).toContain('/data/config.toml changed; its value is not on record');
  });

  it('does not show a record that was changed', async () => {
    const { run } = cluster({ state: 'absent' });
    const file = exported(changed);
    const { readFileSync } = await import('node:fs');
    writeFileSync(file, readFileSync(file, 'utf8').replace('b = 2', 'b = 9'));
    await expect(run('changes', SESSION, '--file', file)).rejects.toMatchObject({ code: 'OPLAB_VERIFICATION_FAILED' });
  });
});

describe('oplab undo', () => {
  it('does nothing if the person who is asked says no', async () => {
    const { run, steps, annotations, questions, notes } = cluster(now('a = 1\nb = 3'), false);
    await run('undo', SESSION, '--file', exported(changed));
    expect(questions).toHaveLength(1);
    expect([steps, annotations]).toEqual([[], []]);
    expect(notes()).toContain('nothing was put back');
  });

  it('puts a field back under preconditions, on record before and after', async () => {
    const { run, steps, annotations, text } = cluster(now('a = 1\nb = 3'));
    await run('undo', SESSION, '--file', exported(changed), '--yes');
    expect(steps).toEqual([
      {
        type: 'patch',
        part: 'main',
        patch: [
          { op: 'test', path: '/metadata/uid', value: 'u1' },
          { op: 'replace', path: '/metadata/resourceVersion', value: '7' },
          { op: 'replace', path: '/data/config.toml', value: 'a = 1\nb = 2' },
        ],
      },
    ]);
    expect(text()).toContain(
      '  put back: /data/config.toml set to "a = 1\\nb = 2" (#2): it still has the value of the session\n',
    );
    const [begun, ended] = annotations.map((value) => JSON.parse(value));
    expect(begun).toEqual([expect.objectContaining({ by: 'alice', objects: ['configmaps tikv/config'] })]);
    expect(begun[0]).not.toHaveProperty('endedAt');
    expect(ended).toEqual([
      expect.objectContaining({
        ...{ putBack: 1, conflicts: 0, planDigest: begun[0].planDigest },
        results: [
          { object: 'configmaps tikv/config', putBack: ['set /data/config.toml'], conflicts: [], notUndone: [] },
        ],
      }),
    ]);
  });

  it('leaves a field that somebody else changed, shows three values, and ends with code 5', async () => {
    const { run, steps, annotations, text } = cluster(now('theirs'));
    await expect(run('undo', SESSION, '--file', exported(changed), '--yes')).rejects.toMatchObject({ exitCode: 5 });
    expect(steps).toEqual([]);
    expect(annotations).toEqual([]);
    for (const value of ['before:  "a = 1\\nb = 2"', 'session: "a = 1\\nb = 3"', 'present: "theirs"']) {
      expect(text()).toContain(value);
    }
  });

  it('changes nothing in a dry run', async () => {
    const { run, steps, annotations, text } = cluster(now('a = 1\nb = 3'));
    await run('undo', SESSION, '--file', exported(changed), '--dry-run');
    expect([steps, annotations]).toEqual([[], []]);
    expect(text()).toContain('would be put back: /data/config.toml set to');
  });

  it('prints the whole plan as JSON: what is done, why, and what is not; the run says the same', async () => {
    const file = exported([...changed, exec]);
    const dry = cluster(now('a = 1\nb = 3'));
    await expect(dry.run('undo', SESSION, '--file', file, '--dry-run', '-o', 'json')).rejects.toMatchObject({
      exitCode: 5,
    });
    const plan = JSON.parse(dry.text());
    expect(plan).toMatchObject({
      objects: [
        {
          object: 'configmaps tikv/config',
          restored: [
            {
              ...{ seq: 2, action: 'set', field: '/data/config.toml', value: 'a = 1\nb = 2' },
              why: 'it still has the value of the session',
            },
          ],
          steps: [{ type: 'patch' }],
        },
      ],
      notUndone: [{ seq: 5, why: expect.stringContaining('a command in a container') }],
    });
    const real = cluster(now('a = 1\nb = 3'));
    await expect(real.run('undo', SESSION, '--file', file, '--yes', '-o', 'json')).rejects.toMatchObject({
      exitCode: 5,
    });
    const [planned] = plan.objects;
    expect(JSON.parse(real.text())).toEqual({ ...plan, objects: [{ ...planned, done: true }] });
    const [ended] = JSON.parse(real.annotations.at(-1) ?? '');
    expect(ended).toMatchObject({ planDigest: sha256(dry.text().trimEnd()), notUndone: 1 });
  });

  it('names a conflict with its three values in the plan as JSON', async () => {
    const { run, text } = cluster(now('theirs'));
    await expect(run('undo', SESSION, '--file', exported(changed), '--dry-run', '-o', 'json')).rejects.toMatchObject({
      exitCode: 5,
    });
    expect(JSON.parse(text()).objects).toMatchObject([
      {
        ...{ steps: [], restored: [] },
        conflicts: [
          {
            ...{ seq: 2, field: '/data/config.toml', before: 'a = 1\nb = 2', ours: 'a = 1\nb = 3', present: 'theirs' },
            why: 'somebody else changed it since',
          },
        ],
      },
    ]);
  });

  it('asks beside the result, so that stdout holds only JSON', async () => {
    const { run, text, notes, questions } = cluster(now('a = 1\nb = 3'));
    await run('undo', SESSION, '--file', exported(changed), '-o', 'json');
    expect(questions).toEqual(['Put this back?']);
    expect(notes()).toContain('would be put back: /data/config.toml');
    expect(JSON.parse(text()).objects).toMatchObject([{ done: true }]);
  });

  it('does not replace the record of a run that somebody else began meanwhile', async () => {
    const { run, annotations, beginOther } = cluster(now('a = 1\nb = 3'));
    beginOther('bob');
    await run('undo', SESSION, '--file', exported(changed), '--yes');
    const runs: { by: string; endedAt?: string }[] = JSON.parse(annotations.at(-1) ?? '');
    expect(runs.map(({ by, endedAt }) => [by, endedAt !== undefined])).toEqual([
      ['alice', true],
      ['bob', false],
    ]);
  });

  it('puts nothing back that it cannot record', async () => {
    const { run, steps, refuseRecord } = cluster(now('a = 1\nb = 3'));
    refuseRecord();
    await expect(run('undo', SESSION, '--file', exported(changed), '--yes')).rejects.toThrow('may not patch');
    expect(steps).toEqual([]);
  });

  it('lists what cannot be put back: commands, values that are not on record, deleted volumes', async () => {
    const volume = { ...target, resource: 'persistentvolumeclaims' };
    const deleted: Given[] = [
      {
        kind: 'kube_intent',
        params: { ...volume, verb: 'delete' },
        content: 'delete persistentvolumeclaims tikv/config',
      },
      { kind: 'kube_before', params: { intentSeq: 3, state: 'present' }, blob: JSON.stringify(object('x', '1')) },
      { kind: 'kube_outcome', params: { intentSeq: 3, status: 200 }, blob: '{"kind":"Status","metadata":{}}' },
    ];
    const { run, steps, text } = cluster({ state: 'absent' });
    await expect(run('undo', SESSION, '--file', exported([exec, ...deleted]), '--yes')).rejects.toMatchObject({
      exitCode: 5,
    });
    expect(steps).toEqual([]);
    expect(text()).toContain('the data of a deleted volume is gone');
    expect(text()).toContain('what a command in a container changed is not on record');

    const hidden = cluster(now('[redacted]'));
    const entries = patch(2, object('[redacted]', '1'), object('[redacted]', '7'), { changed: ['/data/config.toml'] });
    await expect(hidden.run('undo', SESSION, '--file', exported(entries), '--yes')).rejects.toMatchObject({
      exitCode: 5,
    });
    expect(hidden.text()).toContain('not put back: /data/config.toml (#2): its value is not on record');
  });

  it('takes a change of which the state before was not readable for one that it cannot put back', async () => {
    const entries: Given[] = [
      { kind: 'kube_intent', params: { ...target, verb: 'patch' }, content: 'patch configmaps tikv/config' },
      { kind: 'kube_before', params: { intentSeq: 2, state: 'unreadable', why: 'the API server answered 403' } },
      { kind: 'kube_outcome', params: { intentSeq: 2, status: 200 }, blob: JSON.stringify(object('x', '2')) },
    ];
    const { run, steps, text } = cluster(now('x'));
    await expect(run('undo', SESSION, '--file', exported(entries), '--yes')).rejects.toMatchObject({ exitCode: 5 });
    expect(steps).toEqual([]);
    expect(text()).toContain('not readable: the API server answered 403');
  });
});

describe('oplab incident show', () => {
  const show = async (made: ReturnType<typeof cluster>, ...args: string[]) => {
    made.clear();
    await made.run('incident', 'show', 'tikv/down', ...args);
    return made.text();
  };

  it('tells when somebody undid something, who, what was put back and what was not', async () => {
    const made = cluster(now('a = 1\nb = 3'));
    expect(await show(made)).not.toContain('Undo');
    await expect(made.run('undo', SESSION, '--file', exported([...changed, exec]), '--yes')).rejects.toMatchObject({
      exitCode: 5,
    });
    const text = await show(made);
    expect(text.replaceAll(/\s+/g, ' ')).toContain(
      'Undo 2026-01-01 00:10:00 UTC by alice: 1 object put back, 0 conflicts, 1 not put back ' +
        'put back: configmaps tikv/config: set /data/config.toml ',
    );
    expect(JSON.parse(await show(made, '-o', 'json'))).toMatchObject({
      metadata: {},
      undoRuns: [{ by: 'alice', putBack: 1, results: [{ putBack: ['set /data/config.toml'] }] }],
    });
  });

  it('tells conflicts, a run without an end, another log, and nothing that a terminal would execute', async () => {
    const made = cluster(now('x'));
    const facts = { begunAt: '2026-01-01T00:00:00Z', entries: 3, headHash: 'a', planDigest: 'b' };
    const results = [{ object: 'configmaps a/b', conflicts: [{ field: '/data/x', why: 'changed\u001b[2J since' }] }];
    made.annotations.push(
      JSON.stringify([
        { ...facts, by: 'bob', objects: [], endedAt: '2026-01-01T00:00:01Z', putBack: 0, conflicts: 1, results },
        { ...facts, by: 'unknown', objects: ['configmaps a/c'] },
      ]),
    );
    made.seal('c');
    const text = await show(made);
    for (const line of [
      'by bob: 0 objects put back, 1 conflict\n',
      '    conflict: configmaps a/b /data/x: changed since\n',
      'by somebody unknown: begun, its end is not on record\n',
      '    may be put back: configmaps a/c\n',
    ]) {
      expect(text).toContain(line);
    }
    expect(text).not.toContain('\u001b');
    expect(text.match(/its plan was not made from the log that status.audit names/g)).toHaveLength(2);
    made.seal('a');
    expect(await show(made)).not.toContain('its plan was not made');
  });

  it('says that somebody replaced the record by something else', async () => {
    const made = cluster(now('x'));
    made.annotations.push('[{"by":7}]');
    expect(await show(made)).toContain('the annotation oplab.dev/undo was changed');
    expect(JSON.parse(await show(made, '-o', 'json'))).toMatchObject({ undoRuns: null });
  });
});
