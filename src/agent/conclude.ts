// The tool `conclude`: ends the attempt with the agent's claim, which the checks then verify.

import * as z from 'zod';
import type { ClaimOutcome } from '../api/incident-status.ts';
import { truncate } from '../api/truncate.ts';
import type { Conclusion, Task } from '../gateway/protocol.ts';
import { checkInput, joinProblems } from '../input/parse-input.ts';
import type { Tool } from './tool.ts';

const outcomes: Record<'fixed' | 'nothing_wrong' | 'cannot_fix', ClaimOutcome> = {
  fixed: 'Fixed',
  nothing_wrong: 'NothingWrong',
  cannot_fix: 'CannotFix',
};

const input = z.object({
  outcome: z.enum(['fixed', 'nothing_wrong', 'cannot_fix']),
  summary: z.string().min(1),
  root_cause: z.string(),
  actions: z.array(z.string()),
});

/** `conclude` hands the claim to the gateway. */
export function createConcludeTool(
  mode: Task['mode'],
  conclude: (conclusion: Conclusion, signal: AbortSignal) => Promise<void>,
): Tool {
  return {
    alone: true,
    definition: {
      name: 'conclude',
      description:
        'Ends your work with a claim. Call it alone, after you have seen the results of all previous calls. `fixed`: you changed something, and ' +
        'fresh observations show that the system is healthy. `nothing_wrong`: fresh observations show that the system is healthy, and you changed nothing. ' +
        '`cannot_fix`: you cannot repair it; say what you found and what a person should do. The claim is verified independently, so a wrong one will be detected.',
      input_schema: {
        type: 'object',
        properties: {
          outcome: { type: 'string', enum: ['fixed', 'nothing_wrong', 'cannot_fix'] },
          summary: { type: 'string', description: 'What was wrong and what the state is now, in a few sentences.' },
          root_cause: { type: 'string', description: 'Why it was wrong, as far as the evidence shows.' },
          actions: {
            type: 'array',
            items: { type: 'string' },
            description: 'Each change that you made, one per item; empty if you made none.',
          },
        },
        required: ['outcome', 'summary', 'root_cause', 'actions'],
      },
    },
    prepare(raw) {
      const parsed = checkInput(input, raw, { values: 'shown' });
      if (!parsed.success)
        return `${joinProblems('conclude', parsed.problems)}\nNothing was concluded. Call it again with all four fields.`;
      const { outcome, summary, root_cause: rootCause, actions } = parsed.data;
      if (mode === 'Diagnose' && outcome === 'fixed') {
        return 'conclude: `fixed` is not allowed in mode Diagnose, in which you must not change anything. Conclude cannot_fix with your diagnosis, or nothing_wrong.';
      }
      const conclusion: Conclusion = {
        outcome: outcomes[outcome],
        summary: truncate(summary, 4096, ''),
        rootCause: truncate(rootCause, 4096, ''),
        actions: actions.slice(0, 32).map((action) => truncate(action, 1024, '')),
      };
      const claim = async (_callKey: string, signal: AbortSignal) => {
        await conclude(conclusion, signal);
        return { text: 'Recorded.', isError: false, summary: `claimed ${conclusion.outcome}`, concluded: true };
      };
      // The gateway takes the same claim any number of times, as one.
      return { params: { ...conclusion }, purpose: conclusion.summary, run: claim, resume: claim };
    },
  };
}
