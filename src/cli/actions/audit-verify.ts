// The command `oplab audit verify`.

import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { parse } from 'yaml';
import * as z from 'zod';
import { type Incident, sessionId } from '../../api/incident.ts';
import type { Entry } from '../../audit/entry.ts';
import { type SessionExport, verifyExport } from '../../audit/export.ts';
import { type Anchor, type Finding, isSeal, sha256 } from '../../audit/hash-chain.ts';
import { verifyProof } from '../../audit/session-proof.ts';
import {
  isSound,
  type SessionReport,
  statusAnchors,
  verifyFile,
  verifyPruned,
  verifySession,
  withLogReport,
} from '../../audit/verify.ts';
import { type SessionFacts, verifyLog } from '../../audit/verify-log.ts';
import { errorMessage, InvalidInput, NotFound, VerificationFailed } from '../../errors.ts';
import { requireFile } from '../../input/file.ts';
import { connectionFlags, type Environment, parseFlags } from '../environment.ts';
import { parseIncident, parseListed } from '../parse-incident.ts';
import { type AuditReader, allEntries } from '../reader/audit-reader.ts';
import { readExport } from '../reader/file-reader.ts';
import { findingLine, renderSessionReport, renderSignature } from '../render/verification.ts';
import { resolveSession } from '../resolve-session.ts';
import {
  clusterKeys,
  clusterStatements,
  givenCheckpoint,
  givenKeys,
  type SignatureVerdict,
} from './verify-signature.ts';

const flags = connectionFlags.extend({
  output: z.enum(['text', 'json']).default('text'),
  all: z.boolean().default(false),
  file: z.string().optional(),
  incidentFile: z.array(z.string()).default([]),
  publicKey: z.string().optional(),
  checkpoint: z.string().optional(),
});
type Flags = z.infer<typeof flags>;

/** Checks the log and prints the result. @throws InvalidInput, NotFound, VerificationFailed */
export async function verifyAudit(environment: Environment, command: Command, text: string | undefined): Promise<void> {
  const given = parseFlags(command, flags);
  if (text === undefined && !given.all && given.file === undefined) {
    throw new InvalidInput('name an Incident, or use --all or --file audit.db');
  }
  if (text === undefined && given.namespace !== undefined) {
    throw new InvalidInput('-n: without a name, all sessions are verified; name an Incident, or leave -n out');
  }
  if (text !== undefined && given.all) throw new InvalidInput('name an Incident or use --all, not both');
  if (given.checkpoint !== undefined && given.publicKey === undefined && given.file !== undefined) {
    throw new InvalidInput('--checkpoint needs --public-key: without the key, nobody knows who signed the checkpoint');
  }
  // The small files first: a log is long, and a wrong path should be known at once.
  if (given.checkpoint !== undefined) requireFile(given.checkpoint, '--checkpoint');
  const saved = await savedIncidents(given.incidentFile);
  const report =
    given.file === undefined
      ? await verifyThroughGateway(environment, given, text, saved)
      : await verifyOffline(environment, given.file, given, text, saved);
  conclude(environment, given, report);
}

/** Reads Incidents from files, which may hold single objects or Lists. @throws InvalidInput */
async function savedIncidents(paths: readonly string[]): Promise<Incident[]> {
  const list = z.looseObject({ items: z.array(z.looseObject({})) });
  const incidents: Incident[] = [];
  for (const path of paths) {
    requireFile(path, '--incident-file');
    let raw: unknown;
    try {
      raw = parse(await readFile(path, 'utf8'));
    } catch (error) {
      throw new InvalidInput(
        `--incident-file: ${path} is not valid YAML or JSON: ${errorMessage(error).split('\n')[0]?.replace(/:$/, '')}`,
        error,
      );
    }
    const many = list.safeParse(raw);
    for (const item of many.success ? many.data.items : [raw]) {
      const object = z.looseObject({}).safeParse(item);
      if (!object.success) {
        throw new InvalidInput(
          `--incident-file: ${path} does not contain an Incident; save Incidents with kubectl get incidents -A -o yaml`,
        );
      }
      const incident = parseIncident(object.data, path);
      if (incident.metadata.uid === '') {
        throw new InvalidInput(
          `${path}: Incident ${incident.metadata.name} has no metadata.uid; save it with kubectl get -o yaml`,
        );
      }
      incidents.push(incident);
    }
  }
  return incidents;
}

