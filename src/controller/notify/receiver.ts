// The receivers of notifications. Their URLs are secrets, and are read from files when needed.

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';
import { dnsLabel } from '../../api/meta.ts';
import { InvalidInput } from '../../errors.ts';
import { parseInput } from '../../input/parse-input.ts';

const receiver = z.strictObject({
  name: dnsLabel,
  type: z.enum(['slack', 'webhook']),
  // Not `on`, which is a boolean in the YAML 1.1 that Helm reads.
  events: z
    .array(z.enum(['Escalated', 'Resolved']))
    .min(1)
    .default(['Escalated', 'Resolved']),
});
export type Receiver = z.infer<typeof receiver>;

const receivers = z
  .array(receiver)
  .max(16)
  .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, {
    error: 'the names of receivers must be unique',
  });

/** @throws InvalidInput that names the field */
export function parseReceivers(text: string, where: string): Receiver[] {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw new InvalidInput(`${where} is not JSON`, error);
  }
  return parseInput(receivers, content, where, { values: 'hidden' });
}

/** Reads the URL of a receiver. Rejects with an Error whose message never contains the URL. */
export type UrlSource = (receiver: string) => Promise<URL>;

/** Reads URLs from a mounted Secret with one file per receiver, each time, as they may change. */
export function readUrlsFrom(folder: string): UrlSource {
  return async (name) => {
    const text = await readFile(path.join(folder, name), 'utf8').catch(() => {
      throw new Error('its URL cannot be read: the Secret or its key is missing');
    });
    return parseUrl(text);
  };
}

/** @throws Error that does not contain the text */
export function parseUrl(text: string): URL {
  const url = URL.canParse(text.trim()) ? new URL(text.trim()) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  throw new Error('its Secret does not contain an http or https URL');
}
