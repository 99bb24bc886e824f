// The unknown key of the bad-config scenario is inserted where it looks plausible.
import { expect, test } from 'vitest';
import { withUnknownKey } from './bad-config.ts';

test('an existing [raftstore] table gets the key', () => {
  expect(withUnknownKey('[log]\nlevel = "info"\n[raftstore]\nprevote = true\n')).toBe(
    '[log]\nlevel = "info"\n[raftstore]\nraft-entry-maxsize = "8MiB"\nprevote = true\n',
  );
});

test('a file without the table gets both', () => {
  expect(withUnknownKey('[log]\nlevel = "info"\n')).toBe(
    '[log]\nlevel = "info"\n[raftstore]\nraft-entry-maxsize = "8MiB"\n',
  );
});
