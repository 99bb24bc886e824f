// Each import rule can fail, and the checkout keeps all of them.

import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import { run } from './child.ts';
import { levels, rooms } from './import-rules.ts';

const root = path.dirname(import.meta.dirname);
const biome = path.join(root, 'node_modules/.bin/biome');
const report = z.object({
  diagnostics: z.array(
    z.object({ category: z.string().nullish(), location: z.object({ path: z.string() }).nullish() }),
  ),
});

/** The files that Biome reports, by the rule that they break, e.g. `style/noRestrictedImports`. */
async function findViolations(folder: string): Promise<{ rule: string; file: string }[]> {
  const only = ['--only=style/noRestrictedImports', '--only=suspicious/noImportCycles'];
  const args = ['lint', '--vcs-enabled=false', '--max-diagnostics=none', '--reporter=json', ...only];
  const { stdout } = await run(biome, [...args, 'src', 'hack', 'lab', 'test'], { cwd: folder, allowFailure: true });
  return report.parse(JSON.parse(stdout)).diagnostics.flatMap(({ category, location }) => {
    if (category?.startsWith('lint/') !== true || !location) return [];
    return [{ rule: category.slice('lint/'.length), file: location.path }];
  });
}

/** Each file imports one that it must not import; the path is relative to the file. */
const forbidden: Readonly<Record<string, string>> = {
  'src/errors.ts': './api/x.ts',
  'src/environment.ts': './net/x.ts',
  'src/main.ts': '../test/support/x.ts',
  'src/observability/a.ts': '../net/x.ts',
  'src/api/a.ts': '../kube/x.ts',
  'src/net/a.ts': '../kube/x.ts',
  'src/kube/a.ts': '../checks/x.ts',
  'src/audit/a.ts': '../gateway/x.ts',
  'src/audit/a.test.ts': '../../test/e2e/x.ts',
  'src/checks/a.ts': '../controller/x.ts',
  'src/checks/b.ts': '@kubernetes/client-node',
  'src/sandbox/a.ts': '../agent/x.ts',
  'src/gateway/a.ts': '../controller/x.ts',
  'src/gateway/doors/a.ts': '../../../test/support/x.ts',
  'src/gateway/doors/kube/a.ts': '../../../agent/x.ts',
  'src/agent/a.ts': '../kube/x.ts',
  'src/agent/b.ts': '../gateway/doors/x.ts',
  'src/controller/a.ts': '../gateway/leases.ts',
  'src/controller/incident/a.ts': '../../agent/x.ts',
  'src/rehearsal/a.ts': '../api/x.ts',
  'src/rehearsal/rules/a.ts': '../../agent/x.ts',
  'src/docker-socket/a.ts': '../gateway/x.ts',
  'src/cli/a.ts': '../controller/x.ts',
  'src/cli/tui/a.ts': '../../gateway/status.ts',
  'hack/a.ts': '../lab/index.ts',
  'hack/cluster/a.ts': '../../test/support/x.ts',
  'lab/a.ts': '../test/support/x.ts',
  'lab/scenarios/docker/a.ts': '../../../test/support/x.ts',
  'test/support/a.ts': '../../lab/patient/x.ts',
  'test/e2e/a.test.ts': '../../lab/trials/x.ts',
};

const allowed: Readonly<Record<string, string>> = {
  'src/kube/ok.ts': '@kubernetes/client-node',
  'src/gateway/doors/model/ok.ts': '../kube/x.ts',
  'src/agent/ok.ts': '../gateway/protocol.ts',
  'src/controller/incident/ok.ts': '../../sandbox/protocol.ts',
  'src/net/ok.test.ts': '../../test/support/x.ts',
  'lab/trials/ok.ts': '../../hack/cluster/x.ts',
  'test/e2e/ok.test.ts': '../../lab/index.ts',
};

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'oplab-imports-'));
  for (const file of ['biome.json', 'hack/import-rules.json']) await cp(path.join(root, file), path.join(folder, file));
  const circle = { 'lab/one.ts': './two.ts', 'lab/two.ts': './one.ts' };
  for (const [file, target] of Object.entries({ ...forbidden, ...allowed, ...circle })) {
    await mkdir(path.join(folder, path.dirname(file)), { recursive: true });
    await writeFile(path.join(folder, file), `import { x } from '${target}';\nexport const y = x;\n`);
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it('reports a planted violation of each kind, and nothing that is allowed', async () => {
  const found = await findViolations(folder);
  const of = (rule: string) => found.filter((one) => one.rule === rule).map(({ file }) => file);
  expect(of('style/noRestrictedImports').sort()).toEqual(Object.keys(forbidden).sort());
  expect(new Set(of('suspicious/noImportCycles'))).toEqual(new Set(['lab/one.ts', 'lab/two.ts']));
});

it('finds the checkout clean', async () => {
  expect(await findViolations(root)).toEqual([]);
}, 60_000);

it('has a rule for every folder of src/, as deep as there are folders', async () => {
  const files = await readdir(path.join(root, 'src'), { recursive: true });
  const sources = files.filter((file) => file.endsWith('.ts')).map((file) => file.split(path.sep));
  const folders = new Set(sources.filter((parts) => parts.length > 1).map(([name]) => name));
  expect(Object.keys(rooms).sort()).toEqual([...folders].sort());
  expect(Math.max(...sources.map((parts) => parts.length - 1))).toBeLessThanOrEqual(Math.max(...levels));
});
