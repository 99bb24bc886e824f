// A value as YAML. In a file of its own, so that only a command that prints YAML loads the package.

// Imported by a statement: esbuild gives `import('yaml')`, of a CommonJS package, no named exports.
import { stringify } from 'yaml';

/** The value as YAML, without line breaks in long texts. */
export const yamlText = (value: unknown): string => stringify(value, { lineWidth: 0 });
