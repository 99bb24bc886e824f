// Describes a claim that the checks did not confirm, for the next attempt and the hand-over. Pure.

import type { CheckResult, Claim } from '../../api/incident-status.ts';
import { truncate } from '../../api/truncate.ts';
import { failingEvidence } from '../../checks/soak.ts';

/** Parts of the message, which may have 4096 characters: no part may crowd out the others. */
const MAX_SUMMARY = 600;
const MAX_CAUSE = 300;
const MAX_EVIDENCE = 2000;
const MAX_ACTIONS = 1000;

/** The claim, the evidence of each failing check, and the actions, for the next agent to use. */
export function unconfirmedClaim(claim: Claim, results: readonly CheckResult[]): string {
  const failing = results.filter((result) => !result.passing);
  const share = Math.floor(MAX_EVIDENCE / Math.max(1, failing.length));
  return [
    `the agent claimed ${claim.outcome}: ${truncate(claim.summary, MAX_SUMMARY)}`,
    'but the checks did not hold:',
    ...failing.map((result) => truncate(failingEvidence([result]), share)),
    ...(claim.rootCause === '' ? [] : [`cause according to the agent: ${truncate(claim.rootCause, MAX_CAUSE)}`]),
    ...(claim.actions.length === 0 ? [] : [truncate(`actions: ${claim.actions.join('; ')}`, MAX_ACTIONS)]),
  ].join('\n');
}
