// Makes local images: each file or folder becomes a cached layer on top of a Debian root.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { contentKey } from './build-key.ts';
import { cached } from './cache.ts';
import { ensureRoot, ensureUnpacked } from './debian.ts';
import { type Image, type Layer, type LayerEntry, listEntries, writeLayer } from './image-archive.ts';
import type { ImageFile, ImageSource, LocalImage } from './local-image.ts';
import { ensureBuild, findBuild, goBuildKey } from './tools.ts';

/** The path of a source, built or unpacked if missing. Tools never come from PATH. */
async function locate(source: ImageSource, signal: AbortSignal | undefined): Promise<string> {
  if ('tool' in source)
    return path.join(await ensureBuild(source.build ?? findBuild(source.tool), signal), source.tool);
  if ('debian' in source) return path.join(await ensureUnpacked(source.debian, signal), source.path);
  return source.path;
}

async function hashEntries(entries: readonly LayerEntry[]): Promise<string> {
  const hash = createHash('sha256');
  for (const { path: name, mode, content } of entries) {
    hash.update(`\0${name}\0${mode}\0`);
    if (content === 'folder') continue;
    if ('link' in content) hash.update(content.link);
    else if ('bytes' in content) hash.update(content.bytes);
    else for await (const chunk of createReadStream(content.file, { highWaterMark: 1 << 20 })) hash.update(chunk);
  }
  return hash.digest('hex');
}

/** A layer of given entries, from the cache if it was written before. */
export async function cachedLayer(
  key: string,
  entries: () => Promise<readonly LayerEntry[]>,
  signal?: AbortSignal,
): Promise<Layer> {
  const dir = await cached({
    name: 'layer',
    key,
    signal,
    make: async (target) => {
      const { size, digest } = await writeLayer(await entries(), path.join(target, 'layer.tar'));
      await writeFile(path.join(target, 'layer.json'), JSON.stringify({ size, digest }));
    },
  });
  const { size, digest } = JSON.parse(await readFile(path.join(dir, 'layer.json'), 'utf8')) as {
    size: number;
    digest: string;
  };
  return { file: path.join(dir, 'layer.tar'), size, digest };
}

async function layerOfFile(file: ImageFile, signal: AbortSignal | undefined): Promise<Layer> {
  const located = await locate(file.from, signal);
  if ('tool' in file.from) {
    // The key of a tool's build identifies its content: there is no need to read a hundred
    // megabytes.
    const key = contentKey({
      tool: file.from.tool,
      to: file.to,
      build: goBuildKey(file.from.build ?? findBuild(file.from.tool)),
      mode: file.mode,
    });
    return cachedLayer(key, () => listEntries(located, file.to, file.mode), signal);
  }
  const entries = await listEntries(located, file.to, file.mode);
  return cachedLayer(contentKey({ content: await hashEntries(entries) }), async () => entries, signal);
}

/** The image of a recipe, with cached layers. Equal recipes and files give the same digest. */
export async function ensureLocalImage(image: LocalImage, signal?: AbortSignal): Promise<Image> {
  const layers: Layer[] = image.base === 'scratch' ? [] : [await ensureRoot(image.base, signal)];
  for (const file of image.files) layers.push(await layerOfFile(file, signal));
  const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', ...image.env };
  return {
    tag: image.tag,
    layers,
    config: {
      User: image.user ?? '65532',
      Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
      ...(image.entrypoint.length > 0 && { Entrypoint: image.entrypoint }),
      ...(image.cmd !== undefined && { Cmd: image.cmd }),
      ...(image.workdir !== undefined && { WorkingDir: image.workdir }),
      ...(image.labels !== undefined && { Labels: image.labels }),
    },
  };
}
