// The reflector with a scripted server: what it requests, what it survives, what it reports.

import { describe, expect, it } from 'vitest';
import type { KubeObject, WatchEvent } from './client.ts';
import { KubeError } from './errors.ts';
import { Reflector, type ReflectorEvent } from './reflector.ts';
import { CONFIG_MAPS } from './resources.ts';

const object = (name: string, resourceVersion: string, data: object = {}): KubeObject => ({
  metadata: { name, namespace: 'n', resourceVersion },
  data,
});

type Script =
  | { readonly list: readonly KubeObject[]; readonly resourceVersion: string }
  | { readonly listFails: Error }
  | { readonly watch: readonly WatchEvent[]; readonly cut?: Error };

/** Plays the script. After its end, watches hang until they are aborted. */
function startServer(script: Script[]) {
  const calls: string[] = [];
  return {
    calls,
    client: {
      async list() {
        const next = script.shift();
        calls.push('list');
        if (next === undefined || 'watch' in next) throw new Error('the script wants a watch');
        if ('listFails' in next) throw next.listFails;
        return { items: [...next.list], resourceVersion: next.resourceVersion };
      },
      async *watch(_resource: unknown, options: { resourceVersion: string; signal: AbortSignal }) {
        calls.push(`watch ${options.resourceVersion}`);
        const next = script.shift();
        if (next === undefined) {
          await new Promise<void>((resolve) => options.signal.addEventListener('abort', () => resolve()));
          return;
        }
        if (!('watch' in next)) throw new Error('the script wants a list');
        yield* next.watch;
        if (next.cut !== undefined) throw next.cut;
      },
    },
  };
}

async function reflect(script: Script[], parse = (raw: KubeObject) => raw) {
  const { client, calls } = startServer(script);
  const events: ReflectorEvent<KubeObject>[] = [];
  const stop = new AbortController();
  const reflector = new Reflector({
    client,
    resource: CONFIG_MAPS,
    parse,
    onEvent: (event) => events.push(event),
    backoff: { baseMs: 1, maxMs: 2 },
  });
  reflector.start(stop.signal);
  await reflector.synced();
  const until = Date.now() + 3000;
  // At the end of the script, the last watch hangs.
  while (script.length > 0 && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 5));
  await new Promise((resolve) => setTimeout(resolve, 20));
  stop.abort();
  return { reflector, calls, reported: events.map((event) => `${event.type} ${event.key}`), events };
}

const list = (resourceVersion: string, ...items: KubeObject[]): Script => ({ list: items, resourceVersion });

describe('a reflector', () => {
  it('lists, then watches from there, and keeps its copy up to date', async () => {
    const { reflector, calls, reported } = await reflect([
      list('10', object('a', '1'), object('b', '2')),
      {
        watch: [
          { type: 'added', object: object('c', '11') },
          { type: 'modified', object: object('a', '12') },
          { type: 'deleted', object: object('b', '13') },
        ],
      },
    ]);
    expect(calls).toEqual(['list', 'watch 10', 'watch 13']);
    expect(reported).toEqual(['added n/a', 'added n/b', 'added n/c', 'modified n/a', 'deleted n/b']);
    expect(reflector.list().map((one) => one.metadata.name)).toEqual(['a', 'c']);
    expect(reflector.get('n/a')?.metadata.resourceVersion).toBe('12');
  });

  it('resumes from a bookmark if there was no other event', async () => {
    const { calls } = await reflect([list('10'), { watch: [{ type: 'bookmark', resourceVersion: '99' }] }]);
    expect(calls).toEqual(['list', 'watch 10', 'watch 99']);
  });

  it('resumes without listing after a cut connection', async () => {
    const cut = new KubeError(0, 'Unreachable', 'cut');
    const { calls } = await reflect([list('10'), { watch: [{ type: 'added', object: object('a', '11') }], cut }]);
    expect(calls).toEqual(['list', 'watch 10', 'watch 11']);
  });

  it('lists again when its resource version has expired, and reports what was deleted meanwhile', async () => {
    const { calls, reported } = await reflect([
      list('10', object('a', '1'), object('b', '2')),
      { watch: [], cut: new KubeError(410, 'Expired', 'too old') },
      list('50', object('b', '2'), object('c', '49')),
    ]);
    expect(calls).toEqual(['list', 'watch 10', 'list', 'watch 50']);
    expect(reported).toEqual(['added n/a', 'added n/b', 'added n/c', 'deleted n/a']);
  });

  it('tries again when the first list is refused', async () => {
    const { calls } = await reflect([
      { listFails: new KubeError(403, 'Forbidden', 'no') },
      { listFails: new KubeError(0, 'Unreachable', 'no') },
      list('10'),
    ]);
    expect(calls).toEqual(['list', 'list', 'list', 'watch 10']);
  });

  it('does not keep an object that can no longer be parsed', async () => {
    const parse = (raw: KubeObject) => {
      if (JSON.stringify(raw.data) !== '{}') throw new Error('does not fit');
      return raw;
    };
    const script = [
      list('10', object('a', '1')),
      { watch: [{ type: 'modified' as const, object: object('a', '11', { x: 1 }) }] },
    ];
    const { reflector, reported } = await reflect(script, parse);
    expect(reported).toEqual(['added n/a', 'deleted n/a']);
    expect(reflector.get('n/a')).toBeUndefined();
  });

  it('survives a handler that throws', async () => {
    const { client } = startServer([list('10', object('a', '1'), object('b', '2'))]);
    const stop = new AbortController();
    const reflector = new Reflector({
      client,
      resource: CONFIG_MAPS,
      parse: (raw) => raw,
      onEvent: () => {
        throw new Error('handler');
      },
    });
    reflector.start(stop.signal);
    await reflector.synced();
    expect(reflector.list()).toHaveLength(2);
    stop.abort();
  });

  it('rejects when it is stopped before the first list', async () => {
    const stop = new AbortController();
    const { client } = startServer([{ listFails: new Error('down') }]);
    const reflector = new Reflector({ client, resource: CONFIG_MAPS, parse: (raw) => raw });
    reflector.start(stop.signal);
    stop.abort();
    await expect(reflector.synced()).rejects.toThrow('stopped before the first list');
  });
});
