// The part of an object of the API that somebody decided: without what the API server keeps itself.

declare global {
  // TypeScript does not know it yet; Node does.
  interface JSON {
    isRawJSON(value: unknown): boolean;
  }
}

/** A map of JSON. A number that JavaScript cannot hold is kept as its text and is no map. */
export type JsonMap = Readonly<Record<string, unknown>>;

/** Whether a value is a map of JSON. */
export function isMap(value: unknown): value is JsonMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !JSON.isRawJSON(value);
}

/** The member of a map; undefined if there is none, or if the value is no map. */
export function member(value: unknown, ...keys: readonly string[]): unknown {
  let found = value;
  for (const key of keys) found = isMap(found) && Object.hasOwn(found, key) ? found[key] : undefined;
  return found;
}

/** The text at a place in an object; undefined if it is none. */
export function textMember(value: unknown, ...keys: readonly string[]): string | undefined {
  const found = member(value, ...keys);
  return typeof found === 'string' ? found : undefined;
}

/** Parses JSON and keeps integers of 64 bits as they are written. Undefined for other text. */
export function parseObject(text: string): JsonMap | undefined {
  try {
    const parsed: unknown = JSON.parse(text, (_key, value: unknown, context?: { source?: string }) =>
      typeof value === 'number' && context?.source !== undefined && String(value) !== context.source
        ? JSON.rawJSON(context.source)
        : value,
    );
    return isMap(parsed) ? parsed : undefined;
  } catch {
    return undefined;
  }
}

/** Which part of an object a write can change: its status only through the subresource. */
export type ObjectPart = 'main' | 'status';

const METADATA = ['labels', 'annotations', 'finalizers', 'ownerReferences'] as const;
/** Annotations that controllers write into objects of others. */
const CONTROLLERS_ANNOTATIONS: ReadonlySet<string> = new Set(['deployment.kubernetes.io/revision']);

/** What was decided in one part of an object. */
export function viewObject(object: JsonMap, part: ObjectPart): JsonMap {
  if (part === 'status') return object.status === undefined ? {} : { status: object.status };
  const { apiVersion: _version, kind: _kind, metadata, status: _status, ...rest } = object;
  const kept: [string, unknown][] = [];
  for (const key of METADATA) {
    const value = member(metadata, key);
    if (value === undefined) continue;
    if (key !== 'annotations' || !isMap(value)) {
      kept.push([key, value]);
      continue;
    }
    const annotations = Object.entries(value).filter(([name]) => !CONTROLLERS_ANNOTATIONS.has(name));
    if (annotations.length > 0) kept.push([key, Object.fromEntries(annotations)]);
  }
  return { metadata: Object.fromEntries(kept), ...rest };
}

const PLACEHOLDER = /\[redacted(?::[\w-]+:\d+)?\]|\[oplab: \d+ bytes are left out here\]/;

/** Whether some of a value is not on record. */
export function isHidden(value: unknown): boolean {
  if (typeof value === 'string') return PLACEHOLDER.test(value);
  if (Array.isArray(value)) return value.some(isHidden);
  return isMap(value) && Object.entries(value).some(([key, inner]) => PLACEHOLDER.test(key) || isHidden(inner));
}
