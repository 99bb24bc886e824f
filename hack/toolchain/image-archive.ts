// Writes image archives with deterministic layers, readable by `docker load` and `ctr import`.
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/** What goes into a layer. */
export interface LayerEntry {
  /** Path in the image, without a leading slash. */
  readonly path: string;
  readonly mode: number;
  readonly content:
    | { readonly file: string; readonly size: number }
    | { readonly bytes: Buffer }
    | { readonly link: string }
    | 'folder';
}

/** A layer as a file on this machine: an uncompressed tar. */
export interface Layer {
  readonly file: string;
  readonly size: number;
  /** `sha256:…` of the tar. */
  readonly digest: string;
}

/** What an image runs as; the names are those of the OCI configuration. */
export interface ImageConfig {
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly User?: string;
  readonly WorkingDir?: string;
  readonly Env?: readonly string[];
  readonly Labels?: Readonly<Record<string, string>>;
  readonly StopSignal?: string;
}

/** A whole image; its digest follows from the content alone. */
export interface Image {
  readonly tag: string;
  readonly layers: readonly Layer[];
  readonly config: ImageConfig;
}

const block = 512;

/** A ustar header. Times and owners are zero, so that equal content gives equal digests. */
export function tarHeader(entry: {
  path: string;
  mode: number;
  size: number;
  type: '0' | '2' | '5';
  link?: string;
}): Buffer {
  const header = Buffer.alloc(block);
  const text = (value: string, offset: number, length: number): void => {
    if (Buffer.byteLength(value) > length) throw new Error(`"${value}" does not fit into a tar header`);
    header.write(value, offset, length, 'utf8');
  };
  const octal = (value: number, offset: number, length: number): void =>
    text(`${value.toString(8).padStart(length - 1, '0')}\0`, offset, length);
  let name = entry.path;
  if (Buffer.byteLength(name) > 100) {
    // ustar splits a long path at a slash: up to 155 bytes before it, up to 100 after it.
    const cut = name.indexOf('/', Math.max(0, name.length - 101));
    if (cut < 0) throw new Error(`"${name}" does not fit into a tar header`);
    text(name.slice(0, cut), 345, 155);
    name = name.slice(cut + 1);
  }
  text(name, 0, 100);
  octal(entry.mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(entry.size, 124, 12);
  octal(0, 136, 12);
  header.fill(' ', 148, 156);
  text(entry.type, 156, 1);
  if (entry.link !== undefined) text(entry.link, 157, 100);
  text('ustar\x0000', 257, 8);
  const sum = header.reduce((total, byte) => total + byte, 0);
  text(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 8);
  return header;
}

function padding(size: number): Buffer {
  return Buffer.alloc((block - (size % block)) % block);
}

async function* tar(entries: Iterable<LayerEntry>): AsyncGenerator<Buffer> {
  for (const { path: name, mode, content } of entries) {
    if (content === 'folder') yield tarHeader({ path: `${name}/`, mode, size: 0, type: '5' });
    else if ('link' in content) yield tarHeader({ path: name, mode, size: 0, type: '2', link: content.link });
    else if ('bytes' in content) {
      yield tarHeader({ path: name, mode, size: content.bytes.length, type: '0' });
      yield content.bytes;
      yield padding(content.bytes.length);
    } else {
      yield tarHeader({ path: name, mode, size: content.size, type: '0' });
      let seen = 0;
      for await (const chunk of createReadStream(content.file, { highWaterMark: 1 << 20 })) {
        seen += chunk.length;
        yield chunk;
      }
      if (seen !== content.size) throw new Error(`${content.file} changed while it was read`);
      yield padding(content.size);
    }
  }
  yield Buffer.alloc(2 * block);
}

/**
 * The entries of a file or a folder tree, placed at `to`; modes keep only the owner's execute bit.
 * A single file can be given another mode.
 */
export async function listEntries(source: string, to: string, mode?: number): Promise<LayerEntry[]> {
  const target = to.replace(/^\/+|\/+$/g, '');
  const found = await lstat(source);
  if (found.isSymbolicLink()) return [{ path: target, mode: 0o777, content: { link: await readlink(source) } }];
  if (!found.isDirectory())
    return [
      { path: target, mode: mode ?? (found.mode & 0o100 ? 0o755 : 0o644), content: { file: source, size: found.size } },
    ];
  const entries: LayerEntry[] = [{ path: target, mode: 0o755, content: 'folder' }];
  for (const name of (await readdir(source)).sort())
    entries.push(...(await listEntries(path.join(source, name), `${target}/${name}`)));
  return entries;
}

/** Writes entries as a layer file. */
export async function writeLayer(entries: Iterable<LayerEntry>, file: string): Promise<Layer> {
  const hash = createHash('sha256');
  let size = 0;
  await pipeline(
    tar(entries),
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        size += chunk.length;
        yield chunk;
      }
    },
    createWriteStream(file),
  );
  return { file, size, digest: `sha256:${hash.digest('hex')}` };
}

