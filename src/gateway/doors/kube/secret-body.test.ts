// Values of Secrets are never recorded, whatever form the write has.

import { describe, expect, it } from 'vitest';
import { secretBody } from './secret-body.ts';

const shown = secretBody;

describe('secretBody', () => {
  it.each<[string, unknown]>([
    [
      'an object',
      { kind: 'Secret', metadata: { name: 'x' }, data: { word: 'c2VzYW1l' }, stringData: { word: 'sesame' } },
    ],
    ['a merge patch, which names no kind', { data: { word: 'c2VzYW1l' } }],
    ['a JSON patch', [{ op: 'replace', path: '/data/word', value: 'c2VzYW1l' }]],
    ['a JSON patch of everything', [{ op: 'add', path: '', value: { data: { word: 'c2VzYW1l' } } }]],
    ['a list', { kind: 'SecretList', items: [{ data: { word: 'c2VzYW1l' } }] }],
    [
      'kubectl’s copy',
      {
        metadata: {
          annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{"data":{"word":"c2VzYW1l"}}' },
        },
      },
    ],
  ])('hides the values of %s', (_, body) => {
    expect(shown(body)).not.toMatch(/c2VzYW1l|sesame/);
  });

  it('shows which keys were written and which were deleted', () => {
    expect(shown({ metadata: { name: 'x' }, data: { word: 'c2VzYW1l', old: null } })).toBe(
      '{"metadata":{"name":"x"},"data":{"word":"[redacted]","old":null}}',
    );
    expect(shown([{ op: 'remove', path: '/data/word' }])).toBe('[{"op":"remove","path":"/data/word"}]');
  });
});
