// The keys and the signed checkpoints with which `oplab audit verify` checks a log.

import { existsSync, readFileSync } from 'node:fs';
import { checkpointSize } from '../../audit/checkpoint.ts';
import { parseVerifier } from '../../audit/signed-note.ts';
import type { LogReport, SignedStatement, TrustedKeys } from '../../audit/verify-log.ts';
import { InvalidInput } from '../../errors.ts';
import { requireFile } from '../../input/file.ts';
import type { ClusterAnchor } from '../published-anchor.ts';
import type { LogSignature } from '../reader/audit-reader.ts';

export interface SignatureFlags {
  readonly publicKey?: string | undefined;
  readonly checkpoint?: string | undefined;
}

/** What the report says about the log as a whole. */
export interface SignatureVerdict {
  /** The newest checkpoint whose signature was checked. */
  readonly checkpoint: LogReport['checkpoint'];
  /** Where the key is from. Undefined if signatures were not checked. */
  readonly keySource: string | undefined;
  /** The key is from the same cluster as the log: it shows only that nothing changed since the first use. */
  readonly onFirstUse: boolean;
  /** There is no log: each session is proven by itself. */
  readonly isImported?: boolean;
}

/** The keys of --public-key: one key, or a file with one key per line. @throws InvalidInput */
export function givenKeys({ publicKey }: SignatureFlags): TrustedKeys | undefined {
  if (publicKey === undefined) return undefined;
  const isFile = existsSync(publicKey);
  // Every key has a plus sign, so this may have been meant as a path.
  if (!isFile && !publicKey.includes('+')) {
    throw new InvalidInput(
      `--public-key: "${publicKey}" is neither a file nor a public key; check the path, or use the form <name>+<id>+<base64>`,
    );
  }
  const where = isFile ? `--public-key ${publicKey}` : '--public-key';
  const words = (isFile ? readText(publicKey, '--public-key') : publicKey).split(/\s+/).filter((word) => word !== '');
  if (words.length === 0) {
    throw new InvalidInput(`--public-key ${publicKey}: the file has no key; use one key <name>+<id>+<base64> per line`);
  }
  return { verifiers: words.map((vkey) => parseVerifier(vkey, where)), source: '--public-key', onFirstUse: false };
}

/** The checkpoint of --checkpoint. @throws InvalidInput */
export function givenCheckpoint({ checkpoint }: SignatureFlags): SignedStatement[] {
  if (checkpoint === undefined) return [];
  const text = readText(checkpoint, '--checkpoint');
  if (checkpointSize(text) === undefined) {
    throw new InvalidInput(
      `--checkpoint: ${checkpoint} is not a signed checkpoint; save the entry "checkpoint" of ConfigMap oplab-audit-anchor`,
    );
  }
  return [{ source: checkpoint, notes: { checkpoint: text } }];
}

function readText(path: string, flag: string): string {
  requireFile(path, flag);
  return readFileSync(path, 'utf8');
}

/** The keys to trust for a log behind a gateway: those given, else that of the cluster. */
export function clusterKeys(
  given: SignatureFlags,
  anchor: ClusterAnchor,
  signature: LogSignature | undefined,
): TrustedKeys | undefined {
  const keys = givenKeys(given);
  if (keys !== undefined) return keys;
  const found = anchor.publicKey ?? (signature?.notes === undefined ? undefined : signature.publicKey);
  if (found === undefined || found === '') return undefined;
  const source = anchor.publicKey === undefined ? 'the gateway' : anchor.source;
  return { verifiers: [parseVerifier(found, source)], source, onFirstUse: true };
}

/** Everything that is signed about a log behind a gateway. */
export function clusterStatements(
  given: SignatureFlags,
  anchor: ClusterAnchor,
  signature: LogSignature | undefined,
): SignedStatement[] {
  const { checkpoint, heads, source } = anchor;
  const published =
    checkpoint === undefined && heads === undefined
      ? []
      : [{ source, notes: { checkpoint: checkpoint ?? '', heads: heads ?? '' } }];
  const own =
    signature?.notes === undefined ? [] : [{ source: 'the last signed checkpoint in the log', notes: signature.notes }];
  return [...own, ...published, ...givenCheckpoint(given)];
}
