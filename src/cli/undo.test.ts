// The command `oplab undo` on a session export and objects in memory.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  changed,
  cluster,
  exec,
  exported,
  type Given,
  now,
  object,
  patch,
  SESSION,
  target,
} from '../../test/support/undo-session.ts';
import { parseExport } from '../audit/export.ts';
import { sha256 } from '../audit/hash-chain.ts';

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

  it('acts on no record that the Incident does not name as its sealed log', async () => {
    const file = exported(changed);
    const { entries } = parseExport(readFileSync(file, 'utf8'), file);
    const [first] = entries;
    const running = { entries: 1, headHash: first?.hash ?? '' };
    for (const status of [undefined, {}, running]) {
      const { run, forge, steps, annotations, questions } = cluster(now('a = 1\nb = 3'));
      forge(status);
      await expect(run('undo', SESSION, '--file', file)).rejects.toMatchObject({ code: 'OPLAB_NOT_ALLOWED' });
      expect([steps, annotations, questions]).toEqual([[], [], []]);
    }
  });

  it('says so where it shows only the beginning of a value, and shows what reorders it', async () => {
    const before = `${'a'.repeat(600)}\u202e`;
    const { run, text } = cluster(now('mine'));
    await run('undo', SESSION, '--file', exported(patch(2, object(before, '1'), object('mine', '2'))), '--dry-run');
    expect(text()).toContain('(and 108 more characters: see -o json)');
    const short = cluster(now('mine'));
    const file = exported(patch(2, object('a\u202eb', '1'), object('mine', '2')));
    await short.run('undo', SESSION, '--file', file, '--dry-run');
    expect(short.text()).toContain('set to "a\\u202eb"');
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
