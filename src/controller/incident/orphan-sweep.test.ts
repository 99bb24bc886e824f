// Which objects count as orphans, and which must never be deleted.

import { describe, expect, it } from 'vitest';
import { at, attempt, begun, condition, incident, iso } from '../../../test/support/incident-fixtures.ts';
import { kubeObject } from '../../kube/object.ts';
import { PODS, type Resource } from '../../kube/resources.ts';
import { attemptLabels, incidentLabels } from './names.ts';
import { isOrphan, sweepOrphans } from './orphan-sweep.ts';

const object = (labels: Record<string, string>) => kubeObject.parse({ metadata: { name: 'x', labels } });
const all = (...incidents: ReturnType<typeof incident>[]) => new Map(incidents.map((one) => [one.metadata.uid, one]));
const first = incident({ status: begun([attempt(1)]) });

describe('an object with the labels of oplab', () => {
  it('is an orphan when its Incident is gone or finished', () => {
    expect(isOrphan(object(attemptLabels(first, 1)), all(), at(60))).toBe(true);
    const finished = incident({
      status: begun([attempt(1)], { conditions: [condition('Finished', 'True', 'Resolved')] }),
    });
    expect(isOrphan(object(attemptLabels(first, 1)), all(finished), at(60))).toBe(true);
  });

  it('is an orphan when its attempt has ended', () => {
    const ended = incident({ status: begun([attempt(1, { endTime: iso(1), reason: 'Interrupted' }), attempt(2)]) });
    expect(isOrphan(object(attemptLabels(ended, 1)), all(ended), at(60))).toBe(true);
    expect(isOrphan(object(attemptLabels(ended, 2)), all(ended), at(60))).toBe(false);
    expect(isOrphan(object(incidentLabels(ended)), all(ended), at(60))).toBe(false);
  });

  it('is left to the reconciler when its attempt has only just ended', () => {
    const ended = incident({ status: begun([attempt(1, { endTime: iso(50), reason: 'Claimed' })]) });
    expect(isOrphan(object(attemptLabels(ended, 1)), all(ended), at(60))).toBe(false);
  });

  it('is no orphan when its attempt is live or it has no UID of an Incident', () => {
    expect(isOrphan(object(attemptLabels(first, 1)), all(first), at(60))).toBe(false);
    expect(isOrphan(object({ app: 'other' }), all(), at(60))).toBe(false);
  });
});

describe('a sweep', () => {
  it.each([
    ['logs what it removed', true, ['orphan removed']],
    ['logs nothing when the reconciler was faster', false, []],
  ])('%s', async (_what, there, said) => {
    const messages: string[] = [];
    const warn = (_details: object, message: string) => void messages.push(message);
    const log = { debug: () => {}, info: () => {}, warn, error: warn };
    const pod = object(attemptLabels(first, 1));
    const client = {
      list: async (resource: Resource) => ({ items: resource === PODS ? [pod] : [], resourceVersion: '' }),
      delete: async () => there,
    };
    expect(await sweepOrphans(client, 'oplab-agents', log)).toBe(said.length);
    expect(messages).toEqual(said);
  });
});
