// Classification of requests to the Docker API, including disguised ones.

import { describe, expect, it } from 'vitest';
import { readRequest, writePath } from './route.ts';

const asForwarded = (method: string, url: string) => {
  const request = readRequest(method, url);
  return `${request.route.operation} ${writePath(request, request.ref?.name, request.query)}`;
};

describe('readRequest', () => {
  it.each([
    ['GET', '/_ping', 'ping /_ping'],
    ['GET', '/v1.41/containers/json?all=1', 'container.list /v1.41/containers/json?all=1'],
    ['POST', '/v1.50/containers/tikv0/start', 'container.start /v1.50/containers/tikv0/start'],
    // A container can have the name of an endpoint.
    ['GET', '/containers/json/json', 'container.inspect /containers/json/json'],
    ['GET', '/v1.41/images/pingcap/tikv:v8.5.3/json', 'image.inspect /v1.41/images/pingcap/tikv:v8.5.3/json'],
    ['GET', '/images/a.example:5000/x/y@sha256:ab/json', 'image.inspect /images/a.example:5000/x/y@sha256:ab/json'],
    ['GET', '/images/pingcap%2Ftikv/json', 'image.inspect /images/pingcap/tikv/json'],
    ['GET', '/images/json/json', 'image.inspect /images/json/json'],
    [
      'GET',
      '/containers/x/archive?path=%2Fetc%2Fa%26b',
      'container.copy-out /containers/x/archive?path=%2Fetc%2Fa%26b',
    ],
    // Clients always send these, although they have no effect.
    ['POST', '/containers/x/start?checkpoint=&checkpoint-dir=', 'container.start /containers/x/start'],
    ['DELETE', '/containers/x?v=False&link=False', 'container.remove /containers/x?v=False'],
    ['DELETE', '/containers/x?force=1&link=0&v=1', 'container.remove /containers/x?force=1&v=1'],
  ])('%s %s is %s', (method, url, expected) => {
    expect(asForwarded(method, url)).toBe(expected);
  });

  it.each([
    ['POST', '/swarm/init'],
    ['POST', '/v1.41/plugins/pull?remote=x'],
    ['POST', '/build'],
    ['POST', '/session'],
    ['POST', '/grpc'],
    ['POST', '/commit?container=x'],
    ['POST', '/images/load'],
    ['GET', '/images/get?names=x'],
    ['GET', '/images/x/get'],
    ['POST', '/images/x/push'],
    ['POST', '/images/x/tag?repo=y'],
    ['DELETE', '/images/x'],
    ['GET', '/containers/x/export'],
    ['GET', '/containers/x/attach/ws'],
    ['POST', '/containers/prune'],
    ['POST', '/volumes/prune'],
    ['PUT', '/volumes/x?version=1'],
    ['GET', '/system/df'],
    ['POST', '/auth'],
    ['GET', '/distribution/x/json'],
    ['GET', '/services'],
    ['POST', '/containers/x/checkpoints'],
    ['PATCH', '/containers/x/start'],
    ['GET', '/debug/pprof/heap'],
    ['GET', '/metrics'],
    // The host would fetch these from elsewhere or restore them from its own disk.
    ['POST', '/images/create?fromSrc=http://a.example/x'],
    ['DELETE', '/containers/x?link=true'],
    ['POST', '/containers/x/start?checkpoint=y&checkpoint-dir=/root'],
  ])('does not allow %s %s', (method, url) => {
    expect(() => readRequest(method, url)).toThrow(expect.objectContaining({ code: 'OPLAB_NOT_ALLOWED' }));
  });

  it.each([
    ['GET', 'http://elsewhere/containers/json'],
    ['GET', '//containers/json'],
    ['GET', '/containers//json'],
    ['GET', '/containers/../swarm'],
    ['GET', '/containers/%2e%2e/swarm'],
    ['GET', '/containers/x%2F..%2Fy/json'],
    ['GET', '/containers/x%00/json'],
    ['GET', '/containers/x%0d%0aHost:y/json'],
    ['GET', '/containers/x%3Fall=1/json'],
    ['GET', '/containers/x%252e/json'],
    ['GET', '/containers/x;y/json'],
    ['GET', '/containers\\json'],
    ['GET', '/containers/json/'],
    ['GET', '/containers/%zz/json'],
    ['GET', '/images/../containers/x/json'],
    ['GET', '/images/x/../../y/json'],
    // Old versions accept a HostConfig at start. The other versions do not exist.
    ['POST', '/v1.23/containers/x/start'],
    ['GET', '/v1.29/info'],
    ['GET', '/v2.0/info'],
    ['GET', '/v1/info'],
    ['GET', '/v1.041/info'],
    ['GET', '/v1.41.1/info'],
    ['GET', '/v1.41/v1.20/info'],
    ['POST', '/exec/short/start'],
    ['GET', '/containers/json?filters={}&filters={}'],
    ['GET', '/containers/-x/json'],
  ])('refuses %s %s', (method, url) => {
    expect(() => readRequest(method, url)).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/OPLAB_(INVALID_INPUT|NOT_ALLOWED)/) }),
    );
  });

  it('reads a version only once', () => {
    expect(() => readRequest('GET', '/v1.41/v1.41/info')).toThrow(
      expect.objectContaining({ code: 'OPLAB_NOT_ALLOWED' }),
    );
  });
});
