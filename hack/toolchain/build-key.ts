// Content keys: a hash over a recipe and the files it reads.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** Files below a folder, sorted by path, without tests and READMEs, which no binary contains. */
export function sourceFiles(dir: string): Array<{ path: string; content: Buffer }> {
  const files = readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/_test\.go$|^README\.md$/.test(entry.name))
    .map((entry) => path.relative(dir, path.join(entry.parentPath, entry.name)).split(path.sep).join('/'));
  return files.sort().map((file) => ({ path: file, content: readFileSync(path.join(dir, file)) }));
}

/** JSON with sorted keys, so that the order in which a recipe is written does not matter. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/** Sixteen hex digits over a recipe and files. */
export function contentKey(recipe: unknown, files: ReadonlyArray<{ path: string; content: Uint8Array }> = []): string {
  const hash = createHash('sha256');
  hash.update(canonicalJson(recipe));
  for (const file of files) {
    hash.update(`\0${file.path}\0${file.content.length}\0`);
    hash.update(file.content);
  }
  return hash.digest('hex').slice(0, 16);
}
