// `npm run build`: bundles each process into one ES module in dist/, and the CLI into several.
//
// Examples:
//   npm run build

import { chmod, cp, mkdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { type BuildOptions, build, type Metafile, type Plugin } from 'esbuild';
import { bundlePlugins, startPlugins } from './bundle-plugins.ts';

const root = path.dirname(import.meta.dirname);

/** Output name → source of each process and worker: one complete file each. */
const processes = {
  controller: 'src/controller/process.ts',
  uninstall: 'src/controller/uninstall.ts',
  gateway: 'src/gateway/process.ts',
  agent: 'src/agent/process.ts',
  sandbox: 'src/sandbox/process.ts',
  rehearsal: 'src/rehearsal/process.ts',
  'docker-socket': 'src/docker-socket/process.ts',
  'store-worker': 'src/audit/store-worker.ts',
  'prepare-worker': 'src/audit/prepare-worker.ts',
  'cel-worker': 'src/checks/cel-worker.ts',
  // The libraries of AWS and Google are larger than the gateway, and few gateways need one.
  'aws-auth': 'src/gateway/doors/model/providers/aws-auth.ts',
  'google-auth': 'src/gateway/doors/model/providers/google-auth.ts',
};

/** What imports a process by its source path finds the bundle beside it in dist/. */
const processesBesideMain: Plugin = {
  name: 'processes-beside-main',
  setup(context) {
    context.onResolve({ filter: /\.ts$/ }, (args) => {
      if (args.kind !== 'dynamic-import') return null;
      const source = path.relative(root, path.resolve(args.resolveDir, args.path));
      const bundle = Object.entries(processes).find(([, entry]) => entry === source);
      return bundle === undefined ? null : { path: `./${bundle[0]}.mjs`, external: true };
    });
  },
};

/** Builds dist/, or another directory, from scratch. @returns the metafile of `main` */
export async function buildBundles(out = path.join(root, 'dist')): Promise<Metafile> {
  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  const { version } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as { version: string };
  const shared = {
    absWorkingDir: root,
    outdir: out,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    sourcemap: true,
    // Less to read and compile at each start; names stay, because error classes show theirs.
    minify: true,
    keepNames: true,
    legalComments: 'external',
    logLevel: 'warning',
    define: { 'process.env.OPLAB_VERSION': JSON.stringify(version) },
    plugins: [processesBesideMain, ...bundlePlugins],
    // CommonJS dependencies ask for `require` even inside an ES module bundle.
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
    },
  } satisfies BuildOptions;
  await build({ ...shared, entryPoints: processes });
  const { metafile } = await build({
    ...shared,
    entryPoints: { main: 'src/main.ts' },
    // A command loads only its own chunks. They are beside main.mjs, because code looks for workers
    // and rules in its own folder.
    splitting: true,
    plugins: [...shared.plugins, ...startPlugins],
    chunkNames: 'cli-[name]-[hash]',
    metafile: true,
  });
  await cp(path.join(root, 'src/agent/keep-running.sh'), path.join(out, 'keep-running.sh'));
  await cp(path.join(root, 'src/rehearsal/rules'), path.join(out, 'rules'), { recursive: true });
  await chmod(path.join(out, 'main.mjs'), 0o755);
  return metafile;
}

if (import.meta.main) {
  const started = performance.now();
  await buildBundles();
  console.log(
    `built main and ${Object.keys(processes).length} bundles into dist/ in ${((performance.now() - started) / 1000).toFixed(1)} s`,
  );
}
