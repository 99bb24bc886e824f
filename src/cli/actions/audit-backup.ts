// The command `oplab audit backup`.

import type { Command } from 'commander';
import { sessionId } from '../../api/incident.ts';
import { copyLeaves, copySession } from '../../audit/copy.ts';
import { AuditDatabase } from '../../audit/database.ts';
import { isSound, statusAnchors, verifyFile } from '../../audit/verify.ts';
import { VerificationFailed } from '../../errors.ts';
import { connectionFlags, type Environment, parseFlags } from '../environment.ts';
import { parseListed } from '../parse-incident.ts';
import { entriesText } from '../render/entry.ts';
import { findingLine, renderSessionReport } from '../render/verification.ts';
import { clusterKeys } from './verify-signature.ts';

/** Copies every session and verifies the copy. @throws VerificationFailed, GatewayUnreachable, AuditUnavailable */
export async function backUpAudit(environment: Environment, command: Command, file: string): Promise<void> {
  const { output } = environment;
  const given = parseFlags(command, connectionFlags);
  // Read before the entries, so that the anchors never exceed them.
  const incidents = (await environment.incidents(given).list(undefined)).map(parseListed);
  const reader = await environment.gateway(given);
  const published = await environment.anchor(given);
  const signature = await reader.signature();
  let added = 0;
  let count = 0;
  try {
    const db = AuditDatabase.openCopyForWriting(file);
    try {
      await copyLeaves(db, reader);
      for (const summary of await reader.sessions()) {
        added += await copySession(db, reader, summary, environment.now());
        count += 1;
      }
      if (signature?.notes !== undefined) {
        const { notes } = signature;
        db.transaction(() => db.log.saveNotes('signed', notes));
      }
      db.checkpoint();
    } finally {
      db.close();
    }
  } finally {
    await reader.close();
  }
  const anchors = new Map(incidents.map((incident) => [sessionId(incident), statusAnchors(incident.status?.audit)]));
  const report = verifyFile(file, { anchors, keys: clusterKeys({}, published, signature) });
  output.line(`${file}: ${count} sessions, ${entriesText(added)} added`);
  if (isSound(report)) {
    output.line('verified: all sessions match their chains and anchors');
    return;
  }
  for (const finding of report.findings) output.line(findingLine(finding, output.colors));
  const broken = report.sessions.filter(({ findings }) => findings.length > 0);
  for (const session of broken) {
    for (const line of renderSessionReport(session, output.colors)) output.line(line);
  }
  throw new VerificationFailed(`${file}: ${broken.length} of ${report.sessions.length} sessions failed verification`);
}
