// Describes a locally made image: a base, the files on top, and how it starts.

import type { GoBuild } from './go-build.ts';

/** Where a file of a local image comes from. */
export type ImageSource =
  /** A binary of a Go build, by name. Without `build`, the toolchain's own builds are searched. */
  | { readonly tool: string; readonly build?: GoBuild }
  /** An absolute path of a file or folder on this machine. */
  | { readonly path: string }
  /** A path inside one of the Debian packages that are unpacked beside the root. */
  | { readonly debian: string; readonly path: string };

/** Root file systems that local images start from; `scratch` is nothing at all. */
export type ImageBase = 'oplab-base' | 'oplab-sandbox-base' | 'oplab-system-base' | 'scratch';

/** A file or folder to lay into the image. */
export interface ImageFile {
  readonly from: ImageSource;
  /** Absolute path in the image. A folder's content goes below it. */
  readonly to: string;
  /** Permissions of a single file; default: 0755 if its owner may execute it, else 0644. */
  readonly mode?: number;
}

/** An image that is put together on this machine out of files alone. */
export interface LocalImage {
  /** Full reference, e.g. `oplab.dev/load:dev`. */
  readonly tag: string;
  readonly base: ImageBase;
  /** Laid in order, each entry as a layer of its own: put what changes most last. */
  readonly files: readonly ImageFile[];
  readonly entrypoint: readonly string[];
  readonly cmd?: readonly string[];
  /** Numeric user, e.g. `65532`. Default 65532. */
  readonly user?: string;
  readonly workdir?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** OCI labels; a stand-in says so in `org.opencontainers.image.description`. */
  readonly labels?: Readonly<Record<string, string>>;
}
