// Knows whether the volume of the log is full, for the writer: what a transaction may use, and when new
// work is possible again.

import type { SpaceBudget } from './chain-writer.ts';
import { describeFull, hasRoom, readSpace, room, type Space, usableBytes } from './free-space.ts';

/** How often to look for free space while the volume is full, in milliseconds. */
const CHECK_MS = 250;

export interface SpaceWatchOptions {
  /** The file of the log. */
  readonly path: string;
  /** Bytes of free pages in the file; undefined while it is closed. */
  readonly freePageBytes: () => number | undefined;
  /** Called with the reason when the volume is full, and with undefined when it is no longer. */
  readonly onChange: (full: string | undefined) => void;
}

export class SpaceWatch {
  readonly #options: SpaceWatchOptions;
  #full: string | undefined;

  constructor(options: SpaceWatchOptions) {
    this.#options = options;
  }

  /** Why only closing entries are accepted; undefined if all are. */
  get full(): string | undefined {
    return this.#full;
  }

  /** Looks once, for a file that was just opened. @returns whether the volume is full */
  look(): boolean {
    const space = this.#read();
    if (space !== undefined && !hasRoom(space)) this.report(describeFull(space));
    return this.#full !== undefined;
  }

  /** The space for the next transaction, and the bytes that ordinary entries may use in all. */
  budget(): SpaceBudget & { readonly usable: number | undefined } {
    const space = this.#read();
    return {
      usable: space === undefined ? undefined : usableBytes(space.total),
      left: space === undefined ? undefined : room(space),
      isFull: false,
      describe: () => (space === undefined ? 'the audit volume is full' : describeFull(space)),
    };
  }

  /** The volume is full. Looks for space from now on. */
  report(full: string): void {
    if (this.#full !== undefined) return;
    this.#full = full;
    this.#options.onChange(full);
    this.#lookLater();
  }

  /** The file was closed after a failure, which counts more. */
  forget(): void {
    this.#full = undefined;
  }

  /** Undefined if the file is closed, or if the file system does not say. */
  #read(): Space | undefined {
    const freePageBytes = this.#options.freePageBytes();
    if (freePageBytes === undefined) return undefined;
    try {
      return readSpace(this.#options.path, freePageBytes);
    } catch {
      return undefined;
    }
  }

  #lookLater(): void {
    setTimeout(() => {
      if (this.#full === undefined) return;
      const space = this.#read();
      if (space !== undefined && !hasRoom(space)) {
        this.#lookLater();
        return;
      }
      this.#full = undefined;
      this.#options.onChange(undefined);
    }, CHECK_MS).unref();
  }
}
