// The Go builds of the patient: the real PD, the stand-in for tikv-server, and the load.
import path from 'node:path';
import type { GoBuild } from '../../hack/toolchain/go-build.ts';
import { goBuilds } from '../../hack/toolchain/recipes.ts';
import { ensureTool } from '../../hack/toolchain/tools.ts';
import { unistorePatch } from './unistore-patch.ts';

const here = import.meta.dirname;

/** The patient's builds. */
export const patientBuilds: readonly GoBuild[] = [
  {
    name: 'pd',
    moduleDir: path.join(here, 'pd'),
    packages: ['github.com/tikv/pd/cmd/pd-server'],
    tags: ['without_dashboard', 'nomsgpack'],
    ldflags: ['-checklinkname=0', '-X github.com/tikv/pd/pkg/versioninfo.PDReleaseVersion=v8.1.0'],
    expectedSeconds: 60,
  },
  {
    name: 'tikv-standin',
    moduleDir: path.join(here, 'tikv-server'),
    packages: ['oplab.dev/patient/tikv-server'],
    patches: [unistorePatch],
    // The protobuf runtime ends a program in which two packages register one name, which unistore's
    // dependencies do.
    ldflags: [
      '-checklinkname=0',
      '-X google.golang.org/protobuf/reflect/protoregistry.conflictPolicy=ignore',
      '-X main.release=dev',
    ],
    expectedSeconds: 60,
  },
  {
    name: 'oplab-load',
    moduleDir: path.join(here, '../load'),
    packages: ['oplab.dev/patient/oplab-load'],
    ldflags: ['-checklinkname=0'],
    expectedSeconds: 40,
  },
];

/** Every build of the checkout: the toolchain's, then the patient's. */
export const allBuilds: readonly GoBuild[] = [...goBuilds, ...patientBuilds];

/**
 * The path of a program, of the patient or of the toolchain, ready to run; builds it if it is
 * missing.
 */
export async function ensureProgram(program: string, signal?: AbortSignal): Promise<string> {
  return ensureTool(program, { builds: allBuilds, ...(signal && { signal }) });
}
