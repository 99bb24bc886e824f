// `npm run patient:down`: removes the TiKV cluster, its data, and its namespace if it is empty.
//
//   --namespace NS --release NAME   which patient (tikv, tikv)
//
// Examples:
//   npm run patient:down
//   npm run patient:down -- --namespace lab --release lab

import { parseArgs } from 'node:util';
import { run, succeeds } from '../../hack/child.ts';
import { main, runSteps } from '../../hack/progress.ts';
import { patientDefaults, targetOptions } from './session.ts';

/** Which patient to remove. */
export interface PatientDownOptions {
  readonly kubeconfig: string;
  readonly signal: AbortSignal;
  readonly namespace?: string;
  readonly release?: string;
}

/** Uninstalls the release and deletes its claims; a patient that is not there is no error. */
export async function patientDown(options: PatientDownOptions): Promise<void> {
  const namespace = options.namespace ?? patientDefaults.namespace;
  const release = options.release ?? patientDefaults.release;
  const env = { KUBECONFIG: options.kubeconfig };
  const { signal } = options;
  if (!(await succeeds('kubectl', ['get', 'namespace', namespace], { env, signal }))) return;
  await run('helm', ['uninstall', release, '--namespace', namespace, '--ignore-not-found', '--wait'], { env, signal });
  // Claims of a StatefulSet outlive it by design; kept, they would mix the old cluster into the
  // next one.
  await run(
    'kubectl',
    ['--namespace', namespace, 'delete', 'pvc', '-l', `app.kubernetes.io/instance=${release}`, '--wait=true'],
    { env, signal },
  );
  const left = await run(
    'kubectl',
    ['--namespace', namespace, 'get', 'pods,pvc,secrets,incidents.oplab.dev', '-o', 'name', '--ignore-not-found'],
    { env, signal, allowFailure: true },
  );
  if (left.stdout.trim() === '' && namespace !== 'default')
    await run('kubectl', ['delete', 'namespace', namespace, '--wait=true', '--timeout=120s'], { env, signal });
}

if (import.meta.main)
  await main(async (signal) => {
    const { values } = parseArgs({
      options: {
        ...targetOptions,
      },
    });
    await runSteps(
      [
        {
          title: `release ${values.release} in namespace ${values.namespace} is removed, with its data`,
          expectedSeconds: 30,
          run: (context) => patientDown({ ...values, signal: context.signal }),
        },
      ],
      { signal },
    );
    return 0;
  });
