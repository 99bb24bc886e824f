// Finds tools by name: a fitting one on PATH, else a build from pinned Go modules in the cache.
import { existsSync } from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { OplabError } from '../../src/errors.ts';
import { ChildFailed, run, succeeds } from '../child.ts';
import type { Step } from '../progress.ts';
import { contentKey, sourceFiles } from './build-key.ts';
import { cached, cachePath } from './cache.ts';
import { binaryName, type GoBuild } from './go-build.ts';
import { patchModule } from './module-patch.ts';
import { goBuilds } from './recipes.ts';

/** Content key of a build for this machine's platform. */
export function goBuildKey(build: GoBuild): string {
  const { expectedSeconds: _, moduleDir: __, ...recipe } = build;
  return contentKey({ ...recipe, platform: `${process.platform}/${process.arch}` }, sourceFiles(build.moduleDir));
}

/** Whether the build is in the cache already. */
export function isBuilt(build: GoBuild): boolean {
  return existsSync(cachePath(build.name, goBuildKey(build)));
}

/** The folder with the binaries of a build; compiles them if the cache does not have them. */
export async function ensureBuild(build: GoBuild, signal?: AbortSignal): Promise<string> {
  return cached({
    name: build.name,
    key: goBuildKey(build),
    signal,
    make: (dir) => compile(build, dir, signal),
  });
}

async function compile(build: GoBuild, target: string, signal: AbortSignal | undefined): Promise<void> {
  if (!(await succeeds('go', ['version'], { signal })))
    throw new OplabError(
      'OPLAB_TOOL_MISSING',
      `${build.packages.map(binaryName).join(', ')} must be compiled, but Go is not installed; install Go 1.26.8 or newer (1.21 if it may download a newer one), or the tools themselves`,
    );
  try {
    await go(build, ['build', '-buildvcs=false'], ['-o', `${target}/`, ...build.packages], signal);
    const missing = build.packages.map(binaryName).filter((name) => !existsSync(path.join(target, name)));
    if (missing.length > 0) throw new Error(`go build of ${build.name} left out ${missing.join(', ')}`);
  } catch (error) {
    if (error instanceof ChildFailed)
      throw new OplabError('OPLAB_BUILD_FAILED', `building ${build.name} failed:\n${error.message}`, { cause: error });
    throw error;
  }
}

/** Runs the Go tests of a module with the flags of its build. @throws ChildFailed if one fails */
export async function testGoModule(build: GoBuild, signal?: AbortSignal): Promise<void> {
  await go(build, ['test'], ['./...'], signal);
}

/** Runs Go in a copy of the module, because it may change go.mod and go.sum. */
async function go(build: GoBuild, command: string[], args: string[], signal: AbortSignal | undefined): Promise<void> {
  const scratch = await mkdtemp(path.join(tmpdir(), 'oplab-go-'));
  try {
    await cp(build.moduleDir, scratch, { recursive: true });
    for (const patch of build.patches ?? []) await patchModule(scratch, patch, signal);
    const flags = ['-mod=mod', '-trimpath', '-ldflags', ['-s -w', ...(build.ldflags ?? [])].join(' ')];
    if (build.tags !== undefined) flags.push('-tags', build.tags.join(','));
    await run('go', [...command, ...flags, ...args], {
      cwd: scratch,
      // Memory is there, cores are few: the compiler collects its garbage less often.
      env: { CGO_ENABLED: '0', GOFLAGS: '', GOGC: '400', GOWORK: 'off', ...build.env },
      signal,
    });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** A step for each build that the cache does not have. @param first called before the first */
export function compileSteps(builds: readonly GoBuild[], signal: AbortSignal, first?: () => void): Step[] {
  return builds
    .filter((build) => !isBuilt(build))
    .map((build) => ({
      title: `compile ${build.name}`,
      expectedSeconds: build.expectedSeconds,
      run: async () => {
        first?.();
        await ensureBuild(build, signal);
      },
    }));
}

/** The build that makes a binary. @param builds the builds to search; default: the toolchain's */
export function findBuild(tool: string, builds: readonly GoBuild[] = goBuilds): GoBuild {
  const build = builds.find((candidate) => candidate.packages.some((main) => binaryName(main) === tool));
  if (build === undefined) throw new Error(`no Go build makes "${tool}"`);
  return build;
}

/** Tools that may come from PATH: arguments that print the version, and the oldest that fits. */
const fromPath: Readonly<Record<string, { args: readonly string[]; oldest: readonly [number, number] }>> = {
  kubectl: { args: ['version', '--client'], oldest: [1, 34] },
  helm: { args: ['version', '--short'], oldest: [3, 18] },
  kind: { args: ['version'], oldest: [0, 30] },
};

/** Whether a printed version (`… v1.36.3 …`) is at least the given one. */
export function fits(printed: string, oldest: readonly [number, number]): boolean {
  const found = /v(\d+)\.(\d+)/.exec(printed);
  if (found === null) return false;
  const major = Number(found[1]);
  const minor = Number(found[2]);
  return major > oldest[0] || (major === oldest[0] && minor >= oldest[1]);
}

/** A fitting program of that name on PATH, outside node_modules. */
async function onPath(tool: string, signal: AbortSignal | undefined): Promise<string | undefined> {
  const wanted = fromPath[tool];
  if (wanted === undefined) return undefined;
  for (const dir of (process.env.PATH ?? '').split(path.delimiter)) {
    const file = path.join(dir, tool);
    if (dir === '' || dir.includes('node_modules') || dir.includes(`${path.sep}.oplab${path.sep}`) || !existsSync(file))
      continue;
    const said = await run(file, wanted.args, {
      allowFailure: true,
      timeoutMs: 10_000,
      signal,
    }).catch(() => undefined);
    if (said?.code === 0 && fits(said.stdout, wanted.oldest)) return file;
  }
  return undefined;
}

/**
 * The path of a tool: our build if it is cached, else one from PATH, else a build made now.
 * @param options.builds where the tool's build is found; by default the toolchain's own
 * @throws OplabError OPLAB_TOOL_MISSING without the tool and without Go; OPLAB_BUILD_FAILED.
 */
export async function ensureTool(
  tool: string,
  options: { readonly signal?: AbortSignal | undefined; readonly builds?: readonly GoBuild[] } = {},
): Promise<string> {
  const build = findBuild(tool, options.builds);
  if (!isBuilt(build)) {
    const found = await onPath(tool, options.signal);
    if (found !== undefined) return found;
  }
  return path.join(await ensureBuild(build, options.signal), tool);
}
