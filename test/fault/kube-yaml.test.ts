// A real API server stores the same for YAML sent to it as for what the kube door forwards instead.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { OplabError } from '../../src/errors.ts';
import { canonicalBody } from '../../src/gateway/doors/kube/body.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';

const GROUP = 'test.oplab.dev';
const OBJECTS = `/apis/${GROUP}/v1/namespaces/default/things`;
const CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
/** A kind that keeps whatever is in `spec`. */
const DEFINITION = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `things.${GROUP}` },
  spec: {
    group: GROUP,
    scope: 'Namespaced',
    names: { plural: 'things', singular: 'thing', kind: 'Thing' },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: { spec: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
          },
        },
      },
    ],
  },
};

let dir: string;
let plane: ControlPlane;
let ca: Buffer;
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'oplab-yaml-'));
  plane = await startControlPlane({ dir: path.join(dir, 'plane') });
  ca = await readFile(plane.caFile);
  await send('POST', CRDS, 'application/json', JSON.stringify(DEFINITION));
  await eventually(async () => ((await send('GET', OBJECTS)).status === 200 ? true : undefined));
});
afterAll(async () => {
  await plane?.stop();
  await rm(dir, { recursive: true, force: true });
});

const answer = z.looseObject({ spec: z.unknown().optional(), data: z.unknown().optional() });

async function send(method: string, where: string, contentType?: string, body?: string | Buffer) {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const headers = {
    authorization: `Bearer ${plane.token}`,
    ...(contentType === undefined ? {} : { 'content-type': contentType }),
  };
  const request = https.request(`${plane.url}${where}`, { method, ca, headers }, resolve);
  request.on('error', reject);
  request.end(body);
  const response = await promise;
  const received = await text(response);
  return {
    status: response.statusCode ?? 0,
    json: received.startsWith('{') ? answer.parse(JSON.parse(received)) : {},
    received,
  };
}

/** What the API server makes of a body: given as it is, and as the kube door forwards it. */
async function both(method: string, where: string, contentType: string, body: string) {
  const direct = await send(method, where, contentType, body);
  const canonical = canonicalBody(Buffer.from(body), contentType, undefined, false);
  if (canonical.type === 'none') throw new Error('no body');
  const forwarded = await send(method, where, canonical.contentType, canonical.bytes);
  return { direct, forwarded, recorded: canonical.bytes.toString('utf8') };
}

const SCALARS = [
  ...['12:30:45', '190:20:30.15', '2001-01-01', '2001-12-14t21:59:43.10-05:00', '2026-11-26 19:00:00'],
  ...['yes', 'No', 'y', 'N', 'on', 'OFF', 'nO', '~', 'null', 'NULL', 'nULL', ''],
  ...['010', '08', '-017', '0o10', '0O17', '0b11', '0B11', '0b-1', '0x1F', '0X1f', '-0x1f', '1_000', '1_', '_1', '0x_'],
  ...['9007199254740993', '9223372036854775807', '-9223372036854775808', '07777777777777777777777777'],
  ...['1.50', '1.', '.5_0', '.5_', '-.5_', '.', '1e3', '1E400', '1e1_0', '0.1', '-0', '+.nan', '<<'],
  ...['!!str 12', '!!int "12"', '!!float 1.5', '!!bool "yes"', '!!null ""', '!!binary aGk=', '!!binary "aGVs\\nbG8="'],
  ...['"12:30"', "'yes'", '{yes: 1, 010: 2, 0x1f: 3, 2001-01-01: 4, 12:30: 5}', '{p: 5, <<: {p: 1, q: 2}}'],
  ...['{<<: [{p: 1}, {p: 2, q: 3}], q: 4}', '{"<<": {p: 1}}', '[&a 1, *a, &a 2, *a]', '{a, ? b}', '{a: 1, a: 2}'],
];
const thing = (name: string, spec: string) =>
  `apiVersion: ${GROUP}/v1\nkind: Thing\nmetadata:\n  name: ${name}\nspec:\n  v: ${spec}\n`;

describe('YAML is stored alike, whether sent or forwarded by the kube door', () => {
  it.each(SCALARS)('created: %s', async (scalar) => {
    const url = `${OBJECTS}?dryRun=All`;
    const { direct, forwarded, recorded } = await both('POST', url, 'application/yaml', thing('x', scalar));
    expect(direct.status, direct.received).toBe(201);
    expect(forwarded.status, forwarded.received).toBe(201);
    expect(forwarded.json.spec).toEqual(direct.json.spec);
    expect(JSON.parse(recorded).spec).toEqual(direct.json.spec);
  });

  it.each(SCALARS)('applied: %s', async (scalar) => {
    const url = `${OBJECTS}/x?dryRun=All&fieldManager=test&fieldValidation=Ignore`;
    const { direct, forwarded } = await both('PATCH', url, 'application/apply-patch+yaml', thing('x', scalar));
    expect(direct.status, direct.received).toBe(201);
    expect(forwarded.json.spec).toEqual(direct.json.spec);
  });

  it.each(['.inf', '-.INF', '.nan', '!!int x', '!!bool 1', '{~: 1}', '{9223372036854775808: 1}', '{[a]: 1}', '*a'])(
    'and what the API server refuses is refused: %s',
    async (scalar) => {
      const direct = await send('POST', `${OBJECTS}?dryRun=All`, 'application/yaml', thing('x', scalar));
      expect(direct.status).toBe(400);
      expect(() => canonicalBody(Buffer.from(thing('x', scalar)), 'application/yaml', undefined, false)).toThrow(
        OplabError,
      );
    },
  );
});

describe('texts that look like something else are stored as texts', () => {
  it('in annotations and data of a ConfigMap', async () => {
    const texts = ['12:30:45', '2001-01-01', '2026-11-26T19:00:00Z', '1:30', '"010"', '"yes"', '1e400', '0b2'];
    const pairs = texts.map((value, index) => `    k${index}: ${value}`).join('\n');
    const map = `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n  annotations:\n${pairs}\ndata:\n${pairs}\n`;
    const url = '/api/v1/namespaces/default/configmaps?dryRun=All';
    const { direct, forwarded, recorded } = await both('POST', url, 'application/yaml', map);
    expect(direct.status, direct.received).toBe(201);
    expect(forwarded.status, forwarded.received).toBe(201);
    expect(forwarded.json.data).toEqual(direct.json.data);
    expect(JSON.parse(recorded).data).toEqual(direct.json.data);
  });

  it('in an apply patch of JSON, also with line breaks that only YAML knows', async () => {
    const v = 'a \u0085 b \u2028 c \u2029 d \ufeff e \u007f \u{1f600}';
    const body = JSON.stringify({ apiVersion: `${GROUP}/v1`, kind: 'Thing', metadata: { name: 'x' }, spec: { v } });
    const url = `${OBJECTS}/x?dryRun=All&fieldManager=test`;
    const canonical = canonicalBody(Buffer.from(body), 'application/apply-patch+yaml', undefined, false);
    if (canonical.type === 'none') throw new Error('no body');
    const forwarded = await send('PATCH', url, canonical.contentType, canonical.bytes);
    expect(forwarded.json.spec).toEqual({ v });
    expect(JSON.parse(canonical.bytes.toString('utf8')).spec).toEqual({ v });
  });
});
