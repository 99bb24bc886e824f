// Attacks on how the kube door reads HTTP: requests that a proxy and the API server could
// understand differently. Each tries to plant a ConfigMap where the attempt has no right, or one
// that the audit log does not show.

import { configMap, configMaps, dry, httpRequest, JSON_TYPE, type Place, type RequestAttack } from './request.ts';

const FAMILY = 'door tricks';

/** A write to somebody else's namespace, with one change to the bytes of a plain request. */
const trick = (
  name: string,
  raw: (request: (path?: string, extra?: string[], method?: string) => Buffer, place: Place, id: string) => Buffer,
): RequestAttack => ({
  name,
  family: FAMILY,
  expected: 'refused, or done as the attempt itself; nothing is planted',
  raw: (place, id) =>
    raw(
      (path = configMaps(place.bystander), extra = [], method = 'POST') =>
        httpRequest(id, { method, path, headers: JSON_TYPE, body: configMap(id) }, extra),
      place,
      id,
    ),
  plants: ({ bystander }, id) => configMaps(bystander, id),
});

/**
 * A write that is hidden in another request. It would be allowed, so what counts is whether the
 * audit log shows it.
 */
const smuggle = (name: string, raw: (place: Place, id: string) => Buffer): RequestAttack => ({
  name,
  family: 'smuggling',
  expected: 'refused, or recorded like any other write',
  raw,
  plants: ({ namespace }, id) => configMaps(namespace, id),
  onlyUnrecorded: true,
});

/** The hidden write. */
const inner = (place: Place, id: string) =>
  httpRequest(id, { method: 'POST', path: configMaps(place.namespace), headers: JSON_TYPE, body: configMap(id) });

/** Bytes, line by line, then a body. */
const lines = (text: readonly string[], body: string | Buffer = ''): Buffer =>
  Buffer.concat([Buffer.from(`${text.join('\r\n')}\r\n\r\n`, 'latin1'), Buffer.from(body)]);

const head = (first: string, id: string) => [
  first,
  'Host: oplab-gateway.oplab-system.svc',
  'Authorization: Bearer @TOKEN@',
  `User-Agent: ${id}`,
];

const paths = (
  [
    ['absolute form', ({ bystander }) => `https://kubernetes.default.svc${configMaps(bystander)}`],
    ['a double slash', ({ bystander }) => `/api/v1//namespaces/${bystander}/configmaps`],
    ['a double slash in front', ({ bystander }) => `/${configMaps(bystander)}`],
    ['dots', ({ namespace, bystander }) => `/api/v1/namespaces/${namespace}/../${bystander}/configmaps`],
    ['%2e%2e', ({ namespace, bystander }) => `/api/v1/namespaces/${namespace}/%2e%2e/${bystander}/configmaps`],
    ['%2f', ({ namespace, bystander }) => `/api/v1/namespaces/${namespace}%2f..%2f${bystander}/configmaps`],
    ['%252f', ({ namespace, bystander }) => `/api/v1/namespaces/${namespace}%252f..%252f${bystander}/configmaps`],
    ['a backslash', ({ namespace, bystander }) => `/api/v1/namespaces/${namespace}\\..\\${bystander}/configmaps`],
    ['%5c', ({ namespace, bystander }) => `/api/v1/namespaces/${namespace}%5c..%5c${bystander}/configmaps`],
    ['bad encoding', ({ bystander }) => `/api/v1/namespaces/${bystander}/configmaps%zz`],
    ['%00', ({ namespace, bystander }) => `/api/v1/namespaces/${namespace}%00${bystander}/configmaps`],
    ['%0a in a name', ({ bystander }) => `/api/v1/namespaces/${bystander}/configmaps%0aget%20pods`],
    ['%0d%0a in a path', ({ bystander }) => `/api/v1/namespaces/${bystander}/configmaps%0d%0aX-A:%20b`],
    [
      '# in a path',
      ({ namespace, bystander }) => `/api/v1/namespaces/${namespace}/pods#/../../${bystander}/configmaps`,
    ],
    ['%23 in a path', ({ bystander }) => `/api/v1/namespaces/${bystander}/configmaps%23`],
    ['a second question mark', ({ bystander }) => `/api/v1/namespaces/${bystander}/configmaps?x=y?dryRun=All`],
    ['a semicolon', ({ namespace, bystander }) => `/api/v1/namespaces/${namespace};/../${bystander}/configmaps`],
    ['upper case', ({ bystander }) => `/API/V1/NAMESPACES/${bystander}/CONFIGMAPS`],
    ['a dot at the end', ({ bystander }) => `/api/v1/namespaces/${bystander}/configmaps/.`],
    ['the old proxy', ({ bystander }) => `/api/v1/proxy/namespaces/${bystander}/configmaps`],
    ['no path at all', () => '*'],
  ] satisfies [string, (place: Place) => string][]
).map(([name, path]) => trick(`${name} in the request line`, (request, place) => request(path(place))));

