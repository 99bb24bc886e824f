// Writes crds/, schemas/, docs/reference.md and hack/import-rules.json from the code.
//
//   --check   only compares them; exit code 1 if one is out of date
//
// Examples:
//   npm run generate
//   npm run generate -- --check

import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { stringify } from 'yaml';
import { customResourceDefinitions } from '../src/api/crd.ts';
import { exportJsonSchema } from '../src/audit/export.ts';
import { importRules } from './import-rules.ts';
import { reference } from './reference.ts';

const root = path.dirname(import.meta.dirname);
/** The chart carries a copy, because Helm installs only what lies in its own folder. */
const folders = ['crds', 'helm/oplab/crds'];

/** What the files ought to hold, by path relative to the checkout. */
export async function generated(): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for (const [name, definition] of Object.entries(customResourceDefinitions())) {
    const text = `# Generated from src/api by \`npm run generate\`; do not edit.\n${stringify(definition, { lineWidth: 120, aliasDuplicateObjects: false })}`;
    for (const folder of folders) files.set(path.join(folder, name), text);
  }
  files.set('schemas/session-export.schema.json', `${JSON.stringify(exportJsonSchema(), null, 2)}\n`);
  files.set('docs/reference.md', await reference());
  files.set('hack/import-rules.json', importRules());
  return files;
}

/** The files that are not what they ought to be, by path relative to the checkout. */
export async function stale(): Promise<string[]> {
  const wanted = await generated();
  const found: string[] = [];
  for (const [file, text] of wanted) {
    if ((await readFile(path.join(root, file), 'utf8').catch(() => undefined)) !== text) found.push(file);
  }
  for (const folder of folders) {
    const present = await readdir(path.join(root, folder)).catch((): string[] => []);
    found.push(...present.map((name) => path.join(folder, name)).filter((file) => !wanted.has(file)));
  }
  return found;
}

if (import.meta.main) {
  const files = await stale();
  if (process.argv.includes('--check')) {
    if (files.length > 0) {
      console.error(`not up to date: ${files.join(', ')}; run \`npm run generate\``);
      process.exitCode = 1;
    }
  } else {
    const wanted = await generated();
    for (const file of files) {
      const text = wanted.get(file);
      await mkdir(path.join(root, path.dirname(file)), { recursive: true });
      if (text === undefined) await rm(path.join(root, file));
      else await writeFile(path.join(root, file), text);
    }
    console.log(files.length === 0 ? 'generated files: up to date' : `wrote ${files.join(', ')}`);
  }
}
