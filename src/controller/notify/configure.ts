// Notifications as the chart sets them up: receivers from a file, URLs from a folder, a metric of what became of messages.

import { readFile } from 'node:fs/promises';
import { Counter, type Registry } from '../../observability/metrics.ts';
import type { NotifyOptions } from './notifier.ts';
import { parseReceivers, urlsFrom } from './receiver.ts';

/** @throws InvalidInput that names the field of the file that does not fit */
export async function configureNotifications(
  files: { readonly receiversFile: string; readonly urlsFolder: string },
  registry: Registry,
): Promise<NotifyOptions> {
  const { receiversFile, urlsFolder } = files;
  const receivers = parseReceivers(await readFile(receiversFile, 'utf8'), receiversFile);
  const messages = new Counter({
    name: 'oplab_notifications_total',
    help: 'Messages about the end of Incidents, by what became of each try.',
    labelNames: ['receiver', 'event', 'state'],
    registers: [registry],
  });
  return {
    receivers,
    urlOf: urlsFrom(urlsFolder),
    onSettled: ({ receiver, event, state }) => messages.inc({ receiver, event, state }),
  };
}
