// Configures notifications from the chart's files: receivers, their URLs, and a metric of messages.

import { readFile } from 'node:fs/promises';
import { Counter, type Registry } from '../../observability/metrics.ts';
import type { NotifyOptions } from './notifier.ts';
import { parseReceivers, readUrlsFrom } from './receiver.ts';

/** @throws InvalidInput that names the invalid field of the file */
export async function configureNotifications(
  files: { readonly receiversFile: string; readonly urlsFolder: string },
  registry: Registry,
): Promise<NotifyOptions> {
  const { receiversFile, urlsFolder } = files;
  const receivers = parseReceivers(await readFile(receiversFile, 'utf8'), receiversFile);
  const messages = new Counter({
    name: 'oplab_notifications_total',
    help: 'Messages about the end of Incidents, by the result of each try.',
    labelNames: ['receiver', 'event', 'state'],
    registers: [registry],
  });
  return {
    receivers,
    readUrl: readUrlsFrom(urlsFolder),
    onSettled: ({ receiver, event, state }) => messages.inc({ receiver, event, state }),
  };
}
