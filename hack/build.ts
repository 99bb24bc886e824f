// `npm run build`: bundles each process into dist/ as one ES module.
//
// Examples:
//   npm run build

import { chmod, cp, mkdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { build, type Plugin } from 'esbuild';

const root = path.dirname(import.meta.dirname);

/**
 * Output name → source. `main` is the binary, which loads the bundle of a process or of the CLI.
 */
const bundles = {
  main: 'src/main.ts',
  cli: 'src/cli/program.ts',
  controller: 'src/controller/process.ts',
  uninstall: 'src/controller/uninstall.ts',
  gateway: 'src/gateway/process.ts',
  agent: 'src/agent/process.ts',
  sandbox: 'src/sandbox/process.ts',
  rehearsal: 'src/rehearsal/process.ts',
  'docker-socket': 'src/docker-socket/process.ts',
  'store-worker': 'src/audit/store-worker.ts',
  'cel-worker': 'src/checks/cel-worker.ts',
};

/** What imports a process by its source path finds the bundle beside it in dist/. */
const processesBesideMain: Plugin = {
  name: 'processes-beside-main',
  setup(context) {
    context.onResolve({ filter: /\.ts$/ }, (args) => {
      if (args.kind !== 'dynamic-import') return null;
      const source = path.relative(root, path.resolve(args.resolveDir, args.path));
      const bundle = Object.entries(bundles).find(([, entry]) => entry === source);
      return bundle === undefined ? null : { path: `./${bundle[0]}.mjs`, external: true };
    });
  },
};

/** Builds dist/, or another directory, from scratch and returns its path. */
export async function buildBundles(out = path.join(root, 'dist')): Promise<string> {
  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  const { version } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as { version: string };
  await build({
    entryPoints: bundles,
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
    plugins: [processesBesideMain],
    // CommonJS dependencies ask for `require` even inside an ES module bundle.
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
    },
  });
  await cp(path.join(root, 'src/rehearsal/rules'), path.join(out, 'rules'), { recursive: true });
  await chmod(path.join(out, 'main.mjs'), 0o755);
  return out;
}

if (import.meta.main) {
  const started = performance.now();
  const out = await buildBundles();
  console.log(
    `built ${Object.keys(bundles).length} bundles into ${path.relative(root, out)}/ in ${((performance.now() - started) / 1000).toFixed(1)} s`,
  );
}
