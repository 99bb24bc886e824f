// The command `oplab changes` on a session export.

import { writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { changed, cluster, exec, exported, object, patch, SESSION } from '../../test/support/undo-session.ts';

describe('oplab changes', () => {
  it('shows an object before and after as a diff, and what has none, without terminal escapes', async () => {
    const { run, text } = cluster({ state: 'absent' });
    await run('changes', SESSION, '--file', exported([...changed, exec]));
    expect(text()).toContain('configmaps tikv/config\n#2 ');
    expect(text()).toMatch(/-\s+b = 2\n\+\s+b = 3\n/);
    expect(text()).not.toContain('resourceVersion');
    expect(text()).toContain('rm -rf ␛[31m/data: what a command in a container changed is not on record');
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