interface Report {
  readonly source: string;
  readonly findings: readonly Finding[];
  /** Undefined for an export whose proof was not looked at because it has none. */
  readonly signature: SignatureVerdict | undefined;
  readonly sessions: readonly SessionReport[];
}

async function verifyOffline(
  environment: Environment,
  file: string,
  given: Flags,
  text: string | undefined,
  saved: readonly Incident[],
): Promise<Report> {
  const anchors = new Map(saved.map((incident) => [sessionId(incident), statusAnchors(incident.status?.audit)]));
  let sessions: string[] | undefined;
  if (text !== undefined) {
    const reader = await environment.file(file);
    try {
      const named = saved.find(({ metadata }) =>
        [metadata.name, `${metadata.namespace ?? ''}/${metadata.name}`].includes(text),
      );
      const { namespace } = given;
      const note = environment.output.note;
      sessions = [
        named === undefined ? (await resolveSession(text, { reader, namespace, note })).session : sessionId(named),
      ];
    } finally {
      await reader.close();
    }
  }
  const exported = readExport(file);
  if (exported !== undefined) {
    const { id } = exported.session;
    if (sessions !== undefined && !sessions.includes(id)) {
      throw new NotFound(`${file} contains session ${id}, not that of "${text}"`);
    }
    return verifyExported(file, exported, given, anchors.get(id) ?? []);
  }
  const keys = givenKeys(given);
  const { findings, checkpoint, isImported, ...report } = verifyFile(file, {
    anchors,
    keys,
    statements: givenCheckpoint(given),
    ...(sessions === undefined ? {} : { sessions }),
  });
  const signature = { checkpoint, keySource: keys?.source, onFirstUse: false, isImported };
  return { source: file, findings, signature, sessions: report.sessions };
}

function verifyExported(source: string, exported: SessionExport, given: Flags, anchors: readonly Anchor[]): Report {
  const { proof, session, entries } = exported;
  const report = verifyExport(exported, anchors);
  const keys = givenKeys(given);
  if (keys === undefined) {
    const signature = proof && { checkpoint: undefined, keySource: undefined, onFirstUse: false };
    return { source, findings: [], signature, sessions: [report] };
  }
  const proven = verifyProof(proof, session.id, entries, keys, givenCheckpoint(given));
  return {
    source,
    findings: [],
    signature: { checkpoint: proven.checkpoint, keySource: keys.source, onFirstUse: false },
    sessions: [{ ...report, signed: proven.signed, findings: [...report.findings, ...proven.findings] }],
  };
}

async function verifyThroughGateway(
  environment: Environment,
  given: Flags,
  text: string | undefined,
  saved: readonly Incident[],
): Promise<Report> {
  const reader = await environment.gateway(given);
  try {
    const incidents = environment.incidents(given);
    // What was signed comes first, so that the log has at least that much.
    const anchor = await environment.anchor(given);
    if (anchor.problem !== undefined) environment.output.note(anchor.problem);
    const before = await reader.signature();
    const facts = new Map<string, SessionFacts>();
    // Read the anchors before the entries, so that they never exceed the entries if the session
    // continues.
    const targets = new Map<string, Incident | undefined>();
    if (text === undefined) {
      for (const incident of (await incidents.list(undefined)).map(parseListed)) {
        if (incident.status?.audit?.entries !== undefined) targets.set(sessionId(incident), incident);
      }
      for (const { session } of await reader.sessions()) if (!targets.has(session)) targets.set(session, undefined);
    } else {
      const namespace = environment.namespace(given);
      const resolved = await resolveSession(text, { reader, incidents, namespace, note: environment.output.note });
      if (resolved.summary === undefined && resolved.incident?.status?.audit === undefined) {
        throw new NotFound(`the log has no session of Incident "${text}" yet`);
      }
      targets.set(resolved.session, resolved.incident);
    }
    const sessions: SessionReport[] = [];
    for (const [session, incident] of targets) {
      const anchors = [incident, ...saved.filter((candidate) => sessionId(candidate) === session)].flatMap(
        (candidate) => statusAnchors(candidate?.status?.audit),
      );
      sessions.push(await verifyOne(reader, session, incident, anchors, facts));
    }
    // Sessions may have been opened or sealed meanwhile.
    const after = await reader.signature();
    const keys = clusterKeys(given, anchor, before);
    const log = verifyLog({
      leaves: after?.leaves,
      settled: before?.leaves.length ?? 0,
      sessions: facts,
      complete: text === undefined,
      statements: clusterStatements(given, anchor, before),
      keys,
    });
    const signature = {
      checkpoint: log.checkpoint,
      keySource: keys?.source,
      onFirstUse: keys?.onFirstUse ?? false,
    };
    return { source: reader.source, findings: log.findings, signature, sessions: withLogReport(sessions, log) };
  } finally {
    await reader.close();
  }
}

