// Machine-readable output: JSON and YAML, identical on a terminal and in a pipe.

import { stringify } from 'yaml';
import type { Output } from './output.ts';

/** Writes a value in the given format. */
export function writeStructured(output: Output, format: 'json' | 'yaml', value: unknown): void {
  if (format === 'json') output.line(JSON.stringify(value, null, 2));
  else output.write(stringify(value, { lineWidth: 0 }));
}
