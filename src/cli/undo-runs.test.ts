// What `oplab incident show` tells about runs of `oplab undo`.

import { describe, expect, it } from 'vitest';
import { changed, cluster, exec, exported, now, SESSION } from '../../test/support/undo-session.ts';

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
