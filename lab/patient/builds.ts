// The patient's own Go programs: the stand-in for tikv-server, and the load with its write ledger.
import path from 'node:path';
import type { GoBuild } from '../../hack/toolchain/go-build.ts';
import { unistorePatch } from './unistore-patch.ts';

const here = import.meta.dirname;

/** Builds beside the toolchain's own; real pd-server and pd-ctl are among those. */
export const patientBuilds: readonly GoBuild[] = [
  {
    name: 'tikv-standin',
    moduleDir: path.join(here, 'tikv-server'),
    packages: ['oplab.dev/patient/tikv-server'],
    patches: [unistorePatch],
    // The protobuf runtime ends a program in which two packages register one name, which unistore's dependencies do.
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
