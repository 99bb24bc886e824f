// Receivers: who is told of the end of an Incident. Their URLs are secrets, and are read from files when they are needed.

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { dnsLabel } from '../../api/meta.ts';
import { InvalidInput } from '../../errors.ts';

const receiver = z.strictObject({
  name: dnsLabel,
  type: z.enum(['slack', 'webhook']),
  // Not `on`: that is a boolean in YAML 1.1, which Helm reads.
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
    error: 'each receiver has a name of its own',
  });

/** @throws InvalidInput that names the field */
export function parseReceivers(text: string, where: string): Receiver[] {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw new InvalidInput(`${where} is not JSON`, error);
  }
  const parsed = receivers.safeParse(content);
  if (!parsed.success) throw new InvalidInput(`${where}: ${z.prettifyError(parsed.error)}`, parsed.error);
  return parsed.data;
}

/** Where a receiver listens; rejects with an Error whose message says what is wrong and never what the URL is. */
export type UrlSource = (receiver: string) => Promise<URL>;

/** URLs out of a folder with a file for each receiver, as a Secret is mounted; read each time, so that a new one counts. */
export function urlsFrom(folder: string): UrlSource {
  return async (name) => {
    const text = await readFile(path.join(folder, name), 'utf8').catch(() => {
      throw new Error('its URL cannot be read: the Secret or the key in it is missing');
    });
    return parseUrl(text);
  };
}

/** @throws Error that does not repeat the text */
export function parseUrl(text: string): URL {
  const url = URL.canParse(text.trim()) ? new URL(text.trim()) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  throw new Error('its Secret holds no http or https URL');
}