/**
 * Headers by which the API server takes one caller for another. The test gives the attempt's account
 * the right to impersonate, so only the door is in the way.
 */
const impersonations = (
  [
    ['Impersonate-User', { 'Impersonate-User': 'admin', 'Impersonate-Group': 'system:masters' }],
    ['impersonation in upper case', { 'IMPERSONATE-USER': 'admin', 'IMPERSONATE-GROUP': 'system:masters' }],
    ['Impersonate-Uid', { 'Impersonate-User': 'admin', 'Impersonate-Group': 'system:masters', 'Impersonate-Uid': '0' }],
    [
      'Impersonate-Extra',
      { 'Impersonate-User': 'admin', 'Impersonate-Group': 'system:masters', 'Impersonate-Extra-scopes': 'all' },
    ],
  ] satisfies [string, Record<string, string>][]
).map(([name, headers]): RequestAttack => {
  const given = Object.entries(headers).map(([key, value]) => `${key}: ${value}`);
  const plain = trick(`the headers of ${name}`, (request) => request(undefined, given));
  return {
    ...plain,
    direct: (place, id) => ({
      method: 'POST',
      path: dry(configMaps(place.bystander)),
      headers: { ...JSON_TYPE, ...headers },
      body: configMap(id),
    }),
    rights: 'token',
  };
});

const identities = [
  'X-Remote-User: admin\r\nX-Remote-Group: system:masters',
  'X-Forwarded-User: admin',
  'Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJzeXN0ZW06YWRtaW4ifQ.',
  'Connection: authorization',
  'Connection: keep-alive, x-remote-user',
  'Proxy-Authorization: Basic YTpi',
  'Cookie: user=admin',
].map((header) =>
  trick(`the header ${header.replaceAll('\r\n', ', ').slice(0, 60)}`, (request) => request(undefined, [header])),
);

const methods = ['TRACE', 'CONNECT', 'PROPFIND', 'get', 'OPTIONS'].map((method) =>
  trick(`the method ${method}`, (request) => request(undefined, [], method)),
);

const overrides = [
  'X-HTTP-Method-Override: POST',
  'X-Original-URL: /api/v1/secrets',
  'X-Rewrite-URL: /api/v1/secrets',
].map((header) => trick(`the header ${header}`, (request, place) => request(configMaps(place.bystander), [header])));

