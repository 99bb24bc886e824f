// The error for an invalid kubeconfig gives the place and the reason, but none of its contents.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { findServer } from './credentials.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-kubeconfig-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

it.each([
  ['an empty file', '', /expected a document, but the input is empty/],
  ['YAML that does not parse', 'users:\n- name: a\n  user: {token: "s3cret}\n', /line 3|line 4/],
  ['a token that looks like an alias', 'users:\n- name: a\n  user: {token: *s3cret}\n', /unidentified alias, line 3/],
  ['a token that looks like a tag', 'users:\n- {name: a, user: {token: !<!s3cret> x}}\n', /unknown scalar tag, line 2/],
  ['a cluster without a name', 'clusters:\n- cluster: {server: https://s3cret}\n', /clusters\[0\]\.name is missing/],
  ['an entry that is empty', 'users:\n- null\n', /not a kubeconfig/],
  [
    'a server that is not a URL',
    'clusters: [{name: c, cluster: {server: s3cret}}]\ncontexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x\n',
    /cluster c is not a valid URL/,
  ],
  ['text', 's3cret\n', /has no cluster/],
])('reports what is wrong with %s, but none of its contents', async (_, text, reason) => {
  const kubeconfig = path.join(directory, 'bad.kc');
  await writeFile(kubeconfig, text);
  const said = messageOfFailure(() => findServer({ kubeconfig }));
  expect(said).toContain(kubeconfig);
  expect(said).toMatch(reason);
  expect(said).not.toMatch(/s3cret|Cannot read properties/);
});

it('reports a kubeconfig that does not exist', () => {
  const kubeconfig = path.join(directory, 'nowhere');
  expect(messageOfFailure(() => findServer({ kubeconfig }))).toMatch(/nowhere does not exist/);
});

function messageOfFailure(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    return String(error);
  }
  throw new Error('nothing was thrown');
}