/** A tar that somebody else made (a Debian root), as a layer. */
export async function readLayer(file: string): Promise<Layer> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) {
    hash.update(chunk);
    size += chunk.length;
  }
  return { file, size, digest: `sha256:${hash.digest('hex')}` };
}

function computeDigest(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Configuration and manifest of an image as they are stored, with their digests. */
export function describe(image: Image): { config: Buffer; manifest: Buffer; configDigest: string; digest: string } {
  const config = Buffer.from(
    JSON.stringify({
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      created: '1970-01-01T00:00:00Z',
      config: image.config,
      rootfs: { type: 'layers', diff_ids: image.layers.map((layer) => layer.digest) },
      history: image.layers.map(() => ({ created: '1970-01-01T00:00:00Z', created_by: 'oplab' })),
    }),
  );
  const configDigest = computeDigest(config);
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: configDigest, size: config.length },
      layers: image.layers.map((layer) => ({
        mediaType: 'application/vnd.oci.image.layer.v1.tar',
        digest: layer.digest,
        size: layer.size,
      })),
    }),
  );
  return { config, manifest, configDigest, digest: computeDigest(manifest) };
}

/** `docker.io/library/x:1` for `x:1`: containerd knows images by their full name only. */
export function fullName(tag: string): string {
  const [first = ''] = tag.split('/');
  if (!tag.includes('/')) return `docker.io/library/${tag}`;
  return first.includes('.') || first.includes(':') || first === 'localhost' ? tag : `docker.io/${tag}`;
}

/**
 * Images as one archive in two layouts: OCI (for containerd) and Docker's (for `docker load`).
 * @param present blobs that the reader has; containerd accepts an archive without them, Docker not.
 */
export function archive(images: readonly Image[], present: ReadonlySet<string> = new Set()): Readable {
  const entries = new Map<string, LayerEntry>();
  const blob = (digest: string): string => `blobs/${digest.replace(':', '/')}`;
  const bytes = (name: string, content: Buffer): void => {
    entries.set(name, { path: name, mode: 0o644, content: { bytes: content } });
  };
  const described = images.map((image) => ({ image, ...describe(image) }));
  bytes('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
  const index = described.map(({ image, manifest, digest }) => ({
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest,
    size: manifest.length,
    annotations: {
      'io.containerd.image.name': fullName(image.tag),
      'org.opencontainers.image.ref.name': image.tag.slice(image.tag.lastIndexOf(':') + 1),
    },
  }));
  bytes(
    'index.json',
    Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: index }),
    ),
  );
  const docker = described.map(({ image, configDigest }) => ({
    Config: blob(configDigest),
    RepoTags: [image.tag],
    Layers: image.layers.map((layer) => blob(layer.digest)),
  }));
  bytes('manifest.json', Buffer.from(JSON.stringify(docker)));
  for (const { image, config, manifest, configDigest, digest } of described) {
    bytes(blob(configDigest), config);
    bytes(blob(digest), manifest);
    for (const layer of image.layers) {
      const name = blob(layer.digest);
      if (!present.has(layer.digest))
        entries.set(name, { path: name, mode: 0o644, content: { file: layer.file, size: layer.size } });
    }
  }
  return Readable.from(tar(entries.values()), { objectMode: false });
}
