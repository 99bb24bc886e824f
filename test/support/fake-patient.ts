// kubectl, helm and curl that act on a cluster in memory, for tests. jq, awk and bash are real.

import { FakeCluster } from './fake-cluster.ts';
import type { FakeClusterOptions } from './fake-cluster-objects.ts';
import { type FakePrograms, startFakePrograms } from './fake-programs.ts';

export interface FakePatientOptions extends FakeClusterOptions {
  /** Changes the output of every command. */
  readonly garble?: (text: string) => string;
}

export interface FakePatient extends FakePrograms {
  readonly cluster: FakeCluster;
}

/** Creates the programs in a directory of the caller. They get their output from this process. */
export async function createFakePatient(directory: string, options: FakePatientOptions): Promise<FakePatient> {
  const cluster = new FakeCluster(options);
  const garble = options.garble ?? ((text: string) => text);
  const programs = await startFakePrograms(directory, ['kubectl', 'helm', 'curl'], (program, args, stdin) => {
    try {
      const value = cluster.answer(program, args, stdin);
      return garble(typeof value === 'string' ? value : JSON.stringify(value));
    } catch (error) {
      throw new Error(garble(error instanceof Error ? error.message : String(error)));
    }
  });
  return { ...programs, cluster };
}
