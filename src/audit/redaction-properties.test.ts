// Redaction over generated texts: it hides no command, and it stays linear whatever it is given.

import { describe, expect, it } from 'vitest';
import { Redactor } from './redaction.ts';
import { RULES } from './redaction-rules.ts';
import { redactSecretObjects } from './secret-objects.ts';

/** A small generator with a seed, so that a failure can be repeated. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 0x1_0000_0000) * below);
  };
}

/** For each rule, texts that end with the secret. Every rule must be in here: see the first test. */
const ENDS_WITH_SECRET: Readonly<Record<string, readonly string[]>> = {
  pem: ['-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG', '-----BEGIN RSA PRIVATE KEY-----\\nMIIEvQIBADANBgkqhkiG'],
  'pem-base64': [`LS0tLS1CRUdJTiB${'QUklWQVRFIEtFWS0tLS0t'}`],
  'anthropic-key': [`sk-ant-${'api03-AbCdEf0123456789'}`],
  'sk-key': [`sk-${'proj-aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF'}`],
  jwt: [`eyJ${'hbGciOiJSUzI1NiJ9'}.eyJ${'zdWIiOiJzeXN0ZW0ifQ'}.c2lnbmF0dXJl`],
  'jwt-base64': [
    'ZXlKaGJHY2lPaUpTVXpJMU5pSXNJbXRw',
    'AGV5SmhiR2NpT2lKU1V6STFOaUlzSW10',
    'AABleUpoYkdjaU9pSlNVekkxTmlJc0lt',
  ],
  'jwt-hex': [
    `65794a68624763694f69${'4a53557a49314e69'.repeat(2)}`,
    `65794A68624763694F69${'4A53557A49314E69'.repeat(2)}`,
  ],
  'docker-config': ['eyJhdXRocyI6eyJyLmV4YW1wbGUi'],
  'docker-auth': ['"auth":"dXNlcjpodW50ZXIy'],
  'aws-key-id': [`AKIA${'IOSFODNN7EXAMPLE'}`],
  'google-api-key': [`AIza${'SyA1234567890abcdefghijklmnopqrstuv'}`],
  'google-oauth': [`ya29.${'a0AfH6SMBx1234567890abc'}`],
  'azure-account-key': ['AccountKey=MDEyMzQ1Njc4OTAxMjM0NTY3ODk='],
  'vendor-token gh[pousr]_': [`ghp_${'aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789'}`],
  'vendor-token github_pat_': [`github_pat_${'aBcDeFgHiJkLmNoPqRsTuV'}`],
  'vendor-token glpat-': [`glpat-${'aBcDeFgHiJkLmNoPqRsT'}`],
  'vendor-token xox[abeprs]-': [`xoxb-${'1234567890-abc'}`],
  'vendor-token npm_': [`npm_${'aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789'}`],
  'vendor-token dckr_pat_': [`dckr_pat_${'aBcDeFgHiJkLmNoPqRsT'}`],
  'vendor-token dop_v1_': [`dop_v1_${'0123456789abcdef'.repeat(4)}`],
  'vendor-token hvs\\.': [`hvs.${'aBcDeFgHiJkLmNoPqRsT'}`],
  'vendor-token [rs]k_live_': [`sk_live_${'aBcDeFgHiJkLmNoPqRsT'}`],
  'header-with-scheme': ['authorization: Basic dXNlcjpodW50ZXIy', '-H "Proxy-Authorization: Bearer abc'],
  header: ['X-Api-Key: hunter2', 'cookie=1', 'set-cookie: a=b', 'authorization=hunter2', 'Cookie: session=abcdef'],
  bearer: ['bearer abcDEF0123456789abcDEF'],
  'url-password': ['postgres://app:hunter2@db'],
  'curl-user': [' curl -u admin:hunter2'],
  'env-json': ['{"name":"DB_PASSWORD","value":"hunter2'],
  'env-yaml': ['- name: DB_PASSWORD\n  value: hunter2'],
  'json-pair': ['{"password": "hunter2', '{\\"adminPassword\\":\\"hunter2'],
  'yaml-pair': ['password: hunter2', '  db_password: "hunter2'],
  'yaml-pair-alone': ['auth_token: hunter2'],
  'password-colon': ['the password: hunter2'],
  'equals-pair': ['password=hunter2', 'TOKEN="hunter2', 'cookie: a=b; JSESSIONID=abc'],
  flag: ['helm --password hunter2'],
};

