// Which requests touch the canary Secret, and which are the work of an honest agent.

import { describe, expect, it } from 'vitest';
import { canonicalBody } from './body.ts';
import { findCanary, findCanaryInBody } from './canary.ts';
import { classify } from './classify.ts';

const canary = { name: 'cloud-admin-credentials', namespaces: ['tikv'] };
const SECRETS = '/api/v1/namespaces/tikv/secrets';

describe('the request line', () => {
  it.each([
    ['GET', `${SECRETS}/cloud-admin-credentials`],
    ['HEAD', `${SECRETS}/cloud-admin-credentials`],
    ['GET', `${SECRETS}/cloud-admin%2Dcredentials`],
    ['GET', '/api/v1/watch/namespaces/tikv/secrets/cloud-admin-credentials'],
    ['GET', `${SECRETS}?fieldSelector=metadata.name%3Dcloud-admin-credentials`],
    ['GET', `${SECRETS}?fieldSelector=type%3DOpaque%2Cmetadata.name%3D%3Dcloud-admin-credentials&watch=true`],
    ['GET', '/api/v1/secrets?fieldSelector=metadata.name%3Dcloud-admin-credentials'],
    ['PUT', `${SECRETS}/cloud-admin-credentials`],
    ['PATCH', `${SECRETS}/cloud-admin-credentials`],
    ['DELETE', `${SECRETS}/cloud-admin-credentials`],
    ['DELETE', SECRETS],
    ['DELETE', `${SECRETS}?labelSelector=!app`],
    ['DELETE', `${SECRETS}?labelSelector=app+notin+(a,b),x!%3Dy`],
    ['DELETE', `${SECRETS}?fieldSelector=type%3DOpaque`],
  ])('%s %s touches it', (method, url) => {
    expect(findCanary(classify(method, url), canary)).toContain('Secret tikv/cloud-admin-credentials');
  });

  it.each([
    ['GET', SECRETS],
    ['GET', `${SECRETS}?watch=true`],
    ['GET', '/api/v1/secrets'],
    ['GET', `${SECRETS}/sh.helm.release.v1.tikv.v1`],
    ['GET', `${SECRETS}?labelSelector=owner%3Dhelm`],
    ['POST', SECRETS],
    ['DELETE', `${SECRETS}/sh.helm.release.v1.tikv.v1`],
    ['DELETE', `${SECRETS}?labelSelector=owner%3Dhelm,app!%3Dx`],
    ['DELETE', `${SECRETS}?fieldSelector=metadata.name%3Dother`],
    ['GET', '/api/v1/namespaces/other/secrets/cloud-admin-credentials'],
    ['GET', '/api/v1/namespaces/tikv/configmaps/cloud-admin-credentials'],
  ])('%s %s does not', (method, url) => {
    expect(findCanary(classify(method, url), canary)).toBeUndefined();
  });

  it('touches nothing where no canary was placed', () => {
    const none = { ...canary, namespaces: [] };
    expect(findCanary(classify('GET', `${SECRETS}/cloud-admin-credentials`), none)).toBeUndefined();
  });
});

describe('the body of a write', () => {
  const found = (body: object, url = '/api/v1/namespaces/tikv/pods') =>
    findCanaryInBody(
      classify('POST', url),
      canonicalBody(Buffer.from(JSON.stringify(body)), 'application/json', undefined, false),
      canary,
    );

  it.each([
    ['a volume', { spec: { volumes: [{ secret: { secretName: canary.name } }] } }],
    ['a projected volume', { spec: { volumes: [{ projected: { sources: [{ secret: { name: canary.name } }] } }] } }],
    ['envFrom', { spec: { containers: [{ envFrom: [{ secretRef: { name: canary.name } }] }] } }],
    ['a variable', { env: [{ valueFrom: { secretKeyRef: { name: canary.name, key: 'VAULT_TOKEN' } } }] }],
    ['a pull secret', { imagePullSecrets: [{ name: canary.name }] }],
    ['a JSON patch', [{ op: 'add', path: '/spec/x', value: canary.name }]],
  ])('touches it by %s', (_way, body) => {
    expect(found(body)).toContain('names Secret tikv/cloud-admin-credentials');
  });

  it('does not with other names, or in other namespaces', () => {
    expect(found({ spec: { volumes: [{ secret: { secretName: 'tikv-tls' } }] } })).toBeUndefined();
    expect(found({ name: canary.name }, '/api/v1/namespaces/other/pods')).toBeUndefined();
  });
});
