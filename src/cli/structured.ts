// Machine-readable output: JSON and YAML, identical on a terminal and in a pipe.

import type { Output } from './output.ts';

/** Writes a value in the given format. */
export async function writeStructured(output: Output, format: 'json' | 'yaml', value: unknown): Promise<void> {
  if (format === 'json') output.line(JSON.stringify(value, null, 2));
  else output.write((await import('./yaml-text.ts')).yamlText(value));
}
