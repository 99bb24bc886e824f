// Undoes the changes of a session: plans, records, acts, records.

import { isOplabError } from '../../errors.ts';
import { isLostRace, type Objects } from '../objects.ts';
import type { Change } from './change.ts';
import { changedObjects, type NotUndone, type ObjectPlan, planObject } from './undo-plan.ts';

/** How an undo of one object ended. */
export interface ObjectResult extends ObjectPlan {
  readonly done: boolean;
  /** Why it was left as it is although there was something to put back. */
  readonly failure?: string;
}

/** Plans the undo of all objects, the one that was changed last first. Reads, and changes nothing. */
export async function planUndo(changes: readonly Change[], objects: Pick<Objects, 'read'>): Promise<ObjectPlan[]> {
  const plans: ObjectPlan[] = [];
  for (const ofObject of changedObjects(changes).values()) {
    const [newest] = ofObject;
    if (newest === undefined) continue;
    const plan = planObject(ofObject, await objects.read(newest.target));
    if (plan !== undefined) plans.push(plan);
  }
  return plans;
}

/** Changes that are no object's, and so cannot be put back. */
export function otherChanges(changes: readonly Change[]): NotUndone[] {
  return changes.flatMap((change) =>
    change.type === 'other' ? [{ seq: change.seq, what: change.text, why: change.why }] : [],
  );
}

/** Puts back what the plans say. Each step holds only for the object as the plan has seen it. */
export async function runUndo(plans: readonly ObjectPlan[], objects: Pick<Objects, 'take'>): Promise<ObjectResult[]> {
  const results: ObjectResult[] = [];
  for (const plan of plans) results.push(await runPlan(plan, objects));
  return results;
}

async function runPlan(plan: ObjectPlan, objects: Pick<Objects, 'take'>): Promise<ObjectResult> {
  try {
    // The second step of a plan would meet the version that the first one has made.
    const [step] = plan.steps;
    if (step !== undefined) await objects.take(plan.target, step);
    if (plan.steps.length > 1) {
      const restored = plan.restored.filter(({ part }) => part === 'main');
      return { ...plan, restored, done: true, failure: 'its status is left as it is; run undo again' };
    }
    return { ...plan, done: true };
  } catch (error) {
    if (!isOplabError(error)) throw error;
    const failure = isLostRace(error) ? `somebody else changed it just now: ${error.message}` : error.message;
    return { ...plan, done: false, failure };
  }
}

/** Whether something is left as it is. */
export function isIncomplete(results: readonly ObjectResult[], others: readonly NotUndone[]): boolean {
  return (
    others.length > 0 ||
    results.some(
      ({ conflicts, notUndone, failure }) => conflicts.length + notUndone.length > 0 || failure !== undefined,
    )
  );
}
