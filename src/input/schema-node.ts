// Finds what a schema says about one field: its fields, its range and its description. Pure.

import * as z from 'zod';

/** The schema of one field, without the wrappers around it, and the description of the field. */
export interface SchemaNode {
  readonly schema: unknown;
  readonly description: string | undefined;
}

/** Removes wrappers such as optional and default. The outermost description wins. */
export function unwrap(schema: unknown): SchemaNode {
  let inner = schema;
  let description: string | undefined;
  for (;;) {
    if (inner instanceof z.ZodType) description ??= inner.description;
    const next = wrapped(inner);
    if (next === undefined) return { schema: inner, description };
    inner = next;
  }
}

function wrapped(schema: unknown): unknown {
  if (
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodCatch ||
    schema instanceof z.ZodReadonly ||
    schema instanceof z.ZodNonOptional
  ) {
    return schema.def.innerType;
  }
  // A transformation in front of a schema is z.preprocess(): the schema comes after it.
  if (schema instanceof z.ZodPipe) return schema.def.in instanceof z.ZodTransform ? schema.def.out : schema.def.in;
  return schema instanceof z.ZodLazy ? schema.def.getter() : undefined;
}

/** The schema at a path below another; undefined if the schema does not describe it. */
export function nodeAt(schema: unknown, path: readonly PropertyKey[]): SchemaNode | undefined {
  const node = unwrap(schema);
  const [key, ...rest] = path;
  if (key === undefined) return node;
  for (const child of childrenAt(node.schema, key)) {
    const found = nodeAt(child, rest);
    if (found !== undefined) return found;
  }
  return undefined;
}

function childrenAt(schema: unknown, key: PropertyKey): unknown[] {
  if (schema instanceof z.ZodObject) {
    const fields = new Map<PropertyKey, unknown>(Object.entries(schema.shape));
    return [fields.get(key) ?? schema.def.catchall].filter((child) => child !== undefined);
  }
  if (schema instanceof z.ZodArray) return [schema.element];
  if (schema instanceof z.ZodRecord) return [schema.valueType];
  if (schema instanceof z.ZodMap) return [schema.valueType];
  if (schema instanceof z.ZodTuple) {
    const items: readonly unknown[] = schema.def.items;
    return [items[Number(key)] ?? schema.def.rest].filter((child) => child !== undefined && child !== null);
  }
  if (schema instanceof z.ZodIntersection) {
    return [schema.def.left, schema.def.right].flatMap((side) => childrenAt(unwrap(side).schema, key));
  }
  return unionOptions(schema).flatMap((option) => childrenAt(unwrap(option).schema, key));
}

/** The alternatives of a union, in its order. Empty for other schemas. */
export function unionOptions(schema: unknown): readonly unknown[] {
  return schema instanceof z.ZodUnion ? schema.options : [];
}

/** The names of an object's fields. Empty if the schema is not an object or is not known. */
export function fieldNames(schema: unknown): string[] {
  if (schema instanceof z.ZodObject) return Object.keys(schema.shape);
  if (schema instanceof z.ZodIntersection) {
    return [schema.def.left, schema.def.right].flatMap((side) => fieldNames(unwrap(side).schema));
  }
  return [...new Set(unionOptions(schema).flatMap((option) => fieldNames(unwrap(option).schema)))];
}

/** The range of a number whose schema sets both of its ends. */
export function numberRange(schema: unknown): { least: number; most: number } | undefined {
  if (!(schema instanceof z.ZodNumber)) return undefined;
  const { minValue: least, maxValue: most } = schema;
  const isRange = least !== null && most !== null && Number.isFinite(least) && Number.isFinite(most);
  // z.int() sets the safe integers as its range, which is not a limit that someone chose.
  if (!isRange || least <= Number.MIN_SAFE_INTEGER || most >= Number.MAX_SAFE_INTEGER) return undefined;
  return { least, most };
}
