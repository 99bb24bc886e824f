// Credentials that are fetched: when, how often, for how long, and what is said if that fails.

import { describe, expect, it, vi } from 'vitest';
import { type Fetched, FetchedCredential, FetchFailed } from './credential.ts';

const options = { what: 'the credential of the test', fix: 'mend it' };

function fetching(...results: (Fetched<string> | Error)[]) {
  const fetch = vi.fn(async () => {
    const result = results.shift() ?? new Error('asked too often');
    if (result instanceof Error) throw result;
    return result;
  });
  return { fetch, credential: new FetchedCredential({ ...options, fetch, freshMs: 0 }) };
}
const lasting = (credential: string, ms = 3600_000): Fetched<string> => ({ credential, expiresAt: Date.now() + ms });

describe('a fetched credential', () => {
  it('is kept until shortly before it expires', async () => {
    const { credential, fetch } = fetching(lasting('first', 130_000), lasting('second'));
    expect([await credential.current(), await credential.current()]).toEqual(['first', 'first']);
    expect(fetch).toHaveBeenCalledTimes(1);
    const now = Date.now() + 11_000;
    vi.spyOn(Date, 'now').mockReturnValue(now);
    expect(await credential.current()).toBe('second');
    vi.restoreAllMocks();
  });

  it('that does not say when it expires is kept', async () => {
    const { credential } = fetching({ credential: 'only', expiresAt: undefined });
    expect([await credential.current(), await credential.current()]).toEqual(['only', 'only']);
  });

  it('is replaced once, however many calls it was refused to', async () => {
    const { credential, fetch } = fetching(lasting('old'), lasting('new'));
    const refused = await credential.current();
    const others = await Promise.all(Array.from({ length: 5 }, () => credential.replace(refused)));
    expect(others).toEqual(Array(5).fill('new'));
    expect(await credential.replace(refused)).toBe('new');
    expect(fetch).toHaveBeenCalledTimes(2);
  });

  it('is asked for again after a failure, which the next call does not inherit', async () => {
    const { credential } = fetching(new Error('ECONNREFUSED'), lasting('later'));
    await expect(credential.current()).rejects.toMatchObject({
      code: 'OPLAB_UPSTREAM_UNAVAILABLE',
      message: 'the credential of the test cannot be fetched: ECONNREFUSED',
    });
    expect(await credential.current()).toBe('later');
  });

  it('says what to do if the cloud refuses the identity, and repeats no token', async () => {
    const token = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl';
    const { credential } = fetching(new FetchFailed(`AccessDenied: no\n  ${token}`, true));
    await expect(credential.current()).rejects.toMatchObject({
      code: 'OPLAB_MODEL_KEY_REFUSED',
      message: 'the credential of the test cannot be fetched: AccessDenied: no [token]; mend it',
    });
  });

  it('is waited for no longer than its limit', async () => {
    const credential = new FetchedCredential({ ...options, fetch: () => new Promise<never>(() => {}), limitMs: 30 });
    await expect(credential.current()).rejects.toThrow('cannot be fetched: no answer within 0.03 s');
  });
});
