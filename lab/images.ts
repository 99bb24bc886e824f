// `npm run images`: makes the images of oplab and the patient and loads those that are missing.
//
// Examples:
//   npm run images

import { ensureOplabImages } from '../hack/images.ts';
import { main, runSteps } from '../hack/progress.ts';
import { patientImageSteps } from './patient/images.ts';

await main(async (signal) => {
  const oplabImages = {
    title: "oplab's images",
    expectedSeconds: 10,
    run: async ({ note }: { note(text: string): void }) => {
      const loaded = await ensureOplabImages(signal);
      note(loaded.length === 0 ? 'all are in the cluster' : `loaded ${loaded.length}`);
    },
  };
  await runSteps([...(await patientImageSteps(signal)), oplabImages], { signal });
  process.stdout.write('All images are in the cluster.\n');
  return 0;
});