/** Requests whose length can be read in two ways; the second request is in what is left over. */
const smuggling: readonly RequestAttack[] = [
  smuggle('Content-Length and Transfer-Encoding', (place, id) =>
    lines(
      [...head(`POST ${configMaps(place.namespace)} HTTP/1.1`, id), 'Content-Length: 5', 'Transfer-Encoding: chunked'],
      Buffer.concat([Buffer.from('0\r\n\r\n'), inner(place, id)]),
    ),
  ),
  smuggle('two Content-Lengths', (place, id) =>
    lines(
      [...head(`POST ${configMaps(place.namespace)} HTTP/1.1`, id), 'Content-Length: 2', 'Content-Length: 9'],
      Buffer.concat([Buffer.from('{}'), inner(place, id)]),
    ),
  ),
  ...['xchunked', 'chunked, identity', 'identity', ' chunked', '\tchunked', 'chunked;a=b', '"chunked"'].map(
    (encoding) =>
      smuggle(`Transfer-Encoding: ${JSON.stringify(encoding)}`, (place, id) =>
        lines(
          [
            ...head(`POST ${configMaps(place.namespace)} HTTP/1.1`, id),
            `Transfer-Encoding:${encoding.startsWith('\t') ? '' : ' '}${encoding}`,
            'Content-Length: 2',
          ],
          Buffer.concat([Buffer.from('{}'), inner(place, id)]),
        ),
      ),
  ),
  smuggle('a chunk with a sign', (place, id) =>
    lines(
      [...head(`POST ${configMaps(place.namespace)} HTTP/1.1`, id), 'Transfer-Encoding: chunked'],
      Buffer.concat([Buffer.from('+0\r\n\r\n'), inner(place, id)]),
    ),
  ),
  smuggle('a chunk extension with a line break', (place, id) =>
    lines(
      [...head(`POST ${configMaps(place.namespace)} HTTP/1.1`, id), 'Transfer-Encoding: chunked'],
      Buffer.concat([Buffer.from('2;a\n{}\r\n0\r\n\r\n'), inner(place, id)]),
    ),
  ),
  trick('a folded header', (_request, place, id) =>
    lines([...head(`POST ${configMaps(place.bystander)} HTTP/1.1`, id), 'X-A: b', ' Impersonate-User: system:admin']),
  ),
  trick('a blank before the colon', (_request, place, id) =>
    lines([...head(`POST ${configMaps(place.bystander)} HTTP/1.1`, id), 'Impersonate-User : system:admin']),
  ),
  trick('a bare line feed', (_request, place, id) =>
    Buffer.from(
      `${[...head(`POST ${configMaps(place.bystander)} HTTP/1.1`, id), 'X-A: b\nImpersonate-User: system:admin'].join('\n')}\n\n`,
    ),
  ),
  trick('a null byte in a header', (_request, place, id) =>
    lines([...head(`POST ${configMaps(place.bystander)} HTTP/1.1`, id), 'X-A: b\0Impersonate-User: system:admin']),
  ),
  smuggle('HTTP/1.0 with keep-alive', (place, id) =>
    lines([...head(`GET ${configMaps(place.namespace)} HTTP/1.0`, id), 'Connection: keep-alive'], inner(place, id)),
  ),
  smuggle('a pipelined second request', (place, id) =>
    lines(head(`GET ${configMaps(place.namespace)} HTTP/1.1`, id), inner(place, id)),
  ),
  smuggle('a GET with a body that is a request', (place, id) => {
    const body = inner(place, id);
    return lines([...head(`GET ${configMaps(place.namespace)} HTTP/1.1`, id), `Content-Length: ${body.length}`], body);
  }),
  smuggle('HTTP/2 without TLS negotiation', (place, id) =>
    Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), inner(place, id)]),
  ),
];

const webSocket = ['Connection: Upgrade', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='];
const upgrades: readonly RequestAttack[] = [
  smuggle('an upgrade to h2c', (place, id) =>
    lines(
      [
        ...head(`GET ${configMaps(place.namespace)} HTTP/1.1`, id),
        'Connection: Upgrade, HTTP2-Settings',
        'Upgrade: h2c',
        'HTTP2-Settings: AAMAAABkAAQAAP__',
      ],
      inner(place, id),
    ),
  ),
  smuggle('an upgrade to WebSocket and h2c', (place, id) =>
    lines(
      [...head(`GET ${configMaps(place.namespace)} HTTP/1.1`, id), ...webSocket, 'Upgrade: websocket, h2c'],
      inner(place, id),
    ),
  ),
  trick('an upgrade of a POST', (request, place) =>
    request(configMaps(place.bystander), [...webSocket, 'Upgrade: websocket']),
  ),
  smuggle('an upgrade of a list', (place, id) =>
    lines(
      [...head(`GET ${configMaps(place.namespace)} HTTP/1.1`, id), ...webSocket, 'Upgrade: websocket'],
      inner(place, id),
    ),
  ),
  smuggle('an upgrade of an unknown subresource', (place, id) =>
    lines(
      [
        ...head(
          `GET /apis/subresources.kubevirt.io/v1/namespaces/${place.namespace}/virtualmachineinstances/vm/console HTTP/1.1`,
          id,
        ),
        ...webSocket,
        'Upgrade: websocket',
      ],
      inner(place, id),
    ),
  ),
  smuggle('a bearer in the WebSocket subprotocol', (place, id) =>
    lines(
      [
        ...head(`GET /api/v1/namespaces/${place.bystander}/pods/web/exec?command=id&stdout=true HTTP/1.1`, id),
        ...webSocket,
        'Upgrade: websocket',
        'Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.YQ, v5.channel.k8s.io',
      ],
      inner(place, id),
    ),
  ),
];

export const doorTricks: readonly RequestAttack[] = [
  ...paths,
  ...impersonations,
  ...identities,
  ...methods,
  ...overrides,
  ...smuggling,
  ...upgrades,
];
