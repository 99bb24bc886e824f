// Each import rule can fail. `npm run check` holds the checkout to the same biome.json.

import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import * as z from 'zod';
import { run } from './child.ts';
import { connectors, fetchers, levels, rooms } from './import-rules.ts';

const root = path.dirname(import.meta.dirname);
const biome = path.join(root, 'node_modules/.bin/biome');
const report = z.object({
  diagnostics: z.array(
    z.object({ category: z.string().nullish(), location: z.object({ path: z.string() }).nullish() }),
  ),
});

/** The files that Biome reports, by the rule that they break, e.g. `style/noRestrictedImports`. */
async function findViolations(folder: string): Promise<{ rule: string; file: string }[]> {
  const only = [
    '--only=style/noRestrictedImports',
    '--only=style/noRestrictedGlobals',
    '--only=suspicious/noImportCycles',
  ];
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
  'src/error-codes.ts': './environment.ts',
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
  'src/messages-double/a.ts': '../rehearsal/x.ts',
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

/**
 * What opens a connection by hand, at the beginning of a file; outside of src/net none of it
 * passes.
 */
const connecting: Readonly<Record<string, string>> = {
  'src/agent/tcp-1.ts': "import http from 'node:http'",
  'src/checks/tcp-2.ts': "import * as http from 'node:http'",
  'src/controller/notify/tcp-3.ts': "import { request } from 'node:https'",
  'src/gateway/doors/kube/tcp-4.ts': "import { ClientRequest } from 'node:http'",
  'src/kube/tcp-5.ts': "import { createConnection as open } from 'node:net'",
  'src/cli/tcp-6.ts': "import tls from 'node:tls'",
  'src/sandbox/tcp-7.ts': "import http2 from 'node:http2'",
  'src/docker-socket/tcp-8.ts': "import { connect } from 'node:net'",
  'src/rehearsal/tcp-9.ts': "import { fetch } from 'undici'",
  'src/observability/tcp-10.ts': "import { get } from 'node:http'",
};
const connectingAllowed: Readonly<Record<string, string>> = {
  'src/net/tcp.ts': "import http from 'node:http'",
  'src/agent/tcp.test.ts': "import { request } from 'node:http'",
  'src/rehearsal/serve.ts': "import { createServer } from 'node:http'",
  'test/support/tcp.ts': "import { connect } from 'node:tls'",
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
  for (const [file, line] of Object.entries({ ...connecting, ...connectingAllowed })) {
    await mkdir(path.join(folder, path.dirname(file)), { recursive: true });
    await writeFile(path.join(folder, file), `${line};\n`);
  }
  for (const file of ['src/agent/web.ts', 'src/net/web.ts', 'src/net/web.test.ts']) {
    await writeFile(path.join(folder, file), "export const answer = await fetch('http://x');\n");
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it('reports a planted violation of each kind, and nothing that is allowed', async () => {
  const found = await findViolations(folder);
  const of = (rule: string) => found.filter((one) => one.rule === rule).map(({ file }) => file);
  expect(of('style/noRestrictedImports').sort()).toEqual(
    [...Object.keys(forbidden), ...Object.keys(connecting)].sort(),
  );
  expect(of('style/noRestrictedGlobals').sort()).toEqual(['src/agent/web.ts', 'src/net/web.ts']);
  expect(new Set(of('suspicious/noImportCycles'))).toEqual(new Set(['lab/one.ts', 'lab/two.ts']));
});

it('has no exception that is not needed any more', async () => {
  const readText = (file: string) => readFile(path.join(root, file), 'utf8');
  for (const file of Object.keys(connectors)) expect(await readText(file)).toMatch(/\bconnect\b.* from 'node:net'/);
  for (const file of Object.keys(fetchers)) expect(await readText(file)).toMatch(/\bfetch\(/);
});

it('has a rule for every folder of src/, as deep as there are folders', async () => {
  const files = await readdir(path.join(root, 'src'), { recursive: true });
  const sources = files.filter((file) => file.endsWith('.ts')).map((file) => file.split(path.sep));
  const folders = new Set(sources.filter((parts) => parts.length > 1).map(([name]) => name));
  expect(Object.keys(rooms).sort()).toEqual([...folders].sort());
  expect(Math.max(...sources.map((parts) => parts.length - 1))).toBeLessThanOrEqual(Math.max(...levels));
});
