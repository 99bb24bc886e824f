// What the model client of an attempt has learned, and keeps over a restart.

import * as z from 'zod';
import { EFFORTS } from '../api/model-table.ts';

/** How much of a limit is left. */
export const budgetLeft = z.object({ percent: z.number(), limit: z.string() });
export type BudgetLeft = Readonly<z.infer<typeof budgetLeft>>;

export const modelState = z.object({
  /** The model that is asked: that of the class, or its fallback. */
  name: z.string(),
  /** Whether it is asked to think. */
  thinks: z.boolean(),
  effort: z.enum(EFFORTS).optional(),
});
export type ModelState = Readonly<z.infer<typeof modelState>>;
