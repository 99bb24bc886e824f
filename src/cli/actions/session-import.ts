// The command `oplab session import`.

import type { Command } from 'commander';
import * as z from 'zod';
import { verifyExport } from '../../audit/export.ts';
import { importSession } from '../../audit/import.ts';
import { InvalidInput, VerificationFailed } from '../../errors.ts';
import { connectionFlags, type Environment, parseFlags } from '../environment.ts';
import { readExport } from '../reader/file-reader.ts';
import { entriesText } from '../render/entry.ts';
import { renderSessionReport } from '../render/verification.ts';

const flags = connectionFlags.extend({ into: z.string() });

/** Adds exported sessions to an audit file. @throws InvalidInput, VerificationFailed */
export async function importSessions(
  environment: Environment,
  command: Command,
  paths: readonly string[],
): Promise<void> {
  const { output } = environment;
  const { into } = parseFlags(command, flags);
  // Verify all files before the first is written.
  const files = paths.map((path) => {
    const exported = readExport(path, 'FILE');
    if (exported === undefined) throw new InvalidInput(`${path} is not a session export: it contains no JSON`);
    const report = verifyExport(exported);
    if (report.findings.length > 0) {
      for (const line of renderSessionReport(report, output.colors)) output.note(line);
      throw new VerificationFailed(`${path} failed verification; nothing was imported`);
    }
    return { path, exported };
  });
  for (const { path, exported } of files) {
    const { added } = importSession(into, exported, environment.now());
    const { incident, entries } = exported.session;
    const done = added === 0 ? 'already imported' : `${entriesText(added)} added`;
    output.line(`${path}: ${incident.namespace}/${incident.name}, ${done}, ${entries} in ${into}`);
  }
}
