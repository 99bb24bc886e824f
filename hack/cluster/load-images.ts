// Loads images into the node: only those, and only those layers, that it does not have.
import { spawn } from 'node:child_process';
import { pipeline } from 'node:stream/promises';
import { output } from '../child.ts';
import { archive, describe, fullName, type Image } from '../toolchain/image-archive.ts';
import { ensureTool } from '../toolchain/tools.ts';
import { clusterName, nodeContainer } from './names.ts';

const ctr = ['exec', '-i', nodeContainer, 'ctr', '-n', 'k8s.io'];

/** Image references in the node with their digests, out of `ctr images ls`. */
export function parseImageList(printed: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const line of printed.split('\n')) {
    const [reference, , digest] = line.trim().split(/\s+/);
    if (reference !== undefined && digest?.startsWith('sha256:')) found.set(reference, digest);
  }
  return found;
}

/** References and digests of what the node has. */
export async function imagesInNode(signal?: AbortSignal): Promise<Map<string, string>> {
  return parseImageList(await output('docker', [...ctr, 'images', 'ls'], { signal }));
}

/** Loads images made here that the node does not have with this digest. @returns their tags */
export async function loadImages(images: readonly Image[], signal?: AbortSignal): Promise<string[]> {
  const present = await imagesInNode(signal);
  const missing = images.filter((image) => present.get(fullName(image.tag)) !== describe(image).digest);
  if (missing.length === 0) return [];
  const blobs = new Set((await output('docker', [...ctr, 'content', 'ls', '-q'], { signal })).split('\n'));
  // One stream for all, so that a layer which two images share is sent once.
  const child = spawn('docker', [...ctr, 'images', 'import', '-'], {
    stdio: ['pipe', 'ignore', 'pipe'],
    signal,
  });
  const stderr: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
  });
  const [code] = await Promise.all([ended, pipeline(archive(missing, blobs), child.stdin).catch(() => undefined)]);
  if (code !== 0)
    throw new Error(
      `loading ${missing.map((image) => image.tag).join(', ')} into the node failed:\n${Buffer.concat(stderr)}`,
    );
  return missing.map((image) => image.tag);
}

/** Loads images that the Docker daemon has; kind skips those that the node has. */
export async function loadDockerImages(tags: readonly string[], signal?: AbortSignal): Promise<void> {
  if (tags.length === 0) return;
  const kind = await ensureTool('kind', { signal });
  await output(kind, ['load', 'docker-image', '--name', clusterName, ...tags], { signal });
}
