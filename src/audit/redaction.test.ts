// What redaction removes, what it keeps, and that it is idempotent.

import { describe, expect, it } from 'vitest';
import { withoutControls } from './controls.ts';
import { MAX_LITERALS, Redactor } from './redaction.ts';

const redactor = new Redactor(['literal-model-key-42']);

/** Assembled here, so that secret scanners do not report this file. */
const pem = (label: string) =>
  `-----BEGIN ${label}-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQC7\n-----END ${label}-----`;
const jwt = `eyJ${'hbGciOiJSUzI1NiJ9'}.eyJ${'zdWIiOiJzeXN0ZW0ifQ'}.c2lnbmF0dXJl`;
const base64 = (text: string) => Buffer.from(text).toString('base64');

const hex = (text: string) => Buffer.from(text).toString('hex');
/** A service account token, as long as a real one. */
const accountToken = [{ alg: 'RS256', kid: 'x'.repeat(40) }, { sub: 'y'.repeat(300) }, 'z'.repeat(200)]
  .map((part) => Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url'))
  .join('.');
/** As `base64` and `xxd -p` print it. */
const wrapped = (text: string, columns: number) => text.replaceAll(new RegExp(`.{${columns}}`, 'g'), '$&\n');

const secrets: [what: string, text: string, secret: string][] = [
  ['a provider key', `key is sk-ant-${'api03-AbCdEf0123456789_x-Y'}, ok`, 'AbCdEf0123456789'],
  ['another provider key', `OPENAI=sk-${'proj-aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF'}`, 'aB3dE6gH9jK2'],
  ['a bearer token', 'curl -H "Authorization: Bearer abcDEF0123456789abcDEF"', 'abcDEF0123456789'],
  ['a bearer token without a header', 'sent bearer abcDEF0123456789abcDEF to it', 'abcDEF0123456789'],
  ['basic credentials', 'authorization: Basic dXNlcjpodW50ZXIy', 'dXNlcjpodW50ZXIy'],
  ['an API key header', 'X-Api-Key: hunter2hunter2', 'hunter2'],
  ['a cookie', 'Set-Cookie: session=abcdef; HttpOnly', 'abcdef'],
  ['a JWT', `token is ${jwt}`, 'zdWIiOiJzeXN0ZW0ifQ'],
  ...['', 'x', 'xx'].map((before): [string, string, string] => [
    `a token in base64 after ${before.length} bytes`,
    wrapped(base64(before + accountToken), 76),
    wrapped(base64(before + accountToken), 76).slice(400, 420),
  ]),
  ['a token in hex', wrapped(hex(accountToken), 60), hex(accountToken).slice(200, 220)],
  ['a PEM key', `before\n${pem('RSA PRIVATE KEY')}\nafter`, 'MIIEvQ'],
  ['a PEM key in a JSON string', JSON.stringify({ k: pem('PRIVATE KEY') }), 'MIIEvQ'],
  ['a PEM key that is cut off', pem('EC PRIVATE KEY').slice(0, 70), 'MIIEvQ'],
  [
    'a PEM key in base64',
    `client-key-data: ${base64(pem('RSA PRIVATE KEY'))}`,
    base64(pem('RSA PRIVATE KEY')).slice(40, 60),
  ],
  ['an AWS key id', `id AKIA${'IOSFODNN7EXAMPLE'} used`, 'IOSFODNN7EXAMPLE'],
  ['an AWS secret', 'aws_secret_access_key = wJalrXUtnFEMI/K7MDENG'.replace(' = ', '='), 'wJalrXUtnFEMI'],
  ['a Google key', `AIza${'SyA1234567890abcdefghijklmnopqrstuv'}`, 'SyA1234567890'],
  [
    'an Azure key',
    `AccountKey=${base64('0123456789012345678901234567')};`,
    base64('0123456789012345678901234567').slice(0, 20),
  ],
  ['a GitHub token', `ghp_${'aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789'}`, 'aBcDeFgHiJkL'],
  ['password=', 'mysql --user=root --password=hunter2 -h db', 'hunter2'],
  ['a password flag', 'helm install --set x=1 --password hunter2', 'hunter2'],
  ['a password in an environment line', 'DB_PASSWORD=hunter2', 'hunter2'],
  ['a quoted token', "export API_TOKEN='hunter2 '", 'hunter2'],
  ['a token in a query', 'GET /x?token=hunter2&page=3', 'hunter2'],
  ['a password in a URL', 'postgres://app:hunter2@db:5432/x', 'hunter2'],
  ['a password for curl', 'x; curl -s -u admin:hunter2 http://x', 'hunter2'],
  ['a password in YAML', 'user: root\n  password: hunter2\n', 'hunter2'],
  ['a password in JSON', '{"user":"root","password": "hunter2"}', 'hunter2'],
  ['a password in JSON in JSON', JSON.stringify({ a: JSON.stringify({ adminPassword: 'hunter2' }) }), 'hunter2'],
  ['a password in prose', 'the admin password: hunter2', 'hunter2'],
  ['an environment variable of a pod', '{"name":"DB_PASSWORD","value":"hunter2"}', 'hunter2'],
  ['an environment variable in YAML', '- name: DB_PASSWORD\n  value: hunter2\n', 'hunter2'],
  ['docker auth', '{"auths":{"r.example":{"auth":"dXNlcjpodW50ZXIy"}}}', 'dXNlcjpodW50ZXIy'],
  [
    'docker auth in a Secret',
    `x: ${base64('{"auths":{"r.example":{"auth":"dXNlcjpodW50ZXIy"}}}')}`,
    base64('{"auths":{"r.example":{"auth"').slice(12, 30),
  ],
  ['a registered literal', 'x literal-model-key-42 y', 'literal-model-key-42'],
  [
    'a registered literal in base64',
    `x ${base64('literal-model-key-42')} y`,
    base64('literal-model-key-42').slice(0, 20),
  ],
];

describe('removes', () => {
  it.each(secrets)('%s', (_what, text, secret) => {
    expect(text).toContain(secret);
    const once = redactor.text(text);
    expect(once).not.toContain(secret);
    expect(once).toContain('[redacted:');
    expect(redactor.text(once)).toBe(once);
  });

  it('a secret from JSON in a command', () => {
    expect(
      JSON.stringify(redactor.value({ command: 'curl -H "Authorization: Bearer abcDEF0123456789abcDEF"' })),
    ).not.toContain('abcDEF');
  });
});

describe('what a reader does not see', () => {
  const visible = (text: string) => withoutControls(text.replaceAll('\u009b31m', '')).replace(/\p{Cf}|\p{DI}/gu, '');
  const known = 'literal-model-key-42';

  it.each([
    ...['\u001b[31m', '\u001b[0;1m', '\u001b[2K', '\u001b[?25h', '\u0007', '\b', '\u007f', '\u0085', '\u009b'],
    ...['\u202e', '\u2066', '\u200b', '\u200d', '\ufeff', '\u00ad', '\r', '\v', '\f', '\u001b[m\u0007\u200b'],
    ...['\ufe0f', '\u034f', '\u3164', '\u115f', '\u{e0100}', '\u009b31m'],
  ])('does not divide a secret: %j', (mark) => {
    for (const secret of [known, `sk-ant-${'api03-AbCdEf0123456789_x-Y'}`, jwt]) {
      for (let at = 1; at < secret.length; at += 5) {
        const text = `${mark}: ${secret.slice(0, at)}${mark}${secret.slice(at)}${mark}; rm -rf x`;
        const shown = visible(redactor.text(text));
        expect(shown).not.toContain(secret);
        expect(shown).toContain('rm -rf x');
      }
    }
  });

  it('stays where it divides no secret, and a secret beside it goes', () => {
    const text = '\u001b[32mok\u001b[0m \u202e👩‍🚒';
    expect(redactor.text(text)).toBe(text);
    expect(redactor.text(`${text} ${known}`)).toBe(`${text} [redacted:literal:20]`);
  });
});

const ordinary = [
  'NAME          READY   STATUS             RESTARTS   AGE\ntikv-tikv-0   0/1     CrashLoopBackOff   5 (12s ago)   3m',
  '{"store":{"id":4,"address":"tikv-tikv-2.tikv-tikv-peer:20160","state_name":"Disconnected","last_heartbeat":1763815123456789012}}',
  'uid: 6f1c0f5e-58a2-4c0e-9d1a-2f4f3c0b7a11',
  'image: registry.example/tikv@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
  'resourceVersion: "123456"\nautomountServiceAccountToken: false\nserviceAccountName: token-reader',
  'volumes:\n- name: tls\n  secret:\n    secretName: tikv-tls\n    defaultMode: 420',
  'error: unable to read token: file does not exist',
  'Error: invalid token: expected "," but found "}"',
  'secret/tikv-tls created',
  'kubectl -n tikv get secret tikv-tls',
  'max_tokens: 16000, input_tokens=1234, tokens: 5',
  'password: ""\ntoken: null\npassword: <none>\npassword: $(DB_PASSWORD)',
  '--token-file=/var/run/secrets/token --password-file /etc/x',
  `certificate-authority-data: ${base64('-----BEGIN CERTIFICATE-----\nMIIC')}`,
  '-----BEGIN CERTIFICATE-----\nMIICxjCCAa4CCQ\n-----END CERTIFICATE-----',
  'Basic authentication is required; bearer of bad news',
  '{"kind":"ConfigMap","data":{"tikv.toml":"[storage]\\nreserve-space = \\"0MB\\""}}',
  'apiVersion: v1\nkind: ConfigMap\ndata:\n  tikv.toml: |\n    [raftstore]\n    capacity = "1GB"\n',
  'disk-usage-of-the-tikv-data-volume-12345-ABCDEF is 70%',
  'task-Abcdefghijklmnopqrstuvwxyz0123456789 done',
  'git commit 8bc1469a3f7d2e1b0c9d8e7f6a5b4c3d2e1f0a9b',
  'http://tikv-pd:2379/pd/api/v1/stores and http://[::1]:2379/x',
];

describe('keeps', () => {
  it.each(ordinary)('%s', (text) => {
    expect(redactor.text(text)).toBe(text);
  });
});

describe('Secrets', () => {
  const secret = {
    apiVersion: 'v1',
    data: { password: base64('hunter2'), 'tls.key': 'a2V5' },
    kind: 'Secret',
    metadata: { name: 'db', labels: { app: 'x' } },
    type: 'Opaque',
  };
  const configMap = { apiVersion: 'v1', data: { motto: 'stays-as-it-is' }, kind: 'ConfigMap', metadata: { name: 'c' } };

  it('lose only their payload in JSON, alone and in lists', () => {
    const list = { kind: 'List', items: [secret, configMap] };
    for (const text of [
      JSON.stringify(list),
      JSON.stringify(list, null, 4),
      `some log line "\n${JSON.stringify(list)}\ntrailing`,
    ]) {
      const once = redactor.text(text);
      expect(once).not.toContain(base64('hunter2'));
      expect(once).not.toContain('a2V5');
      expect(once).toContain('stays-as-it-is');
      expect(once).toContain('tls.key');
      expect(redactor.text(once)).toBe(once);
    }
    expect(JSON.parse(redactor.text(JSON.stringify(list)))).toMatchObject({
      items: [{ metadata: secret.metadata }, configMap],
    });
  });

  it('lose it in a SecretList, whose items have no kind', () => {
    const { kind: _kind, ...item } = secret;
    const once = redactor.text(JSON.stringify({ kind: 'SecretList', items: [item] }));
    expect(once).not.toContain('a2V5');
    expect(JSON.stringify(redactor.value({ kind: 'SecretList', items: [item] }))).not.toContain('a2V5');
  });

  it('lose it in the annotation that kubectl apply adds', () => {
    const applied = {
      ...secret,
      metadata: {
        name: 'db',
        annotations: {
          'kubectl.kubernetes.io/last-applied-configuration': `${JSON.stringify({ ...secret, stringData: { pin: 'plain-text' } })}\n`,
        },
      },
    };
    const once = redactor.text(JSON.stringify(applied));
    expect(once).not.toContain('plain-text');
    expect(once).not.toContain('a2V5');
    expect(JSON.stringify(redactor.value(applied))).not.toContain('plain-text');
  });

  it('lose it in JSON that is cut off after the kind', () => {
    const text = JSON.stringify({ kind: 'Secret', data: { a: 'Zmlyc3Q=', b: 'c2Vjb25k' } }).slice(0, -4);
    expect(redactor.text(text)).not.toMatch(/Zmlyc3Q|c2Vj/);
  });

  it('lose only their payload in YAML, alone and in lists', () => {
    const yaml = `apiVersion: v1
items:
- apiVersion: v1
  data:
    password: aHVudGVyMg==
    tls.key: |
      LS0tZmlyc3QgbGluZQpz
      ZWNvbmQgbGluZS0tLQpZ
  kind: Secret
  metadata:
    name: db
  stringData: {pin: "1234"}
- apiVersion: v1
  data:
    motto: stays
  kind: ConfigMap
kind: List
---
kind: Secret
data:
  other: b3RoZXI=
metadata: {name: y}
`;
    const once = redactor.text(yaml);
    for (const value of ['aHVudGVyMg', 'LS0tZmlyc3Q', 'ZWNvbmQg', '1234', 'b3RoZXI']) expect(once).not.toContain(value);
    for (const kept of ['motto: stays', 'name: db', 'password:', 'metadata: {name: y}', 'kind: List'])
      expect(once).toContain(kept);
    expect(redactor.text(once)).toBe(once);
  });

  it('lose it where lines end as on a terminal, and keep their ends', () => {
    const text =
      'apiVersion: v1\ndata:\n  pin: cGluOiA0MjQy\n  b: "c2Vj"\n  o: {x: eHh4}\n\nkind: Secret\ntype: Opaque\n';
    const shown = redactor.text(text);
    expect(shown).not.toMatch(/cGluOiA0MjQy|c2Vj|eHh4/);
    for (const end of ['\r\n', '\r\r\n'])
      expect(redactor.text(text.replaceAll('\n', end))).toBe(shown.replaceAll('\n', end));
  });

  it('lose it in texts that are quoted as JSON, in others or alone', () => {
    const inner = [
      JSON.stringify({ ...secret, data: { pin: 'aHVudGVyMg==' } }),
      JSON.stringify({ ...secret, data: { pin: 'aHVudGVyMg==' } }, null, 2),
      'kind: Secret\ndata:\n  pin: aHVudGVyMg==\n',
      'a: b\r\n---\r\ndata:\r\n  pin: aHVudGVyMg==\r\nkind: Secret\r\n',
    ];
    for (const text of inner) {
      for (const quoted of [JSON.stringify(text), `msg=${JSON.stringify(text)} x`, JSON.stringify({ out: [text] })]) {
        const shown = redactor.text(quoted);
        expect(shown, quoted).not.toContain('aHVudGVyMg');
        expect(shown).toContain('Secret');
      }
    }
    // What no reader of JSON would take for a string stays as it is.
    const command = `: "{\\"kind\\":\\"Secret\\",; kubectl delete pvc --all"`;
    expect(redactor.text(command)).toBe(command);
  });

  it('lose it as a JSON value, whatever the keys of the payload', () => {
    expect(redactor.value(secret)).toEqual({
      ...secret,
      data: { password: '[redacted:secret:12]', 'tls.key': '[redacted:secret:4]' },
    });
    expect(redactor.value(configMap)).toEqual(configMap);
  });
});

it('redacts members by name and keeps numbers and the structure', () => {
  expect(
    redactor.value({ password: 'hunter2', nested: [{ apiKey: 'x1' }, 7], secret: 'tikv-tls', tokens: 5, token: '' }),
  ).toEqual({
    password: '[redacted:value:7]',
    nested: [{ apiKey: '[redacted:value:2]' }, 7],
    secret: 'tikv-tls',
    tokens: 5,
    token: '',
  });
});

it('keeps the newest known values, and takes each once', () => {
  const own = new Redactor();
  const secretOf = (number: number) => `credential-number-${number}-x`;
  for (let number = 0; number <= MAX_LITERALS; number += 1) expect(own.add(secretOf(number))).toBe(true);
  expect(own.add(secretOf(MAX_LITERALS))).toBe(false);
  expect(own.text(secretOf(0))).toBe(secretOf(0));
  expect(own.text(secretOf(1))).not.toContain(secretOf(1));
  expect(own.text(secretOf(MAX_LITERALS))).not.toContain(secretOf(MAX_LITERALS));
});

it('rejects a literal that is too short to be distinguished from ordinary text', () => {
  const own = new Redactor();
  expect(own.add('tikv')).toBe(false);
  expect(own.text('tikv')).toBe('tikv');
});
