// Renders the verification result of each session, for people.

import type { Finding } from '../../audit/hash-chain.ts';
import type { SessionReport } from '../../audit/verify.ts';
import type { SignatureVerdict } from '../actions/verify-signature.ts';
import type { Colors } from '../output.ts';
import { entriesText } from './entry.ts';

/** The verdict when everything that was compared comes from one place. */
const OWN_HEAD_ONLY =
  'against its own head only; not signed: whoever wrote it could have made it up (--public-key checks signatures, --incident-file a saved status)';

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
    ...(findings.length > 0 ? [] : (signedLine(report) ?? (independent ? [] : [`    ${OWN_HEAD_ONLY}`]))),
    ...findings.map((finding) => findingLine(finding, colors)),
  ];
}

function signedLine({ signed, entries, imported }: SessionReport): string[] | undefined {
  if (signed === undefined) return undefined;
  if (signed.entries >= entries)
    return [`    signed by ${signed.by}${imported === true ? ', from whose log it was imported' : ''}`];
  return [
    signed.entries === 0
      ? `    not signed yet: opened after the last checkpoint of ${signed.by}`
      : `    signed by ${signed.by} up to row ${signed.entries}; the rows after it are not signed yet`,
  ];
}

/** One line about the signature of the log as a whole. */
export function renderSignature({ checkpoint, keySource, onFirstUse, isImported }: SignatureVerdict): string {
  if (keySource === undefined) return 'signature not checked: no public key (--public-key)';
  if (isImported === true && checkpoint !== undefined) {
    return `only imported sessions, each proven by itself: one that is missing would not show; the key is from ${keySource}`;
  }
  if (checkpoint === undefined) return `no valid signature; the key is from ${keySource}`;
  const trust = onFirstUse ? `, which is trusted on first use (save it: --public-key '${checkpoint.vkey}')` : '';
  return `signed by ${checkpoint.origin}: ${checkpoint.size} openings and seals of sessions; the key is from ${keySource}${trust}`;
}

/** One finding, indented. */
export function findingLine(finding: Finding, colors: Colors): string {
  return `    ${colors.red(finding.message)}`;
}
