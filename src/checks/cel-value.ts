// Converts JSON to CEL values. Objects become maps, so that no JavaScript property can be reached.

import type { CelVariable } from './cel-protocol.ts';

/** The CEL values that JSON can become. */
export type CelJson = null | boolean | string | number | bigint | CelJson[] | Map<string, CelJson>;

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

/** A number that is written without point and exponent is a CEL int if it fits into 64 bits. */
function numberFrom(value: number, source: string | undefined): number | bigint {
  if (source === undefined || !/^-?\d+$/.test(source)) return value;
  const integer = BigInt(source);
  return integer >= INT64_MIN && integer <= INT64_MAX ? integer : value;
}

/** @throws SyntaxError for text that is not JSON */
export function celFromJson(text: string): CelJson {
  const parsed: unknown = JSON.parse(text, (_key, value: unknown, context?: { source?: string }) => {
    if (typeof value === 'number') return numberFrom(value, context?.source);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return new Map(Object.entries(value));
    return value;
  });
  if (!isCelJson(parsed)) throw new SyntaxError('not JSON');
  return parsed;
}

// The reviver has already converted every value; this only narrows the type of the root.
function isCelJson(value: unknown): value is CelJson {
  return (
    value === null ||
    value instanceof Map ||
    Array.isArray(value) ||
    ['boolean', 'string', 'number', 'bigint'].includes(typeof value)
  );
}

/** The value of a variable. Text that is not JSON becomes a string, if the variable allows it. */
export function celInput(variable: CelVariable): CelJson {
  if ('json' in variable) return celFromJson(variable.json);
  if ('samples' in variable) {
    return variable.samples.map(
      ({ labels, value }) =>
        new Map<string, CelJson>([
          ['labels', new Map(Object.entries(labels))],
          ['value', value],
        ]),
    );
  }
  try {
    return celFromJson(variable.jsonOrText);
  } catch {
    return variable.jsonOrText;
  }
}
