// For tests: worker threads run a bundle of their source, as they do in dist/.

import { glob, mkdir, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import type { Plugin } from 'vitest/config';

const root = path.resolve(import.meta.dirname, '../..');
const directory = path.join(root, 'node_modules/.cache/oplab-workers');
const workerUrl = /new URL\('\.\/([a-z-]+-worker)\.ts', import\.meta\.url\)/;

/** Bundles a worker and returns where it is. Whoever reads it at the same time reads a whole file. */
async function bundle(source: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [source],
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    // As the build does it: less to read and compile at each start, and error classes keep their names.
    minify: true,
    keepNames: true,
    write: false,
  });
  const [output] = outputFiles;
  if (output === undefined) throw new Error(`esbuild made nothing of ${source}`);
  const file = path.join(directory, `${path.basename(source, '.ts')}.mjs`);
  const unfinished = `${file}.${process.pid}`;
  await mkdir(directory, { recursive: true });
  await writeFile(unfinished, output.contents);
  await rename(unfinished, file);
  return file;
}

/** All workers of src/. */
async function bundleAll(): Promise<ReadonlyMap<string, string>> {
  const bundled = new Map<string, string>();
  for await (const source of glob('src/*/*-worker.ts', { cwd: root })) {
    bundled.set(path.basename(source), await bundle(path.join(root, source)));
  }
  return bundled;
}
let bundles: Promise<ReadonlyMap<string, string>> | undefined;

/**
 * A thread that strips types and loads zod for itself takes more of a processor than most tests do,
 * and every audit log has one.
 */
export function bundledWorkers(): Plugin {
  return {
    name: 'bundled-workers',
    enforce: 'pre',
    // Not in `transform`: vitest keeps what that returns as long as the file which starts the worker is
    // the same, and would then go on with an old bundle of a worker that has changed.
    async configResolved() {
      bundles ??= bundleAll();
      await bundles;
    },
    async transform(code, id) {
      const name = id.endsWith('.ts') ? workerUrl.exec(code)?.[1] : undefined;
      if (name === undefined) return undefined;
      const file = (await bundles)?.get(`${name}.ts`);
      if (file === undefined) throw new Error(`${id} starts ${name}.ts, which is not in src/`);
      return { code: code.replace(workerUrl, `new URL('${pathToFileURL(file)}')`), map: null };
    },
  };
}
