// The excerpt of the log in an Incident's status: the last entries, each cut to 512 bytes.

import * as z from 'zod';
import type { TailEntry } from '../api/incident-status.ts';
import { withoutControls, withVisibleEscapes } from './controls.ts';
import type { Entry, EntryKind } from './entry.ts';
import { callParams, summaryParams } from './entry-params.ts';
import { lifecycleEvent } from './lifecycle.ts';

/** The number of entries in the status. */
export const TAIL_ENTRIES = 20;
/** The maximum size of each entry's text in bytes of UTF-8. */
export const TAIL_BYTES = 512;

/**
 * Characters of a text from which the excerpt is made. The status is written often, and a text may be
 * long.
 */
const LOOKED_AT = 8 * TAIL_BYTES;

const ELLIPSIS = '…';

/**
 * The longest prefix of whole characters within `bytes`. Cut text ends with an ellipsis, which
 * counts.
 */
export function truncateToBytes(text: string, bytes: number): string {
  if (Buffer.byteLength(text) <= bytes) return text;
  const room = bytes - Buffer.byteLength(ELLIPSIS);
  if (room < 0) return '';
  // No character has fewer bytes than UTF-16 units, so the prefix is at most `room` units long.
  const encoded = Buffer.from(text.slice(0, room));
  let end = Math.min(room, encoded.length);
  // Step back over continuation bytes (10xxxxxx) to the start of the character that does not fit.
  while (end > 0 && end < encoded.length && ((encoded[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return (
    encoded
      .subarray(0, end)
      .toString('utf8')
      .replace(/\uFFFD$/u, '') + ELLIPSIS
  );
}

const kubeParams = z.looseObject({
  verb: z.string().optional(),
  resource: z.string().optional(),
  subresource: z.string().optional(),
  namespace: z.string().optional(),
  name: z.string().optional(),
});

/** Their texts are, or contain, what an agent runs. */
const WITH_COMMANDS: ReadonlySet<EntryKind> = new Set(['tool_call', 'kube_intent', 'docker_intent']);

/**
 * The most useful one-line text of an entry, such as the command of a call or the object of a
 * write.
 * @param characters how much of it is wanted; default: all
 */
export function entryText(entry: Entry, characters?: number): string {
  const text = wholeText(entry).slice(0, characters);
  return WITH_COMMANDS.has(entry.kind) ? withVisibleEscapes(text) : text;
}

function wholeText(entry: Entry): string {
  switch (entry.kind) {
    case 'tool_call': {
      const call = callParams.safeParse(entry.params);
      return call.success ? call.data.command : entry.content;
    }
    case 'kube_intent':
    case 'kube_outcome': {
      if (entry.content !== '') return entry.content;
      const write = kubeParams.safeParse(entry.params);
      if (!write.success) return '';
      const { verb = '', resource = '', subresource, namespace, name = '' } = write.data;
      const target = subresource === undefined ? resource : `${resource}/${subresource}`;
      return [verb, target, namespace === undefined ? name : `${namespace}/${name}`]
        .filter((part) => part !== '')
        .join(' ');
    }
    case 'lifecycle': {
      const summary = summaryParams.safeParse(entry.params);
      if (summary.success) return `summary of entry ${summary.data.result}: ${entry.content}`;
      return entry.content === '' ? (lifecycleEvent(entry) ?? '') : entry.content;
    }
    default:
      return entry.content;
  }
}

/** The entries for `status.audit.tail`, oldest first. */
export function statusTail(entries: readonly Entry[]): TailEntry[] {
  return entries.slice(-TAIL_ENTRIES).map((entry) => ({
    seq: entry.seq,
    time: entry.time,
    kind: entry.kind,
    writer: entry.writer,
    ...(entry.tool === null ? {} : { tool: truncateToBytes(entry.tool, 64) }),
    text: truncateToBytes(withoutControls(entryText(entry, LOOKED_AT)), TAIL_BYTES),
  }));
}
