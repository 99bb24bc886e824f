// The structure of what an API sends, without any of its text: which members, of which types.

import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';

/** A type of JSON, or the members of an object, or of what is in a list. Members whose value is a word are kept. */
export type Shape = string | { readonly [member: string]: Shape } | readonly Shape[];

/** Members that name a kind of thing, and so belong to the structure. */
const KINDS = new Set(['type', 'stop_reason', 'service_tier', 'inference_geo']);

export function shapeOf(value: unknown, member = ''): Shape {
  if (value === null) return 'null';
  if (Array.isArray(value)) return value.slice(0, 1).map((item) => shapeOf(item));
  if (typeof value === 'object') {
    const entries = Object.entries(value).map(([key, inner]): [string, Shape] => [key, shapeOf(inner, key)]);
    return Object.fromEntries(entries.sort(([one], [other]) => (one < other ? -1 : 1)));
  }
  return KINDS.has(member) && typeof value === 'string' ? `"${value.slice(0, 64)}"` : typeof value;
}

/** The paths of all members of an event, such as `message.usage.input_tokens`. */
export function memberPaths(event: unknown): string[] {
  if (typeof event !== 'object' || event === null) return [];
  return Object.entries(event).flatMap(([key, value]) => [
    key,
    ...memberPaths(value).map((inner) => `${key}.${inner}`),
  ]);
}

/** What the real API sent, and when. */
const seenFile = z.object({ sdk: z.string(), events: z.array(z.looseObject({ type: z.string() })) });

/** The folder of `DATE.json`, which the live part writes. */
export const SEEN = path.join(import.meta.dirname, 'seen');

/** The newest of the records; undefined if there is none. */
export async function readNewest(folder = SEEN): Promise<{ date: string; events: { type: string }[] } | undefined> {
  const files = await readdir(folder).catch(() => []);
  const newest = files
    .filter((file) => /^\d{4}-\d\d-\d\d\.json$/.test(file))
    .sort()
    .at(-1);
  if (newest === undefined) return undefined;
  const { events } = seenFile.parse(JSON.parse(await readFile(path.join(folder, newest), 'utf8')));
  return { date: newest.slice(0, 10), events };
}

/** A record is good for so long, in days. */
const GOOD_FOR_DAYS = 90;

/** Why a release must not be made without asking the real API again; undefined if it may. */
export function findStale(newest: { readonly date: string } | undefined, now: Date): string | undefined {
  const how = 'run npm run test:contract with ANTHROPIC_API_KEY, and commit what it writes to test/contract/seen';
  if (newest === undefined) return `the real API was never asked: ${how}`;
  const days = Math.floor((now.getTime() - Date.parse(newest.date)) / 86_400_000);
  return days > GOOD_FOR_DAYS ? `the real API was last asked ${days} days ago: ${how}` : undefined;
}