async function verifyOne(
  reader: AuditReader,
  session: string,
  incident: Incident | undefined,
  anchors: readonly Anchor[],
  facts: Map<string, SessionFacts>,
): Promise<SessionReport> {
  const summary = await reader.session(session);
  if (summary?.prunedAt !== undefined) {
    const { entries, headHash } = summary;
    facts.set(session, { hashes: new Map(), seal: { entries, headHash }, isPruned: true });
    return verifyPruned({ ...summary, prunedAt: summary.prunedAt }, anchors);
  }
  const name =
    incident === undefined
      ? summary?.incident
      : { namespace: incident.metadata.namespace ?? '', name: incident.metadata.name };
  const entries = summary === undefined ? [] : await allEntries(reader, session);
  const last = entries.at(-1);
  const seal = last !== undefined && isSeal(last) ? { entries: last.seq, headHash: last.hash } : undefined;
  facts.set(session, { hashes: new Map(entries.map(({ seq, hash }) => [seq, hash])), seal });
  const stored = await readDigests(reader, entries);
  return verifySession({
    session,
    incident: name ?? { namespace: '', name: '' },
    entries,
    sealed: summary?.sealed ?? false,
    anchors,
    storedDigest: (digest) => stored.get(digest),
  });
}

/** Texts that are read at the same time. Each may have 4 MiB. */
const PARALLEL_TEXTS = 4;

/** The digests of the texts as they are stored, by the digest under which they are stored. */
async function readDigests(reader: AuditReader, entries: readonly Entry[]): Promise<Map<string, string>> {
  const wanted = [...new Set(entries.flatMap(({ blobDigest }) => blobDigest ?? []))];
  const found = new Map<string, string>();
  for (let from = 0; from < wanted.length; from += PARALLEL_TEXTS) {
    const some = wanted.slice(from, from + PARALLEL_TEXTS);
    await Promise.all(
      some.map(async (digest) => {
        const text = await reader.blob(digest);
        if (text !== undefined) found.set(digest, sha256(text));
      }),
    );
  }
  return found;
}

/** Prints the result. @throws VerificationFailed */
function conclude({ output }: Environment, given: Flags, report: Report): void {
  const sound = isSound(report);
  if (given.output === 'json') {
    output.line(JSON.stringify({ valid: sound, ...report }, null, 2));
  } else {
    for (const finding of report.findings)
      output.line(`${output.colors.red('✗')} ${findingLine(finding, output.colors).trim()}`);
    if (report.signature !== undefined) output.line(renderSignature(report.signature));
    for (const session of report.sessions) {
      for (const line of renderSessionReport(session, output.colors)) output.line(line);
    }
    if (report.sessions.length === 0) output.line('No sessions found.');
  }
  if (sound) return;
  const broken = report.sessions.filter((session) => session.findings.length > 0).length;
  throw new VerificationFailed(
    `${report.source}: ${broken} of ${report.sessions.length} sessions failed verification${report.findings.length === 0 ? '' : ', and the log as a whole is damaged'}`,
  );
}
