// How a class has its model asked, where the table of models does not know it or the owner knows better.

import * as z from 'zod';
import { EFFORTS } from './model-table.ts';

/** The lifetimes of the prompt cache, the default first. */
const CACHE_TTLS = ['5m', '1h'] as const;

/** How the agent model is asked. What is not set follows from the table of models. */
export const modelOptions = z.object({
  fallbackName: z.string().min(1).max(128).optional().meta({
    description:
      'A model that answers instead, once per attempt, when the agent model declines to continue. If not set, the attempt ends then.',
  }),
  effort: z.enum(EFFORTS).optional().meta({
    description:
      "How much effort the agent model puts into a response (output_config.effort). If not set, the model's own default applies.",
  }),
  thinking: z.enum(['adaptive', 'off']).optional().meta({
    description:
      'Whether requests ask for adaptive thinking, whose summaries go on record. off sends no thinking parameter. If not set, it follows from the name of the model.',
  }),
  contextWindow: z.number().int().min(8000).max(10_000_000).optional().meta({
    description: 'Context window of the agent model in tokens. If not set, it follows from the name of the model.',
  }),
  cacheTtl: z.enum(CACHE_TTLS).optional().meta({
    description:
      'How long the API keeps the cached prompt between two requests. 5m, the default, is cheaper to write; 1h pays off if commands often run for more than four minutes.',
  }),
});
export type ModelOptions = z.infer<typeof modelOptions>;
