// The commands of docs/install.md and docs/operations.md, run line by line on a cluster without a
// trace of oplab.

import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { uninstallOperator } from '../../lab/index.ts';
import { blocks } from '../support/docs-blocks.ts';
import { eventually } from '../support/eventually.ts';
import { child, finished, KUBECONFIG, kubectl, tryKubectl } from '../support/live.ts';

const root = path.dirname(path.dirname(import.meta.dirname));
/**
 * Shaped like the vendor's keys, but worthless: with it, the agent only learns that the model
 * cannot be reached.
 */
const MODEL_KEY = 'sk-ant-walkthrough-0000000000000000';
const INCIDENT = ['tikv', 'tikv-store-down'] as const;
/** The images of this checkout, which are in the node already. */
const IMAGES = Object.entries({
  'image.repository': 'oplab.dev/oplab',
  'image.tag': 'dev',
  'sandboxImage.repository': 'oplab.dev/oplab-sandbox',
  'sandboxImage.tag': 'dev',
})
  .map(([key, value]) => `--set ${key}=${value}`)
  .join(' ');

describe('the commands in the documentation', () => {
  let folder = '';
  /**
   * Runs the commands of a block. A later `--set` wins, so the chart uses this checkout's images
   * instead of those in the documentation's registry.
   */
  const type = async (block: string | undefined) => {
    expect(block).toBeDefined();
    const lines = (block ?? '').replaceAll(/\\\n */g, '').split('\n');
    // `oplab top` needs a terminal. Its own tests provide one.
    for (const line of lines.map((text) => text.trim()).filter((text) => !/^(oplab top.*)?$/.test(text))) {
      const images = / upgrade --install /.test(line) ? ` ${IMAGES} --wait` : '';
      // The child's input is a socket. /dev/stdin can be opened on a pipe, as on a terminal, but
      // not on a socket.
      await child('bash', ['-euo', 'pipefail', '-c', `exec < <(cat)\n${line}${images}`], {
        cwd: folder,
        ...(line.includes('/dev/stdin') ? { input: `${MODEL_KEY}\n` } : {}),
        timeoutMs: 180_000,
      });
    }
  };

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'oplab-walkthrough-'));
    for (const name of ['helm', 'crds', 'examples']) await symlink(path.join(root, name), path.join(folder, name));
    await uninstallOperator(KUBECONFIG, AbortSignal.timeout(200_000));
    await eventually(async () => (await tryKubectl('get', 'ns', 'oplab-system')).code !== 0, {
      what: 'no trace of oplab',
      withinMs: 90_000,
      everyMs: 500,
    });
  });
  afterAll(async () => {
    await tryKubectl('delete', 'clusterrolebinding', 'sre-use-oplab', 'sre-view-oplab');
    await tryKubectl('-n', 'tikv', 'delete', 'rolebinding', 'sre-incidents');
    await rm(folder, { recursive: true, force: true });
  });

  it('install oplab, admit an author, stop an agent, verify the log, upgrade and uninstall', async () => {
    const typed = await blocks('docs/install.md', 'sh');
    const [namespace, key, install, authors, readers, otherModel, upgrade, uninstall, deleteRecord, ...more] = typed;
    expect(more, 'blocks that nothing types').toEqual([]);
    const values = (await blocks('docs/install.md', 'yaml')).find((block) => block.startsWith('# my-values.yaml\n'));
    expect(values).toBeDefined();
    const [observe, stop, record] = await blocks('docs/operations.md', 'sh');

    await type(namespace);
    await type(key);
    await type(install);
    await type(authors);
    await type(readers);
    const asAuthor = ['--as', 'alice', '--as-group', 'sre'];
    await eventually(
      async () => {
        const applied = await tryKubectl(...asAuthor, 'create', '-f', path.join(root, 'examples/incident.yaml'));
        return applied.code === 0;
      },
      { what: 'the author is admitted', withinMs: 20_000, everyMs: 500 },
    );

    // `oplab incident watch` runs until the Incident ends. The other lines run in the meantime.
    const watching = observe?.split('\n').find((line) => line.includes('incident watch')) ?? '';
    const watched = child('bash', ['-c', watching], { allowFailure: true, timeoutMs: 180_000 });
    await eventually(
      async () => {
        const phase = await kubectl(
          '-n',
          INCIDENT[0],
          'get',
          'incident',
          INCIDENT[1],
          '-o',
          'jsonpath={.status.phase}',
        );
        return phase === 'Running';
      },
      { what: 'an attempt', withinMs: 60_000, everyMs: 500 },
    );
    await type(observe?.replace(watching, ''));
    await type(stop);
    expect((await finished(...INCIDENT, 60)).status?.phase).toBe('Cancelled');
    expect((await watched).stdout).toContain('Cancelled');
    await type(record);

    await writeFile(path.join(folder, 'my-values.yaml'), values ?? '');
    await type(otherModel);
    expect(await kubectl('get', 'agentclass', 'default', '-o', 'jsonpath={.spec.model.name}')).toBe('my-model');

    await kubectl('-n', INCIDENT[0], 'delete', 'incident', INCIDENT[1], '--timeout=60s');
    await type(upgrade);
    await type(uninstall);
    expect((await tryKubectl('-n', 'oplab-system', 'get', 'deployment', 'oplab-gateway')).code).not.toBe(0);
    expect((await tryKubectl('-n', 'oplab-system', 'get', 'pvc', 'oplab-gateway-audit')).code).toBe(0);
    await type(deleteRecord);
    expect((await tryKubectl('get', 'crd', 'incidents.oplab.dev')).code).not.toBe(0);
    expect((await tryKubectl('get', 'namespace', 'oplab-system')).code).not.toBe(0);
  });
});
