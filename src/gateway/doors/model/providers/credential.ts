// Where the credential for the model API comes from: a file that is read for every call, or something
// that is fetched with the identity of the pod, kept until it expires, and fetched again if a server
// refuses it.

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { errorMessage, OplabError, UpstreamUnavailable } from '../../../../errors.ts';

/** A credential, as often as it changes. */
export interface CredentialSource<C> {
  /** @throws UpstreamUnavailable; OplabError if no retry helps */
  current(): Promise<C>;
  /**
   * Another credential after a server has refused this one; undefined if there is none.
   * @throws UpstreamUnavailable, OplabError
   */
  replace(refused: C): Promise<C | undefined>;
  /** Changes when somebody configures another credential. Undefined if there is none. */
  digest(): Promise<string | undefined>;
}

/** Called with each secret that is used, so that it can be kept out of the log. */
export type OnSecret = (secret: string) => void;

/** The texts of files that may be missing or empty, in order. @throws UpstreamUnavailable */
export async function readSecretFiles(files: readonly string[]): Promise<(string | undefined)[]> {
  return await Promise.all(
    files.map(async (file) => {
      try {
        const content = (await readFile(file, 'utf8')).trim();
        return content === '' ? undefined : content;
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
        throw new UpstreamUnavailable(`the key file ${file} cannot be read: ${errorMessage(error)}`, error);
      }
    }),
  );
}

/** A credential in files, which are read for every call: whoever changes them need not restart anything. */
export class FileCredential<C> implements CredentialSource<C> {
  readonly #files: readonly string[];
  readonly #parse: (contents: readonly (string | undefined)[]) => C;

  /** @param parse makes the credential of what the files contain. @throws OplabError if something is missing */
  constructor(files: readonly string[], parse: (contents: readonly (string | undefined)[]) => C) {
    this.#files = files;
    this.#parse = parse;
  }

  async current(): Promise<C> {
    return this.#parse(await readSecretFiles(this.#files));
  }

  async replace(refused: C): Promise<C | undefined> {
    const now = await this.current();
    return digestOf(now) === digestOf(refused) ? undefined : now;
  }

  async digest(): Promise<string | undefined> {
    const contents = await readSecretFiles(this.#files).catch(() => []);
    return contents.every((content) => content === undefined) ? undefined : digestOf(contents);
  }
}

function digestOf(value: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify(value) ?? '')
    .digest('base64');
}

/** A key in a file; undefined if there is none, as some servers take none. */
export function keyFile(file: string | undefined, onSecret: OnSecret): CredentialSource<string | undefined> {
  return new FileCredential(file === undefined ? [] : [file], ([key]) => {
    if (key !== undefined) onSecret(key);
    return key;
  });
}

/** Something that was fetched, and how long it is good for. */
export interface Fetched<C> {
  readonly credential: C;
  /** Milliseconds since 1970; undefined if it does not expire. */
  readonly expiresAt: number | undefined;
}

/** A credential could not be fetched. `final`: whoever answered has refused it, so a retry does not help. */
export class FetchFailed extends Error {
  readonly final: boolean;
  constructor(message: string, final: boolean, cause?: unknown) {
    super(message, { cause });
    this.final = final;
  }
}

export interface FetchedCredentialOptions<C> {
  /** What is fetched, for errors: "the AWS credential of role …". */
  readonly what: string;
  /** What a person does if it is refused. */
  readonly fix: string;
  /** @throws FetchFailed, or anything else for errors that may pass */
  readonly fetch: () => Promise<Fetched<C>>;
  readonly limitMs?: number;
  /** A refused credential that is younger is not fetched again: a new one would be refused, too. */
  readonly freshMs?: number;
}

/** How long a fetch may take, its retries included, in milliseconds. */
const LIMIT_MS = 20_000;
/** A credential is renewed so long before it expires, in milliseconds, while the old one still works. */
const EARLY_MS = 120_000;
const FRESH_MS = 10_000;

/** A credential that is fetched when it is needed. Calls at the same time share one fetch. */
export class FetchedCredential<C> implements CredentialSource<C> {
  readonly #options: FetchedCredentialOptions<C>;
  #kept: (Fetched<C> & { readonly at: number }) | undefined;
  #fetching: Promise<C> | undefined;

  constructor(options: FetchedCredentialOptions<C>) {
    this.#options = options;
  }

  async current(): Promise<C> {
    const kept = this.#kept;
    if (kept === undefined) return await this.#fetch();
    const left = (kept.expiresAt ?? Number.POSITIVE_INFINITY) - Date.now();
    if (left > EARLY_MS) return kept.credential;
    try {
      return await this.#fetch();
    } catch (error) {
      // It is good for a little longer, so the next call may be luckier.
      if (left > 0) return kept.credential;
      throw error;
    }
  }

  async replace(refused: C): Promise<C | undefined> {
    const kept = this.#kept;
    // Another call has replaced it already.
    if (kept !== undefined && kept.credential !== refused) return kept.credential;
    if (kept !== undefined && performance.now() - kept.at < (this.#options.freshMs ?? FRESH_MS)) return undefined;
    return await this.#fetch();
  }

  async digest(): Promise<string | undefined> {
    return undefined;
  }

  #fetch(): Promise<C> {
    this.#fetching ??= this.#fetchOnce().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #fetchOnce(): Promise<C> {
    const { what, fix, fetch, limitMs = LIMIT_MS } = this.#options;
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(new Error(`no answer within ${limitMs / 1000} s`)), limitMs);
    try {
      const fetched = await Promise.race([fetch(), late.promise]);
      this.#kept = { ...fetched, at: performance.now() };
      return fetched.credential;
    } catch (error) {
      const why = `${what} cannot be fetched: ${withoutTokens(errorMessage(error))}`;
      if (!(error instanceof FetchFailed && error.final)) throw new UpstreamUnavailable(why, error);
      throw new OplabError('OPLAB_MODEL_KEY_REFUSED', `${why}; ${fix}`, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** No service repeats the token that it refuses; if one does, it does not get into an error of ours. */
function withoutTokens(text: string): string {
  return text
    .replaceAll(/(?:eyJ[\w-]+\.|ya29\.)[\w.-]*/g, '[token]')
    .replaceAll(/\s+/g, ' ')
    .slice(0, 500);
}

/** A file of the mounted Secret of the model. */
export function secretFile(dir: string, name: string): string {
  return path.join(dir, name);
}
