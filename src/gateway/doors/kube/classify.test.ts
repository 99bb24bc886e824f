// Requests are classified by their URL as the API server does it.

import { describe, expect, it } from 'vitest';
import { canonicalBody } from './body.ts';
import { classify, describeRequest, withBody } from './classify.ts';

const NS = '/api/v1/namespaces/tikv';

describe('classify', () => {
  it.each<[string, string, string]>([
    ['GET', `${NS}/pods`, 'read list pods tikv'],
    ['GET', `${NS}/pods?watch=true`, 'read watch pods tikv'],
    ['GET', `${NS}/pods?watch=1&fieldSelector=metadata.name%3Dx`, 'read watch pods tikv'],
    ['GET', '/api/v1/watch/namespaces/tikv/pods/x', 'read watch pods tikv/x'],
    ['GET', `${NS}/pods/x`, 'read get pods tikv/x'],
    ['HEAD', `${NS}/pods/x`, 'read get pods tikv/x'],
    ['GET', `${NS}/pods/x/log?follow=true`, 'read get pods/log tikv/x'],
    ['GET', '/api/v1/namespaces/tikv', 'read get namespaces tikv'],
    ['PATCH', '/api/v1/namespaces/tikv/status', 'write patch namespaces/status tikv'],
    ['PUT', '/api/v1/namespaces/tikv/finalize', 'write update namespaces/finalize tikv'],
    ['POST', '/api/v1/namespaces', 'write create namespaces'],
    ['POST', '/apis/apps/v1/namespaces/tikv/deployments', 'write create apps/deployments tikv'],
    ['PATCH', '/apis/apps/v1/namespaces/tikv/statefulsets/x/scale', 'write patch apps/statefulsets/scale tikv/x'],
    ['DELETE', `${NS}/pods/x`, 'write delete pods tikv/x'],
    ['DELETE', `${NS}/pods`, 'write deletecollection pods tikv'],
    ['GET', '/version', 'read get /version'],
    ['GET', '/apis/apps/v1', 'read get /apis/apps/v1'],
    ['POST', '/somewhere', 'write post /somewhere'],
    [
      'POST',
      '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
      'review create authorization.k8s.io/selfsubjectaccessreviews',
    ],
    ['POST', '/apis/example.com/v1/selfsubjectaccessreviews', 'write create example.com/selfsubjectaccessreviews'],
  ])('%s %s is: %s', (method, url, expected) => {
    const request = classify(method, url);
    expect(`${request.kind} ${describeRequest(request)}`).toBe(expected);
  });

  it.each<[string, string]>([
    ['GET', `${NS}/pods/x/exec?command=sh&stdin=true`],
    ['POST', `${NS}/pods/x/exec?command=sh`],
    // The same path, encoded differently.
    ['GET', `${NS}/pods/x/%65xec?command=sh`],
    ['GET', `${NS}/pods/x%2Fexec?command=sh`],
    ['GET', `${NS}/pods/x/attach`],
    ['GET', `${NS}/pods/x/portforward`],
    ['GET', `${NS}/services/http:x:80/proxy/a/../b//c`],
    ['GET', '/api/v1/nodes/n/proxy/metrics'],
    ['GET', '/api/v1/proxy/namespaces/tikv/services/x'],
  ])('counts a connection as a write: %s %s', (method, url) => {
    expect(classify(method, url)).toMatchObject({ kind: 'write', verb: 'connect', follows: true });
  });

  it('recognises answers that continue', () => {
    expect(classify('GET', `${NS}/pods?watch=true`).follows).toBe(true);
    expect(classify('GET', `${NS}/pods?watch=false`).follows).toBe(false);
    expect(classify('GET', `${NS}/pods/x/log?follow=true`).follows).toBe(true);
    expect(classify('GET', `${NS}/pods/x/log`).follows).toBe(false);
  });

  it.each<[boolean, string, string]>([
    [true, 'DELETE', `${NS}/pods/x?dryRun=All`],
    [true, 'PATCH', `${NS}/pods/x?fieldManager=a&dryRun=All`],
    [true, 'PUT', '/apis/apps/v1/namespaces/tikv/statefulsets/x/scale?dryRun=All'],
    [false, 'PATCH', `${NS}/pods/x?dryRun=none`],
    // Connections and non-resource paths have no dry run.
    [false, 'POST', `${NS}/pods/x/exec?command=sh&dryRun=All`],
    [false, 'POST', `${NS}/services/x/proxy/delete?dryRun=All`],
    [false, 'POST', `${NS}/pods/x/eviction?dryRun=All`],
    [false, 'POST', '/nonsense?dryRun=All'],
    // The API server reads a parameter with another name here.
    [false, 'DELETE', `${NS}/pods/x??dryRun=All`],
  ])('a dry run: %s, %s %s', (is, method, url) => {
    expect(classify(method, url).dryRun).toBe(is);
  });

  it.each<[boolean, string, string, string?]>([
    [true, '?dryRun=All', ''],
    [false, '?dryRun=All', '{}'],
    [false, '?dryRun=All', '{"dryRun":[]}'],
    [true, '', 'dryRun: [All]', 'application/yaml'],
    [true, '', '{"kind":"DeleteOptions","apiVersion":"v1","dryRun":["All"]}', 'application/json'],
  ])('the body of a DELETE decides whether it is a dry run: %s, %s %s', (is, query, body, contentType) => {
    for (const url of [`${NS}/pods/x${query}`, `${NS}/pods${query}`]) {
      expect(
        withBody(classify('DELETE', url), canonicalBody(Buffer.from(body), contentType, undefined, false)).dryRun,
      ).toBe(is);
    }
  });

  it('marks reads of Secrets', () => {
    expect(classify('GET', `${NS}/secrets`).secrets).toBe(true);
    expect(classify('GET', `${NS}/secrets/x`).secrets).toBe(true);
    expect(classify('GET', '/apis/example.com/v1/namespaces/tikv/secrets/x').secrets).toBe(false);
  });

  it.each([
    ['GET', 'https://elsewhere.example/api'],
    ['GET', '//api/v1/pods'],
    ['GET', `${NS}/pods/../secrets`],
    ['GET', `${NS}/pods/%2e%2e/secrets`],
    ['GET', `${NS}/pods/%zz`],
    ['TRACE', `${NS}/pods`],
    ['DELETE', `${NS}/pods/x%0Acreate%20pods`],
    ['DELETE', `${NS}/pods/x%23`],
    ['DELETE', `${NS}/pods/x%E2%80%AEy`],
    // Go drops this parameter, and does not say so.
    ['DELETE', `${NS}/pods?labelSelector=app%3Dx;y`],
    ['DELETE', `${NS}/pods?labelSelector=app%3Dx%zz`],
    // These would be recorded as other texts than the API server reads.
    ['POST', `${NS}/pods/x/exec?command=%ff`],
    ['POST', `${NS}/pods/x/exec?command=\u00c3\u00a9`],
    ['GET', `${NS}/services/x/proxy/\u00c3\u00a9`],
  ])('refuses what no client of the API sends: %s %s', (method, url) => {
    expect(() => classify(method, url)).toThrow(expect.objectContaining({ code: 'OPLAB_INVALID_INPUT' }));
  });

  it('refuses a query with so many parameters that Go would drop all of them', () => {
    const withParameters = (count: number) => () =>
      classify('DELETE', `${NS}/pods/x?dryRun=All${'&'.repeat(count - 1)}`);
    expect(withParameters(1000)).not.toThrow();
    expect(withParameters(1001)).toThrow('the query has 1001 parameters; send at most 1000');
  });
});
