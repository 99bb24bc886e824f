// What is said of a claim that the checks did not confirm: to the next attempt, and to whoever takes over. Pure.

import type { CheckResult, Claim } from '../../api/incident.ts';
import { truncate } from '../../api/truncate.ts';
import { failingEvidence } from '../../checks/soak.ts';

/** Shares of a message's 4096 characters, so that a long story leaves room for the evidence and the other way round. */
const SAID = 600;
const EVIDENCE = 2000;
const DONE = 1000;

/** The claim, each failing check with what was seen, and what the agent did: the next one must not start from nothing. */
export function unconfirmedClaim(claim: Claim, results: readonly CheckResult[]): string {
  const failing = results.filter((result) => !result.passing);
  const share = Math.floor(EVIDENCE / Math.max(1, failing.length));
  return [
    `the agent claimed ${claim.outcome}: ${truncate(claim.summary, SAID)}`,
    'but the checks did not hold:',
    ...failing.map((result) => truncate(failingEvidence([result]), share)),
    ...(claim.rootCause === '' ? [] : [`the cause, as it saw it: ${truncate(claim.rootCause, SAID / 2)}`]),
    ...(claim.actions.length === 0 ? [] : [truncate(`what it did: ${claim.actions.join('; ')}`, DONE)]),
  ].join('\n');
}
