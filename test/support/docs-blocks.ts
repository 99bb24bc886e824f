// The code blocks of the documentation, so that tests run what readers type.

import { readFile } from 'node:fs/promises';
import path from 'node:path';

const root = path.dirname(path.dirname(import.meta.dirname));

/**
 * The code blocks of one language on a page, in order.
 * @param page its path from the root of the repository
 * @param after only those after this heading
 */
export async function blocks(page: string, language: string, after = ''): Promise<string[]> {
  const text = await readFile(path.join(root, page), 'utf8');
  const start = text.indexOf(after);
  if (start < 0) throw new Error(`${page} has no heading "${after}"`);
  const fence = new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, 'g');
  return [...text.slice(start).matchAll(fence)].map(([, block = '']) => block);
}
