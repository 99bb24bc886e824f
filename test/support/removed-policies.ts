// Takes policies away and puts them back, for attacks that must succeed without them.

import * as z from 'zod';
import { apply, kubectl } from './live.ts';

const list = z.object({
  items: z.array(z.looseObject({ metadata: z.looseObject({ name: z.string() }) })),
});

/** Deletes all objects of a kind whose name matches. @returns what puts them back */
export async function removePolicies(kind: string, name: RegExp, namespace?: string): Promise<() => Promise<void>> {
  const place = namespace === undefined ? [] : ['-n', namespace];
  const all = list.parse(JSON.parse(await kubectl(...place, 'get', kind, '-o', 'json'))).items;
  const removed = all.filter(({ metadata }) => name.test(metadata.name));
  if (removed.length === 0) throw new Error(`there is no ${kind} whose name matches ${name}`);
  await kubectl(...place, 'delete', kind, ...removed.map(({ metadata }) => metadata.name));
  return async () => {
    for (const object of removed) {
      const { resourceVersion: _, uid: __, creationTimestamp: ___, managedFields: ____, ...metadata } = object.metadata;
      await apply({ ...object, metadata });
    }
  };
}
