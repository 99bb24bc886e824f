// The token that senders of alerts show, out of a mounted Secret that may change while we run.

import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { IntakeUnavailable, messageOf, Unauthenticated } from '../../errors.ts';

/** How long what was read counts, in milliseconds; the kubelet itself takes up to a minute to swap the file. */
const REREAD_MS = 2000;

/** Equal lengths, whatever was sent: the comparison tells nothing by the time it takes. */
const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/** One token a line: while a token is changed, the old and the new one may both count. */
export class BearerToken {
  readonly #file: string;
  #known: { readonly until: number; readonly digests: Promise<readonly Buffer[]> } | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  /** @throws Unauthenticated, IntakeUnavailable when there is no token to compare with: nobody is let in then */
  async check(authorization: string | undefined): Promise<void> {
    const digests = await this.#digests();
    const token = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
    if (token === undefined) throw new Unauthenticated('send the header Authorization: Bearer <token>');
    const shown = digest(token);
    const matches = digests.filter((expected) => timingSafeEqual(expected, shown));
    if (matches.length === 0) throw new Unauthenticated('the token is not the one in the Secret');
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
      throw new IntakeUnavailable(`the intake's token cannot be read: ${messageOf(error)}`, error);
    }
    const tokens = text.split('\n').flatMap((line) => (line.trim() === '' ? [] : [line.trim()]));
    if (tokens.length === 0) throw new IntakeUnavailable("the intake's token is empty");
    return tokens.map(digest);
  }
}
