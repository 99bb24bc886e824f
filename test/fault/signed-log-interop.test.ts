// A log that this code signed is verified by the code of Go's own transparency log.

import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { testGoModule } from '../../hack/toolchain/tools.ts';
import { hashLeaf, leafBytes, signLog } from '../../src/audit/checkpoint.ts';
import { openedEntry, sealEntry } from '../../src/audit/lifecycle.ts';
import { MerkleTree } from '../../src/audit/merkle.ts';
import { parseSigner } from '../../src/audit/signed-note.ts';
import { openAuditLog } from '../../src/audit/store.ts';

let directory: string;
let signed: {
  vkey: string;
  checkpoints: string[];
  heads: string;
  leaves: string[];
  proofs: { index: number; size: number; path: string[] }[];
};

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-interop-'));
  const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const signer = parseSigner('oplab.dev/audit/test', pem, 'test');
  const log = await openAuditLog({ path: path.join(directory, 'audit.db') });
  const checkpoints: string[] = [];
  let heads = '';
  for (let n = 1; n <= 7; n += 1) {
    const by = { session: `session ${n} "ü"`, attempt: 0, writer: 'gateway' } as const;
    await log.append(by, openedEntry({ namespace: 'tikv', name: `n${n}`, uid: by.session }, 'down'));
    if (n % 3 !== 0) await log.seal(by, sealEntry('Resolved'));
    const tree = await log.tree(0);
    const notes = signLog(signer, tree, tree.heads);
    checkpoints.push(notes.checkpoint);
    heads = notes.heads;
  }
  const leaves = await log.leaves(0, 100);
  await log.close();
  const tree = new MerkleTree();
  for (const leaf of leaves) tree.append(hashLeaf(leaf));
  const proofs = leaves.flatMap((_, at) =>
    leaves.slice(0, at + 1).map(({ index }) => ({
      index,
      size: at + 1,
      path: tree.inclusionProof(index, at + 1).map((hash) => hash.toString('base64')),
    })),
  );
  const texts = leaves.map((leaf) => Buffer.from(leafBytes(leaf)).toString());
  signed = { vkey: signer.verifier.vkey, checkpoints, heads, leaves: texts, proofs };
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function verifyWithGo(log: typeof signed): Promise<void> {
  const file = path.join(directory, `${crypto.randomUUID()}.json`);
  await writeFile(file, JSON.stringify(log));
  await testGoModule({
    ...{ name: 'tlog', moduleDir: path.join(import.meta.dirname, 'tlog'), packages: ['.'], expectedSeconds: 20 },
    env: { OPLAB_SIGNED_LOG: file },
  });
}

it('signatures, roots, growth and inclusion are valid', async () => {
  expect([signed.leaves.length, signed.proofs.length]).toEqual([12, 78]);
  await verifyWithGo(signed);
}, 300_000);

it.each([
  ['a changed leaf', { leaves: (): string[] => [...signed.leaves.slice(0, -1), '{}'] }, /the root of/],
  [
    'a changed checkpoint',
    { checkpoints: () => signed.checkpoints.map((text) => text.replace('\n9\n', '\n8\n')) },
    /note\.Open/,
  ],
  [
    'another proof',
    { proofs: () => signed.proofs.map((proof) => ({ ...proof, path: [...proof.path].reverse() })) },
    /leaf \d+ of/,
  ],
])(
  '%s is refused',
  async (_what, change, message) => {
    const changed = Object.fromEntries(Object.entries(change).map(([key, value]) => [key, value()]));
    await expect(verifyWithGo({ ...signed, ...changed })).rejects.toThrow(message);
  },
  300_000,
);
