// Answers about a whole host are reduced even if the host has not filtered them.

import { describe, expect, it } from 'vitest';
import { reduceAnswer } from './reduction.ts';
import { PROJECT_LABEL, parseScope } from './scope.ts';

const scope = parseScope({ composeProject: 'shop' });
const own = { Labels: { [PROJECT_LABEL]: 'shop' } };
const images = { ids: new Set(['sha256:own']), repositories: new Set(['pingcap/tikv']) };
const reduce = (kind: Parameters<typeof reduceAnswer>[0], answer: unknown) =>
  JSON.parse(reduceAnswer(kind, Buffer.from(JSON.stringify(answer)), scope, images).toString());

describe('reduceAnswer', () => {
  it.each(['containers', 'networks'] as const)('keeps the scope’s %s, whole', (kind) => {
    const answer = [{ Id: '1', ...own, More: 1 }, { Id: '2', Labels: { [PROJECT_LABEL]: 'bank' } }, { Id: '3' }];
    expect(reduce(kind, answer)).toEqual([{ Id: '1', ...own, More: 1 }]);
    expect(reduce(kind, null)).toEqual([]);
  });

  it('keeps the scope’s volumes', () => {
    const answer = {
      Volumes: [
        { Name: 'a', ...own },
        { Name: 'b', Labels: null },
      ],
      Warnings: null,
    };
    expect(reduce('volumes', answer)).toEqual({ Volumes: [{ Name: 'a', ...own }], Warnings: null });
  });

  it('keeps images that are in use, of a repository in use, or labelled', () => {
    const answer = [
      { Id: 'sha256:own', RepoTags: null },
      { Id: 'sha256:2', RepoTags: ['pingcap/tikv:v9'] },
      { Id: 'sha256:3', RepoTags: ['built:1'], ...own },
      { Id: 'sha256:4', RepoTags: ['bank:1', 'pingcap/tikv-evil:1'] },
    ];
    expect(reduce('images', answer).map(({ Id }: { Id: string }) => Id)).toEqual([
      'sha256:own',
      'sha256:2',
      'sha256:3',
    ]);
  });

  it('describes the host itself, but not its workloads or its network', () => {
    const answer = { ServerVersion: '28', NCPU: 2, Containers: 40, HttpProxy: 'http://u:p@x', Swarm: { NodeID: 'x' } };
    expect(reduce('info', answer)).toEqual({ ServerVersion: '28', NCPU: 2, Swarm: { LocalNodeState: 'inactive' } });
  });

  it('forwards nothing that it cannot parse', () => {
    expect(() => reduce('containers', { message: 'x' })).toThrow(
      expect.objectContaining({ code: 'OPLAB_UPSTREAM_UNAVAILABLE' }),
    );
  });
});
