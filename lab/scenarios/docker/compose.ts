// The Compose project of the trial, run by the version of Compose that this machine has.

import { spawn } from 'node:child_process';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { output, run, succeeds } from '../../../hack/child.ts';
import { canPull } from '../../../hack/cluster/registry.ts';
import { ensurePackages } from '../../../hack/toolchain/apt.ts';
import { archive } from '../../../hack/toolchain/image-archive.ts';
import { ensureLocalImage } from '../../../hack/toolchain/local-images.ts';
import { loadImage, standInImages } from '../../patient/images.ts';
import { count } from '../../patient/observation.ts';

export const PROJECT = 'oplab-docker-patient';
/** Where the ports of compose.yaml are published. */
export const PORTS = { pd: 12379, prometheus: 19090, load: 18080 } as const;
/**
 * How long to wait for the first regions' replicas, in milliseconds. Afterwards the checks report
 * the missing ones.
 */
const REPLICATED_MS = 90_000;
const file = path.join(import.meta.dirname, 'compose.yaml');

export class ComposeProject {
  readonly #signal: AbortSignal;
  readonly #address: string;

  /** @param address of this host, at which pods reach it */
  constructor(address: string, signal: AbortSignal) {
    this.#address = address;
    this.#signal = signal;
  }

  /** The plugin of the docker command, or the older program, which is installed if needed. */
  async #command(): Promise<[string, string[]]> {
    if (await succeeds('docker', ['compose', 'version'], { signal: this.#signal })) return ['docker', ['compose']];
    await ensurePackages(['docker-compose'], this.#signal);
    return ['docker-compose', []];
  }

  async #compose(args: readonly string[], images: Readonly<Record<string, string>> = {}): Promise<void> {
    const [program, before] = await this.#command();
    await run(program, [...before, '--project-name', PROJECT, '--file', file, ...args], {
      signal: this.#signal,
      env: { PATIENT_ADDRESS: this.#address, ...images },
    });
  }

  /** Uses public images if they can be pulled; otherwise loads the stand-ins into the daemon. */
  async #images(): Promise<Readonly<Record<string, string>>> {
    const wanted = (await canPull(this.#signal)) ? [loadImage] : [...standInImages, loadImage];
    const tags = wanted.map(({ tag }) => tag);
    const present = await output('docker', ['images', '--format', '{{.Repository}}:{{.Tag}}'], {
      signal: this.#signal,
    });
    const missing = wanted.filter(({ tag }) => !present.split('\n').includes(tag));
    if (missing.length > 0) {
      const images = [];
      for (const recipe of missing) images.push(await ensureLocalImage(recipe, this.#signal));
      const child = spawn('docker', ['load', '--quiet'], {
        stdio: ['pipe', 'ignore', 'inherit'],
        signal: this.#signal,
      });
      const ended = new Promise<number | null>((resolve, reject) => {
        child.once('error', reject);
        child.once('close', resolve);
      });
      const [code] = await Promise.all([ended, pipeline(archive(images), child.stdin)]);
      if (code !== 0) throw new Error('the images of the Compose project could not be loaded');
    }
    const [pd = '', tikv = '', prometheus = ''] = tags;
    return wanted.length === 1 ? {} : { PD_IMAGE: pd, TIKV_IMAGE: tikv, PROMETHEUS_IMAGE: prometheus };
  }

  /**
   * Starts everything. The load starts last, so that the first regions have all their replicas
   * before they are split.
   */
  async up(): Promise<void> {
    const images = await this.#images();
    await this.#compose(['up', '--detach', '--remove-orphans', 'pd0', 'pd1', 'pd2', 'tikv0', 'tikv1', 'tikv2'], images);
    const counted = async (at: string) =>
      count.parse(await (await fetch(this.url('pd', `/pd/api/v1/${at}`))).json()).count;
    const replicated = async () =>
      (await counted('stores')) === 3 &&
      (await counted('regions/check/miss-peer')) === 0 &&
      (await counted('regions/check/pending-peer')) === 0;
    for (const until = Date.now() + REPLICATED_MS; Date.now() < until; ) {
      if (await replicated().catch(() => false)) break;
      await sleep(1000, undefined, { signal: this.#signal });
    }
    await this.#compose(['up', '--detach', '--remove-orphans'], images);
  }

  async down(): Promise<void> {
    await this.#compose(['down', '--volumes', '--remove-orphans', '--timeout', '5']);
  }

  /** Whether each container of the project runs, by service. */
  async running(): Promise<ReadonlyMap<string, boolean>> {
    const label = '{{.Label "com.docker.compose.service"}} {{.State}}';
    const filter = `label=com.docker.compose.project=${PROJECT}`;
    const shown = await output('docker', ['ps', '-a', '--filter', filter, '--format', label], { signal: this.#signal });
    return new Map(
      shown
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => {
          const [service = '', state] = line.split(' ');
          return [service, state === 'running'];
        }),
    );
  }

  async docker(...args: string[]): Promise<string> {
    return await output('docker', args, { signal: this.#signal });
  }

  url(part: keyof typeof PORTS, at: string): string {
    return `http://${this.#address}:${PORTS[part]}${at}`;
  }
}
