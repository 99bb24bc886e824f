// The patient's images where the public ones cannot be pulled, and the load's, which is ours everywhere.
import type { LocalImage } from '../../hack/toolchain/local-image.ts';

const title = (text: string, description: string) => ({
  'org.opencontainers.image.title': text,
  'org.opencontainers.image.description': description,
});

/** The load with its write ledger; no registry has it. */
export const loadImage: LocalImage = {
  tag: 'oplab.dev/load:dev',
  base: 'oplab-base',
  files: [{ from: { tool: 'oplab-load' }, to: '/oplab-load' }],
  entrypoint: ['/oplab-load'],
  labels: title('oplab-load', 'Transactional load on TiKV with a write ledger'),
};

/** Stand-ins for the public images of PD, TiKV and Prometheus. */
export const standInImages: readonly LocalImage[] = [
  {
    tag: 'oplab.dev/pd:v8.1.0-source',
    base: 'oplab-base',
    files: [
      { from: { tool: 'pd-ctl' }, to: '/pd-ctl' },
      { from: { tool: 'pd-server' }, to: '/pd-server' },
    ],
    entrypoint: ['/pd-server'],
    // PD's routes need the older pattern rules of Go's HTTP server; without this it ends at start.
    env: { GODEBUG: 'httpmuxgo121=1' },
    labels: title('PD', 'The real pd-server and pd-ctl, built from the Go modules of tikv/pd'),
  },
  {
    tag: 'oplab.dev/tikv-standin:dev',
    base: 'oplab-base',
    files: [{ from: { tool: 'tikv-server' }, to: '/tikv-server' }],
    entrypoint: ['/tikv-server'],
    labels: {
      ...title('tikv-server stand-in', "Stand-in for tikv-server over unistore: TiKV's protocol, real Raft, not TiKV"),
      'dev.oplab.stand-in': 'tikv-server',
    },
  },
  {
    tag: 'oplab.dev/prometheus:2.42',
    base: 'oplab-base',
    files: [{ from: { debian: 'prometheus', path: '/usr/bin/prometheus' }, to: '/bin/prometheus' }],
    entrypoint: ['/bin/prometheus'],
    labels: title('Prometheus', "Debian's build of Prometheus 2.42"),
  },
];

/** All images that the patient takes from this machine when none can be pulled. */
export const patientImages: readonly LocalImage[] = [...standInImages, loadImage];
