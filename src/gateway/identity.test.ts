// Who is let in: pods of the agents' namespace, by tokens of the right audience, reviewed once a
// minute.

import { describe, expect, it } from 'vitest';
import { Identities } from './identity.ts';

const token = (claims: object, salt = '') =>
  `Bearer e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.sig${salt}`;
const claims = { aud: ['oplab-agent'], exp: 2000 };

function identities(status: object = {}) {
  let reviews = 0;
  let now = 1_000_000;
  const pod = {
    'authentication.kubernetes.io/pod-name': ['p'],
    'authentication.kubernetes.io/pod-uid': ['u'],
  };
  const proven = new Identities({
    namespace: 'oplab-agents',
    now: () => now,
    client: {
      async create() {
        reviews += 1;
        const user = { username: 'system:serviceaccount:oplab-agents:a', extra: pod };
        return { metadata: { name: '' }, status: { authenticated: true, audiences: ['oplab-agent'], user, ...status } };
      },
    },
  });
  const advance = (ms: number) => {
    now += ms;
  };
  return { proven, advance, reviews: () => reviews };
}
const unauthenticated = expect.objectContaining({ code: 'OPLAB_UNAUTHENTICATED' });

describe('Identities', () => {
  it('identifies a pod and has a token reviewed once a minute', async () => {
    const { proven, advance, reviews } = identities();
    const both = await Promise.all([
      proven.prove(token(claims), 'oplab-agent', '10.0.0.1'),
      proven.prove(token(claims), 'oplab-agent', '10.0.0.1'),
    ]);
    expect(both[0]).toEqual({ podUID: 'u', podName: 'p', serviceAccount: 'a', audience: 'oplab-agent' });
    advance(59_000);
    await proven.prove(token(claims), 'oplab-agent', '10.0.0.1');
    expect(reviews()).toBe(1);
    advance(2000);
    await proven.prove(token(claims), 'oplab-agent', '10.0.0.1');
    expect(reviews()).toBe(2);
  });

  it('forgets a token when it expires, even within the minute', async () => {
    const { proven, advance } = identities();
    const short = { ...claims, exp: 1010 };
    await proven.prove(token(short), 'oplab-agent', '10.0.0.1');
    advance(10_001);
    await expect(proven.prove(token(short), 'oplab-agent', '10.0.0.1')).rejects.toEqual(unauthenticated);
  });

  it.each<[string, string | undefined]>([
    ['no token', undefined],
    ['another scheme', 'Basic abc'],
    ['no token of a service account', 'Bearer abc'],
    ['another audience', token({ ...claims, aud: ['oplab-sandbox'] })],
    ['an expired token', token({ ...claims, exp: 999 })],
  ])('rejects %s without asking the API server', async (_, authorization) => {
    const { proven, reviews } = identities();
    await expect(proven.prove(authorization, 'oplab-agent', '10.0.0.1')).rejects.toEqual(unauthenticated);
    expect(reviews()).toBe(0);
  });

  it.each<[string, object]>([
    ['a token that the API server does not know', { authenticated: false }],
    ['a token that is good for others only', { audiences: ['https://kubernetes.default.svc'] }],
    ['a pod of another namespace', { user: { username: 'system:serviceaccount:default:a', extra: {} } }],
    ['an account without a pod', { user: { username: 'system:serviceaccount:oplab-agents:a', extra: {} } }],
  ])('rejects %s', async (_, status) => {
    await expect(identities(status).proven.prove(token(claims), 'oplab-agent', '10.0.0.1')).rejects.toEqual(
      unauthenticated,
    );
  });

  it('does not pass a flood of fake tokens on to the API server', async () => {
    const { proven, waiting } = withoutAnswers();
    const results = Array.from({ length: 500 }, (_, index) => ask(proven, index, `10.0.${index}.1`));
    await new Promise((resolve) => setImmediate(resolve));
    expect(waiting()).toBe(64);
    expect(await Promise.all(results.slice(64))).toEqual(Array.from({ length: 436 }, () => 'OPLAB_TOO_BUSY'));
  });

  it('reviews the token of an honest pod while another pod sends fake ones', async () => {
    const { proven, waiting } = withoutAnswers();
    const results = Array.from({ length: 100 }, (_, index) => ask(proven, index, '10.0.0.66'));
    await new Promise((resolve) => setImmediate(resolve));
    expect(waiting()).toBe(4);
    expect(await Promise.all(results.slice(4))).toEqual(Array.from({ length: 96 }, () => 'OPLAB_TOO_BUSY'));
    void ask(proven, 100, '10.0.0.1');
    await new Promise((resolve) => setImmediate(resolve));
    expect(waiting()).toBe(5);
  });
});

/** Identities before an API server that never answers. */
function withoutAnswers() {
  let waiting = 0;
  const proven = new Identities({
    namespace: 'oplab-agents',
    now: () => 0,
    client: {
      create() {
        waiting += 1;
        return new Promise(() => {});
      },
    },
  });
  return { proven, waiting: () => waiting };
}

/** Sends a token that was not sent before. @returns the name of the error */
async function ask(proven: Identities, index: number, address: string): Promise<string> {
  try {
    await proven.prove(token(claims, String(index)), 'oplab-agent', address);
    return '';
  } catch (error) {
    return error instanceof Error ? error.name : '';
  }
}
