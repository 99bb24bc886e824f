// Renders the verification result of each session, for people.

import type { Finding } from '../../audit/hash-chain.ts';
import type { SessionReport } from '../../audit/verify.ts';
import type { Colors } from '../output.ts';
import { entriesText } from './entry.ts';

/** The verdict when everything that was compared comes from one place. */
const OWN_HEAD_ONLY =
  'against its own head only; not signed: whoever wrote it could have made it up (--incident-file checks a saved status)';

/** The lines of one session: a mark, what was checked, and each finding. */
export function renderSessionReport(report: SessionReport, colors: Colors): string[] {
  const { incident, session, findings, anchors, blobs, sealed, independent } = report;
  const name = incident.name === '' ? session : `${incident.namespace}/${incident.name} (${session})`;
  const mark = findings.length === 0 ? colors.green('✓') : colors.red('✗');
  const held =
    anchors.length === 0 ? 'no anchor: only the chain itself was checked' : `checked against ${anchors.join(', ')}`;
  const texts =
    blobs.checked + blobs.pruned === 0
      ? ''
      : `; ${blobs.checked} texts match their digests${blobs.pruned === 0 ? '' : `, ${blobs.pruned} were pruned`}`;
  if (report.pruned !== undefined) {
    const { at, headHash } = report.pruned;
    return [
      `${mark} ${name}: pruned on ${at.slice(0, 10)}, ${entriesText(report.entries)}, head ${headHash}`,
      `    ${anchors.length === 0 ? 'no anchor: only its tombstone is left' : held}`,
      ...findings.map((finding) => findingLine(finding, colors)),
    ];
  }
  return [
    `${mark} ${name}: ${entriesText(report.entries)}, ${sealed ? 'sealed' : 'not sealed'}`,
    `    ${held}${findings.some((finding) => finding.kind === 'blob-changed') ? '' : texts}`,
    ...(independent || findings.length > 0 ? [] : [`    ${OWN_HEAD_ONLY}`]),
    ...findings.map((finding) => findingLine(finding, colors)),
  ];
}

/** One finding, indented. */
export function findingLine(finding: Finding, colors: Colors): string {
  return `    ${colors.red(finding.message)}`;
}
