// Checks the bearer token of a route's senders against a mounted Secret, which may change at any time.

import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { errorMessage, IntakeUnavailable, Unauthenticated } from '../../errors.ts';

/** How long the file is cached, in ms. The kubelet itself takes up to a minute to update it. */
const REREAD_MS = 2000;

/** All digests have the same length, so the time of a comparison reveals nothing. */
const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/** The token in the header. @throws Unauthenticated */
export function requireToken(authorization: string | undefined): string {
  const token = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
  if (token === undefined) throw new Unauthenticated('send the header Authorization: Bearer <token>');
  return token;
}

/** The file has one token per line, so that an old and a new one can be valid together. */
export class BearerToken {
  readonly #file: string;
  #known: { readonly until: number; readonly digests: Promise<readonly Buffer[]> } | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  /** @throws Unauthenticated; IntakeUnavailable when there is no token to compare with */
  async check(authorization: string | undefined): Promise<void> {
    const digests = await this.#digests();
    const given = digest(requireToken(authorization));
    const matches = digests.filter((expected) => timingSafeEqual(expected, given));
    if (matches.length === 0) throw new Unauthenticated('the token is not valid for this route');
  }

  #digests(): Promise<readonly Buffer[]> {
    const now = Date.now();
    if (this.#known === undefined || now >= this.#known.until) {
      const digests = this.#read();
      this.#known = { until: now + REREAD_MS, digests };
      digests.catch(() => {
        this.#known = undefined;
      });
    }
    return this.#known.digests;
  }

  async #read(): Promise<readonly Buffer[]> {
    let text: string;
    try {
      text = await readFile(this.#file, 'utf8');
    } catch (error) {
      throw new IntakeUnavailable(`the token of the route cannot be read: ${errorMessage(error)}`, error);
    }
    const tokens = text.split('\n').flatMap((line) => (line.trim() === '' ? [] : [line.trim()]));
    if (tokens.length === 0) throw new IntakeUnavailable('the Secret with the token of the route is empty');
    return tokens.map(digest);
  }
}
