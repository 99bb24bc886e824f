// The cache outside the checkout: each entry is made once under a content key, and never half.
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, rename, rm, stat, utimes } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** The folder for everything that outlives a checkout. */
export function cacheDir(): string {
  const base = process.env.XDG_CACHE_HOME;
  return path.join(base !== undefined && path.isAbsolute(base) ? base : path.join(homedir(), '.cache'), 'oplab');
}

const beatMs = 5_000;
const staleMs = 30_000;

/**
 * Locks with `file`, waiting while its holder lives. The holder touches the file while it runs.
 * A process id would not do: ids are reused after a restart, and a container cannot see other ids.
 */
async function lock(file: string, signal: AbortSignal | undefined): Promise<() => Promise<void>> {
  for (;;) {
    signal?.throwIfAborted();
    try {
      const handle = await open(file, 'wx', 0o600);
      await handle.writeFile(`${process.pid}\n`);
      await handle.close();
      const beat = setInterval(() => void utimes(file, new Date(), new Date()).catch(() => undefined), beatMs);
      beat.unref();
      return async () => {
        clearInterval(beat);
        await rm(file, { force: true });
      };
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
    const touched = await stat(file)
      .then((found) => found.mtimeMs)
      .catch(() => Date.now());
    if (Date.now() - touched > staleMs) {
      await rm(file, { force: true });
      continue;
    }
    await sleep(300);
  }
}

/** How an entry is made. */
export interface CacheRecipe {
  readonly name: string;
  /** Hash of everything that decides the content. */
  readonly key: string;
  readonly signal?: AbortSignal | undefined;
  /** Fills the (empty) folder. */
  make(dir: string): Promise<void>;
}

/** Where an entry is, or will be. */
export function cachePath(name: string, key: string): string {
  return path.join(cacheDir(), `${name}-${key}`);
}

/** The folder of an entry. Makes the entry if it is missing; an entry is complete or absent. */
export async function cached(recipe: CacheRecipe): Promise<string> {
  const target = cachePath(recipe.name, recipe.key);
  if (existsSync(target)) return target;
  await mkdir(cacheDir(), { recursive: true });
  const unlock = await lock(`${target}.lock`, recipe.signal);
  const partial = `${target}.partial-${randomBytes(4).toString('hex')}`;
  try {
    if (existsSync(target)) return target;
    await mkdir(partial);
    await recipe.make(partial);
    recipe.signal?.throwIfAborted();
    await rename(partial, target);
    return target;
  } finally {
    // Go's module folders are read-only by default; ours never hold one, so a plain removal does.
    await rm(partial, { recursive: true, force: true });
    await unlock();
  }
}