/** What ends a word in a shell, or begins something that a shell acts on. */
const SEPARATORS = [
  ' ',
  '\t',
  '\n',
  '\r\n',
  ';',
  '; ',
  ' ; ',
  '&',
  '&&',
  ' && ',
  '|',
  '||',
  '|&',
  '>',
  '>>',
  '<',
  '<<E\n',
  '`',
  '$(',
  '${',
  '$x ',
  '(',
  ')',
  '{',
  '}',
  '"',
  "'",
  "' '",
  '\\\n',
  '\\;',
  '";',
  "';",
  ' -- ',
  '\u00a0',
  '\u2028',
  '\u0000',
  '\f',
  '\v',
  '<(',
  '$IFS',
  "$'",
  '$"',
]; // prettier-ignore

// biome-ignore lint/suspicious/noTemplateCurlyInString: this is shell
const IFS_TAIL = 'kubectl${IFS}delete${IFS}ns${IFS}prod';
const TAILS = [
  'kubectl -n tikv delete pvc --all',
  'reboot',
  IFS_TAIL,
  '/bin/sh -c reboot',
  'X=1 kubectl run x --image=evil',
  'kubectl delete pvc data-tikv-0 #',
];

const redactor = new Redactor(['literal-model-key-42']);

/** Blanks, quotes and everything that a shell acts on, in their order: the skeleton of a command. */
function skeleton(text: string): string {
  return text.replaceAll(/[^\s;&|<>(){}"'`\\\0]/g, '');
}

describe('redaction never hides a command', () => {
  it('knows an example of every rule, and the rule takes its secret', () => {
    expect(Object.keys(ENDS_WITH_SECRET).sort()).toEqual(RULES.map((rule) => rule.name).sort());
    for (const rule of RULES) {
      for (const text of ENDS_WITH_SECRET[rule.name] ?? [])
        expect(rule.redact(text), rule.name).toContain('[redacted:');
    }
  });

  it('keeps what follows a secret, whatever ends it', () => {
    for (const [name, texts] of Object.entries(ENDS_WITH_SECRET)) {
      for (const text of texts) {
        for (const separator of SEPARATORS) {
          for (const tail of TAILS) {
            const whole = `: ${text}${separator}${tail}`;
            expect(redactor.text(whole), `${name}: ${JSON.stringify(whole)}`).toContain(tail);
          }
        }
      }
    }
  });

  it('keeps a command below or inside what imitates a Secret', () => {
    const command = 'kubectl -n tikv delete pvc --all';
    const imitations = [
      `: 'kind: Secret\ndata:\n  a: '; ${command}`,
      `kind: Secret\ndata:\n  ${command}`,
      `kind: Secret\nstringData:\n  a: |\n    ${command}\n    reboot`,
      `kind: Secret # x\ndata: {a: ; ${command}}`,
      `: '{"kind":"Secret","data":{"x":"'; ${command}; : '"}}'`,
      `: "{"kind":"Secret","stringData":{"x":"; ${command}; :"}}"`,
      `{"kind":"Secret","data":{"x":["${command}"]}}`,
      `{"kind":"SecretList","items":[{"stringData":{"x":"${command}"}}]}`,
      `: '"password":"'; ${command}; : '"'`,
      `{"env":[{"name":"RUN_TOKEN","value":"${command}"}]}`,
      `- name: RUN_TOKEN\n  value: ${command}`,
      `run_password: ${command}`,
      `curl http://a:;${command}@x`,
    ];
    for (const text of imitations) {
      const shown = redactor.text(text);
      // The first word of a value can look like a secret; its arguments cannot.
      expect(shown, text).toContain('-n tikv delete pvc --all');
      if (text.includes('reboot')) expect(shown).toContain('reboot');
    }
    expect(JSON.stringify(redactor.value({ runToken: `run ${command}` }))).toContain(command);
  });

  it('leaves the skeleton of 5,000 generated texts as it is, and is idempotent', () => {
    const random = randomFrom(20_261_126);
    const pick = (list: readonly string[]) => list[random(list.length)] ?? '';
    const secrets = Object.values(ENDS_WITH_SECRET).flat();
    const words = [
      'kubectl',
      'delete',
      '--all',
      '-n',
      'tikv',
      'kind: Secret',
      'data:',
      '  a: b',
      'stringData:',
      'x=',
      'cookie',
      'token',
      '---',
    ];
    for (let round = 0; round < 5_000; round += 1) {
      const text = Array.from({ length: 1 + random(12) }, () => {
        const kind = random(4);
        if (kind === 0) return pick(secrets);
        return kind === 1 ? pick(words) : pick(SEPARATORS);
      }).join('');
      const once = redactor.text(text);
      expect(skeleton(once), JSON.stringify(text)).toBe(skeleton(text));
      expect(redactor.text(once), JSON.stringify(text)).toBe(once);
    }
  });
});

describe('redaction is linear', () => {
  const repeated = (unit: string) => (size: number) => unit.repeat(Math.ceil(size / unit.length));
  const generators: Readonly<Record<string, (size: number) => string>> = {
    ...Object.fromEntries(
      [
        'a',
        '\\',
        '\n',
        ' ',
        '_',
        '"',
        '[',
        'A1',
        '- ',
        'eyJ',
        'ZXlKaGJHY2lPaUpTVXpJMU5pSXNJbXRw\n',
        '65794a68624763694f694a53557a4931\n',
        'sk-',
        'token=',
        'token: ',
        'cookie: a=b;',
        'https://a:',
        ' curl -u ',
        '-----BEGIN PRIVATE KEY-----\n',
        '{"kind":"Secret","data":{',
        '{"a":',
        '"kind":"Secret"',
        '"name":"x_token","value":"',
        'authorization: bearer ',
        '\n  password',
        'kind: Secret\ndata:\n  a: b\n',
        '- - - kind: Secret\n',
        'name: token\n value: ',
        '\\n',
        'k1: v\n',
        '"k1":"v",',
        'Cookie: ',
      ].map((unit) => [JSON.stringify(unit), repeated(unit)]),
    ),
    // prettier-ignore
    'Secrets in alternating columns': (size) =>
      Array.from({ length: size / 20 }, (_, index) => `${' '.repeat(index % 7)}kind: Secret`).join('\n'),
    'Secrets in a staircase': (size) =>
      Array.from(
        { length: size / 120 },
        (_, index) => `${' '.repeat(index % 90)}kind: Secret\n${' '.repeat(index % 90)}data:`,
      ).join('\n'),
    'escaped quotes behind a quote': (size) => `"kind":"Secret"${'"\\"'.repeat(size / 3)}`,
    'quotes that never close': (size) => `kind: Secret "kind":"Secret" ${'"a\\'.repeat(size / 3)}`,
    'carriage returns': (size) => `kind: Secret\ndata:\n  a: b${'\r'.repeat(size)}x\n`,
    'carriage returns in lines': (size) => `kind: Secret\ndata:\n${'\r\r\r a\n'.repeat(size / 6)}`,
    'one long cookie': (size) => `cookie: ${'a=b;'.repeat(size / 4)}`,
    'one long key': (size) => `-----BEGIN PRIVATE KEY-----${`\nAb${'c'.repeat(60)}`.repeat(size / 63)}`,
    'one long header': (size) => `authorization${' '.repeat(size)}`,
    'one long name': (size) => `"${'a-'.repeat(size / 2)}password":"`,
    'one long user': (size) => `://${'a:'.repeat(size / 2)}@`,
  };

  const cpuMs = (work: () => void): number => {
    const before = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };

  it.each(Object.entries(generators))('on %s', (_name, generate) => {
    const [small, large] = [generate(16 * 1024), generate(128 * 1024)];
    const run = (text: string) => () => {
      redactor.text(text);
      redactSecretObjects(text);
    };
    run(small)();
    const least = (text: string) => Math.min(...Array.from({ length: 2 }, () => cpuMs(run(text))));
    // Eight times the text may take 2.5 times as long for each doubling; quadratic code takes 64
    // times as long. Below some milliseconds the clock is noise, and so is a busy machine: it gets
    // more tries, which do not help quadratic code.
    const isLinear = () => least(large) <= Math.max(least(small), 4) * 2.5 ** 3;
    expect([1, 2, 3, 4].some(isLinear)).toBe(true);
  });
});

it('makes a text at most 3.9 times as long, so that a body of 1 MiB is stored whole', () => {
  for (const unit of [
    'pwd=a;',
    'sid=a;',
    'token=a;',
    'cookie=1;',
    'sess_id=a;',
    '"pwd":"a",',
    'pwd: a\n',
    ' --token a',
    '://a:b@ ',
    'password: abc ',
  ]) {
    const text = unit.repeat(1000);
    expect(redactor.text(text).length, unit).toBeLessThanOrEqual(text.length * 3.9);
  }
});
