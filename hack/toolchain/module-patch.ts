// Patches an unmaintained Go module: one build uses a copy with named lines replaced.
import { chmod, cp, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';
import { OplabError } from '../../src/errors.ts';
import { output, run } from '../child.ts';

/** One replacement in one file of a module. */
export interface ModuleEdit {
  /** Path of the file in the module. */
  readonly file: string;
  /** Why; ends up nowhere but here and in the cache key. */
  readonly reason: string;
  /** Text that occurs exactly once in the file. */
  readonly find: string;
  readonly replace: string;
}

/** Edits to one version of a module. */
export interface ModulePatch {
  readonly module: string;
  readonly version: string;
  readonly edits: readonly ModuleEdit[];
}

const downloaded = z.object({ Dir: z.string() });

/** The file with the edit made. @throws Error unless the text to find is there exactly once. */
export function applyEdit(source: string, edit: ModuleEdit): string {
  const parts = source.split(edit.find);
  if (parts.length !== 2)
    throw new Error(`${edit.file}: the text to replace occurs ${parts.length - 1} times, not once (${edit.reason})`);
  return parts.join(edit.replace);
}

/**
 * Puts a patched copy of the module into `moduleDir` and lets its go.mod use it.
 * @throws OplabError OPLAB_BUILD_FAILED when an edit does not fit the module.
 */
export async function patchModule(moduleDir: string, patch: ModulePatch, signal?: AbortSignal): Promise<void> {
  const options = { cwd: moduleDir, env: { GOFLAGS: '', GOWORK: 'off' }, signal };
  const said = await output('go', ['mod', 'download', '-json', `${patch.module}@${patch.version}`], options);
  const target = path.join(moduleDir, '.patched', path.basename(patch.module));
  await cp(downloaded.parse(JSON.parse(said)).Dir, target, { recursive: true });
  // The module cache is read-only, and so is a copy of it.
  await chmod(target, 0o755);
  for (const entry of await readdir(target, { recursive: true, withFileTypes: true }))
    await chmod(path.join(entry.parentPath, entry.name), entry.isDirectory() ? 0o755 : 0o644);
  for (const edit of patch.edits) {
    const file = path.join(target, edit.file);
    try {
      await writeFile(file, applyEdit(await readFile(file, 'utf8'), edit));
    } catch (cause) {
      throw new OplabError('OPLAB_BUILD_FAILED', `patching ${patch.module}: ${String(cause)}`, { cause });
    }
  }
  await run('go', ['mod', 'edit', `-replace=${patch.module}=./.patched/${path.basename(patch.module)}`], options);
}
