// Scenario 10: TiKV's image has a tag that no registry has.
import { lastPod, patchContainer, readPod, readSet, sameIdentity, tikvSet, waitForReason } from './objects.ts';
import type { Scenario } from './scenario.ts';

export const imageCannotBePulled: Scenario = {
  name: 'image-cannot-be-pulled',
  summary: 'A TiKV pod waits for its image',
  after: sameIdentity,
  async inject(context) {
    const { session } = context;
    const victim = await lastPod(session);
    const before = await readPod(session, victim);
    const { container } = await readSet(session, tikvSet(session));
    await patchContainer(session, { image: `${container.image.replace(/:[^/:]*$/, '')}:v0.0.0-none` });
    await waitForReason(context, victim, before?.metadata.uid, /ImagePullBackOff|ErrImagePull/);
  },
};
