// Describes a Go build: a module in the checkout, its main packages, and how they are linked.
import type { ModulePatch } from './module-patch.ts';

/** One `go build` run over the mains of one module. Everything here is part of the cache key. */
export interface GoBuild {
  /** Names the cache folder (`<name>-<key>`); unique among all builds. */
  readonly name: string;
  /** Absolute path of the folder with go.mod and go.sum; its whole content is part of the key. */
  readonly moduleDir: string;
  /**
   * Package paths of the mains, e.g. `k8s.io/kubernetes/cmd/kubelet` or `oplab.dev/lab/load`.
   * The last element names the binary, as `go build -o dir/` does.
   */
  readonly packages: readonly string[];
  /** Build tags. */
  readonly tags?: readonly string[];
  /** Linker flags beside `-s -w`, e.g. `-checklinkname=0`. */
  readonly ldflags?: readonly string[];
  /** Environment beside CGO_ENABLED=0 (which may be overridden), e.g. `GONOSUMDB`. */
  readonly env?: Readonly<Record<string, string>>;
  /** Corrections to modules that it depends on. */
  readonly patches?: readonly ModulePatch[];
  /** What a cold build takes on two cores; only for the progress line. */
  readonly expectedSeconds: number;
}

/** The name that `go build` gives to a binary: the last path element that is not `vN`. */
export function binaryName(packagePath: string): string {
  const parts = packagePath.split('/').filter((part) => !/^v\d+$/.test(part));
  const last = parts.at(-1);
  if (last === undefined || last === '' || last === '.') {
    throw new Error(`cannot name the binary of package "${packagePath}": give the full package path`);
  }
  return last;
}
