// Exports a session to one self-contained file: entries, full texts, seal and Incident.

import * as z from 'zod';
import { incident } from '../api/incident.ts';
import type { IncidentStatus } from '../api/incident-status.ts';
import { InvalidInput } from '../errors.ts';
import { parseInput } from '../input/parse-input.ts';
import { type Entry, entry, parseEntry } from './entry.ts';
import { type Anchor, canonicalJson, type Finding, isSeal, sha256 } from './hash-chain.ts';
import { openedParams } from './lifecycle.ts';
import type { SessionSummary } from './log.ts';
import { type SessionProof, sessionProof } from './session-proof.ts';
import { type SessionReport, statusAnchors, verifySession } from './verify.ts';

/** Identifies the format and its version. An incompatible format will get a new name. */
export const EXPORT_FORMAT = 'oplab.dev/session-export/v1';

const hash = z.string().regex(/^[0-9a-f]{64}$/);

/** The lifecycle entries that say how an Incident ended. */
const endedParams = z.looseObject({ event: z.enum(['outcome', 'sealed']), outcome: z.string() });

export const sessionExport = z
  .strictObject({
    format: z.literal(EXPORT_FORMAT).meta({ description: 'The format of this file and its version.' }),
    exportedAt: z.iso.datetime().meta({ description: 'Time of the export, RFC 3339 in UTC.' }),
    exportedBy: z.string().meta({ description: 'The program that wrote the file, and its version.' }),
    source: z.string().meta({ description: 'Where the log was read from: the gateway or a file.' }),
    session: z
      .strictObject({
        id: z.string().min(1).meta({ description: 'ID of the session: the UID of its Incident.' }),
        incident: z.object({ namespace: z.string(), name: z.string() }),
        summary: z.string().meta({ description: 'The problem in one line.' }),
        openedAt: z.string(),
        lastAt: z.string().meta({ description: 'Time of the last entry.' }),
        outcome: z
          .string()
          .nullable()
          .meta({ description: 'How the Incident ended, for example Resolved. Null if it had not ended.' }),
        sealed: z.boolean().meta({ description: 'False if the session was still open at the time of the export.' }),
        entries: z.number().int().min(1),
        headHash: hash.meta({ description: 'Hash of the last entry. It covers all entries before it.' }),
      })
      .meta({ description: 'Summary of the session. All of it can be derived from the entries.' }),
    incident: z.record(z.string(), z.json()).nullable().meta({
      description:
        'The Incident as returned by the API server, or null if it no longer existed. Its status anchors the chain.',
    }),
    entries: z
      .array(entry)
      .min(1)
      .meta({ description: 'All entries in order. Each hash covers the other fields and the previous hash.' }),
    blobs: z.record(hash, z.string()).meta({
      description:
        'Full texts by the SHA-256 of their UTF-8. A text that an entry names but that is missing was pruned.',
    }),
    proof: sessionProof.optional().meta({
      description: 'What proves that a signed log holds the entries. Missing if the log was not signed.',
    }),
    digest: hash.meta({
      description: 'SHA-256 of the canonical JSON (sorted keys, no whitespace) of all other members.',
    }),
  })
  .meta({ title: 'Session export of oplab' });
export type SessionExport = z.infer<typeof sessionExport>;

export interface ExportInput {
  readonly summary: SessionSummary;
  readonly entries: readonly Entry[];
  readonly blobs: ReadonlyMap<string, string>;
  /** As returned by the API server. */
  readonly incident: object | undefined;
  /** Undefined if the log is not signed. */
  readonly proof?: SessionProof | undefined;
  readonly source: string;
  readonly exportedAt: Date;
  readonly exportedBy: string;
}

/**
 * Builds the file. `session` is derived from the given entries, because the log may have grown
 * since.
 */
export function buildExport(input: ExportInput): SessionExport {
  const { summary, entries } = input;
  const first = entries[0];
  const last = entries.at(-1);
  if (first === undefined || last === undefined) throw new InvalidInput(`session ${summary.session} has no entries`);
  const content = {
    format: EXPORT_FORMAT,
    exportedAt: input.exportedAt.toISOString(),
    exportedBy: input.exportedBy,
    source: input.source,
    session: {
      id: summary.session,
      incident: { namespace: summary.incident.namespace, name: summary.incident.name },
      summary: summary.summary,
      openedAt: first.time,
      lastAt: last.time,
      outcome: summary.outcome,
      sealed: isSeal(last),
      entries: last.seq,
      headHash: last.hash,
    },
    incident:
      input.incident === undefined ? null : z.record(z.string(), z.json()).parse(withoutManagedFields(input.incident)),
    entries: [...entries],
    blobs: Object.fromEntries(input.blobs),
    ...(input.proof === undefined ? {} : { proof: input.proof }),
  } satisfies Omit<SessionExport, 'digest'>;
  return { ...content, digest: sha256(canonicalJson(content)) };
}

