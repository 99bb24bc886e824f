// What keeps the objects of a scope apart from those of others: their names and labels.

import { describe, expect, it } from 'vitest';
import { createOn, refusal, through } from '../../../../test/support/docker-filter.ts';
import { fullId } from '../../../../test/support/fake-docker-facts.ts';
import { PROJECT_LABEL } from './scope.ts';

describe('names and labels', () => {
  it.each(['f'.repeat(12), fullId('f'), 'ffff'])('cannot be the ID of another container: %s', async (name) => {
    await expect(through('POST', `/containers/tikv0/rename?name=${name}`)).rejects.toEqual(refusal('INVALID_INPUT'));
    await expect(through('POST', `/containers/create?name=${name}`, { Image: 'pingcap/tikv:v8.5.3' })).rejects.toEqual(
      refusal('INVALID_INPUT'),
    );
  });

  it('leaves a name that is taken to the daemon, whose answer clients know', async () => {
    await expect(through('POST', '/containers/tikv0/rename?name=bank')).resolves.toBeDefined();
  });

  it('claim no Compose project outside a label', async () => {
    const label = 'team=storage';
    const claim = (project: string) => ({ [PROJECT_LABEL]: project });
    await expect(through('POST', '/volumes/create', { Labels: claim('bank') }, { label })).rejects.toThrow('bank');
    await expect(through('POST', '/volumes/create', { Labels: claim('shop') }, { label })).resolves.toBeDefined();
    await expect(through('POST', '/networks/create', { Name: 'x', Labels: claim('bank') }, { label })).rejects.toEqual(
      refusal('INVALID_INPUT'),
    );
    const VolumeOptions = { Labels: claim('bank') };
    await expect(createOn({ Mounts: [{ Type: 'volume', Target: '/d', VolumeOptions }] })).rejects.toThrow('bank');
  });
});
