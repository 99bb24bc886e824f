// The patient's images where public ones cannot be pulled, and the image of the load.
import { loadDockerImages } from '../../hack/cluster/load-images.ts';
import { canPull } from '../../hack/cluster/registry.ts';
import { dockerBuild, makeAndLoad } from '../../hack/images.ts';
import type { Step } from '../../hack/progress.ts';
import type { ImageSource, LocalImage } from '../../hack/toolchain/local-image.ts';
import { pdCtl } from '../../hack/toolchain/recipes.ts';
import { compileSteps, findBuild } from '../../hack/toolchain/tools.ts';
import { patientBuilds } from './builds.ts';

/** A program of the patient, from the build that makes it. */
const program = (tool: string): ImageSource => ({ tool, build: findBuild(tool, patientBuilds) });

const title = (text: string, description: string) => ({
  'org.opencontainers.image.title': text,
  'org.opencontainers.image.description': description,
});

/** The load with its write ledger; no registry has it. */
export const loadImage: LocalImage = {
  tag: 'oplab.dev/load:dev',
  base: 'oplab-base',
  files: [{ from: program('oplab-load'), to: '/oplab-load' }],
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
      { from: program('pd-server'), to: '/pd-server' },
    ],
    entrypoint: ['/pd-server'],
    // PD's routes need the older pattern rules of Go's HTTP server; without this it ends at start.
    env: { GODEBUG: 'httpmuxgo121=1' },
    labels: title('PD', 'The real pd-server and pd-ctl, built from the Go modules of tikv/pd'),
  },
  {
    tag: 'oplab.dev/tikv-standin:dev',
    base: 'oplab-base',
    files: [{ from: program('tikv-server'), to: '/tikv-server' }],
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

/**
 * Makes the patient's images and loads them into the cluster. Where images can be pulled that is
 * the load alone: the chart's defaults are public.
 * @returns the tags that were not in the node before.
 */
export async function ensurePatientImages(signal: AbortSignal): Promise<string[]> {
  if (!(await canPull(signal))) return makeAndLoad(patientImages, signal);
  await dockerBuild('load', loadImage.tag, signal);
  await loadDockerImages([loadImage.tag], signal);
  return [loadImage.tag];
}

/** The steps to the patient's images in the cluster: what must be compiled, then the images. */
export async function patientImageSteps(signal: AbortSignal): Promise<Step[]> {
  const pulled = await canPull(signal);
  return [
    ...(pulled ? [] : compileSteps([pdCtl, ...patientBuilds], signal)),
    {
      title: "the patient's images",
      expectedSeconds: pulled ? 60 : 8,
      run: async ({ note }) => {
        const loaded = await ensurePatientImages(signal);
        note(loaded.length === 0 ? 'all are in the cluster' : `loaded ${loaded.length}`);
      },
    },
  ];
}