/** Field ownership is of no use to a reader and takes more than half of an object's size. */
function withoutManagedFields(object: object): unknown {
  const copy: unknown = JSON.parse(JSON.stringify(object));
  const parsed = z.looseObject({ metadata: z.looseObject({ managedFields: z.unknown() }) }).safeParse(copy);
  if (!parsed.success) return copy;
  const { managedFields: _, ...metadata } = parsed.data.metadata;
  return { ...parsed.data, metadata };
}

/** @throws InvalidInput if the text is not an export of this version */
export function parseExport(text: string, where: string): SessionExport {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (error) {
    throw new InvalidInput(`${where} is not a session export: it is not JSON, or it was truncated`, error);
  }
  const parsed = parseInput(
    sessionExport,
    raw,
    `${where} is not a session export that this version of oplab can read (${EXPORT_FORMAT})`,
    { values: 'hidden' },
  );
  const entries = z
    .object({ entries: z.array(z.unknown()) })
    .parse(raw)
    .entries.map(parseEntry);
  return { ...parsed, entries };
}

/** Verifies the file against itself and against anchors from outside. */
export function verifyExport(file: SessionExport, anchors: readonly Anchor[] = []): SessionReport {
  const { digest, ...content } = file;
  const { session, entries, blobs } = content;
  const own: Anchor[] = [
    {
      source: "the file's own head",
      entries: session.entries,
      headHash: session.headHash,
      sealed: session.sealed,
      own: true,
    },
    ...statusAnchors(savedStatus(file)?.audit).map((anchor) => ({
      ...anchor,
      source: `the file's ${anchor.source}`,
      own: true,
    })),
  ];
  const report = verifySession({
    session: session.id,
    incident: session.incident,
    entries,
    sealed: session.sealed,
    anchors: [...anchors, ...own],
    storedDigest: (wanted) => (Object.hasOwn(blobs, wanted) ? sha256(blobs[wanted] ?? '') : undefined),
  });
  const named = new Set(entries.map(({ blobDigest }) => blobDigest));
  const strays = Object.keys(blobs).filter((key) => !named.has(key));
  const uid = z.looseObject({ metadata: z.looseObject({ uid: z.string() }) }).safeParse(content.incident);
  const findings: Finding[] = [
    ...report.findings,
    ...strays.map((key): Finding => ({ kind: 'foreign', message: `text ${key.slice(0, 12)}… belongs to no entry` })),
    ...(uid.success && uid.data.metadata.uid !== session.id
      ? [
          {
            kind: 'foreign',
            message: `the Incident in the file does not belong to the session: its UID is ${uid.data.metadata.uid}`,
          } as const,
        ]
      : []),
    ...falseFacts(file),
    ...(sha256(canonicalJson(content)) === digest
      ? []
      : [{ kind: 'corrupt', message: 'the file was changed: it does not match its digest' } as const]),
  ];
  return { ...report, findings };
}

/** What the file says about the session although its entries say something else. */
function falseFacts({ session, entries }: SessionExport): Finding[] {
  let recorded: Record<string, string | null> = {
    openedAt: entries[0]?.time ?? '',
    lastAt: entries.at(-1)?.time ?? '',
    outcome: null,
  };
  let isOpened = false;
  for (const { writer, kind, params } of entries) {
    if (writer !== 'gateway' || kind !== 'lifecycle') continue;
    const opened = openedParams.safeParse(params);
    if (opened.success && !isOpened) {
      const { incident: of, summary } = opened.data;
      recorded = { ...recorded, namespace: of.namespace, name: of.name, summary };
      isOpened = true;
    }
    const ended = endedParams.safeParse(params);
    if (ended.success) recorded = { ...recorded, outcome: ended.data.outcome };
  }
  const { summary, openedAt, lastAt, outcome } = session;
  const said: Record<string, string | null> = { ...session.incident, summary, openedAt, lastAt, outcome };
  return Object.entries(recorded).flatMap(([fact, value]): Finding[] =>
    said[fact] === value
      ? []
      : [{ kind: 'corrupt', message: `the file says ${fact} ${said[fact]}, but its entries say ${value}` }],
  );
}

/**
 * The status of the Incident in the file; undefined if there is none or this version cannot read
 * it.
 */
export function savedStatus(file: SessionExport): IncidentStatus | undefined {
  const parsed = incident.safeParse(file.incident);
  return parsed.success ? parsed.data.status : undefined;
}

/**
 * For example `tikv-store-down-6f1c0f5e-20260101T001000Z.json`: the session and the time of the
 * export.
 */
export function exportFileName(file: SessionExport, extension: 'json' | 'md'): string {
  const { incident: of, id } = file.session;
  const time = file.exportedAt.replace(/\.\d+/, '').replace(/[-:]/g, '');
  const name = [of.namespace, of.name, id.slice(0, 8), time].filter((part) => part !== '').join('-');
  return `${name.replace(/[^A-Za-z0-9.-]/g, '_')}.${extension}`;
}

/** The JSON Schema of the file, for other programs. */
export function exportJsonSchema(): object {
  return {
    $id: `urn:${EXPORT_FORMAT.replaceAll('/', ':')}`,
    ...z.toJSONSchema(sessionExport, { target: 'draft-2020-12' }),
  };
}
