// `npm run patient:inject -- SCENARIO`: breaks the patient and returns once the symptom shows.
//
//   --namespace NS --release NAME   another patient than the usual one
//
// Examples:
//   npm run patient:inject -- store-scaled-down
//   npm run patient:check

import { parseArgs } from 'node:util';
import { main, runSteps } from '../../hack/progress.ts';
import { scenarioNamed } from '../scenarios/all.ts';
import { openSession, type PatientTarget, targetOptions } from './session.ts';

/** Injects the scenario and returns once its symptom can be seen. */
export async function inject(name: string, target: PatientTarget & { note?: (text: string) => void }): Promise<void> {
  const scenario = scenarioNamed(name);
  await using session = await openSession(target);
  const context = { session, note: target.note ?? (() => undefined) };
  await scenario.stage?.(context);
  await scenario.inject(context);
}

if (import.meta.main)
  await main(async (signal) => {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        ...targetOptions,
      },
    });
    const scenario = scenarioNamed(positionals[0] ?? '');
    await runSteps(
      [
        {
          title: `${scenario.name}: ${scenario.summary}`,
          expectedSeconds: 40,
          run: ({ note }) => inject(scenario.name, { ...values, signal, note }),
        },
      ],
      { signal },
    );
    return 0;
  });
