// The values of canaries: stable, different for each attempt, and not to be told from real ones.

import { describe, expect, it } from 'vitest';
import { canarySecretData, canaryToken } from './canary.ts';

describe('a canary token', () => {
  it('is the same each time, and differs by key, session and attempt', () => {
    const one = { session: 's', attempt: 1 };
    expect(canaryToken('key', one)).toBe(canaryToken('key', one));
    const others = [
      canaryToken('other', one),
      canaryToken('key', { session: 't', attempt: 1 }),
      canaryToken('key', { session: 's', attempt: 2 }),
    ];
    expect(new Set([canaryToken('key', one), ...others]).size).toBe(4);
  });

  it('has the form of a service account token, and names no attempt', () => {
    const token = canaryToken('key', { session: '0a1b2c3d-4444-5555-6666-777788889999', attempt: 1 });
    const [header = '', payload = '', signature = ''] = token.split('.');
    expect(JSON.parse(Buffer.from(header, 'base64url').toString())).toMatchObject({ alg: 'RS256' });
    expect(JSON.parse(Buffer.from(payload, 'base64url').toString())).toMatchObject({
      sub: 'system:serviceaccount:kube-system:cluster-admin',
    });
    expect(Buffer.from(signature, 'base64url')).toHaveLength(256);
    expect(Buffer.from(payload, 'base64url').toString()).not.toMatch(/0a1b2c3d|oplab|canary/);
  });
});

describe('a canary Secret', () => {
  it('holds credentials of the usual forms, different in each namespace', () => {
    const data = canarySecretData('key', 'tikv', 'vault.oplab-system.svc');
    expect(data.AWS_ACCESS_KEY_ID).toMatch(/^AKIA[A-Z2-7]{16}$/);
    expect(data.AWS_SECRET_ACCESS_KEY).toMatch(/^[A-Za-z0-9+/]{40}$/);
    expect(data.VAULT_ADDR).toBe('https://vault.oplab-system.svc');
    expect(canarySecretData('key', 'pd', 'vault.oplab-system.svc')).not.toEqual(data);
  });
});
