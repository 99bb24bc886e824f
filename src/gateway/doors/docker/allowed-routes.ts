// The closed list of requests to the Docker API that the door allows, with what each of them may
// carry.
//
// Not on the list, and so refused: swarm, plugins, build, commit, import, export, prune, sessions,
// and whatever the API adds later.

export interface Route {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  /** The path. A segment in braces is the name of an object. */
  readonly pattern: string;
  readonly operation: Operation;
  /**
   * - `read`: changes nothing and is not recorded.
   * - `private`: reads the contents of a container. Its intent is recorded.
   * - `write`: may change something. Recorded before and after.
   */
  readonly kind: 'read' | 'private' | 'write';
  /** Query parameters that are forwarded. Any other is refused. */
  readonly query?: readonly string[];
  readonly body?: 'json' | 'tar';
  /** Whether the answer continues until the caller leaves. */
  readonly follows?: boolean;
  /** Whether the connection becomes a raw stream in both directions. */
  readonly hijacks?: boolean;
}

const LOGS = ['follow', 'stdout', 'stderr', 'since', 'until', 'timestamps', 'tail', 'details'];

const TABLE = [
  { method: 'GET', pattern: '/_ping', operation: 'ping', kind: 'read' },
  { method: 'HEAD', pattern: '/_ping', operation: 'ping', kind: 'read' },
  { method: 'GET', pattern: '/version', operation: 'version', kind: 'read' },
  { method: 'GET', pattern: '/info', operation: 'info', kind: 'read' },
  {
    method: 'GET',
    pattern: '/events',
    operation: 'events',
    kind: 'read',
    query: ['since', 'until', 'filters'],
    follows: true,
  },

  {
    method: 'GET',
    pattern: '/containers/json',
    operation: 'container.list',
    kind: 'read',
    query: ['all', 'limit', 'size', 'filters'],
  },
  {
    method: 'POST',
    pattern: '/containers/create',
    operation: 'container.create',
    kind: 'write',
    query: ['name', 'platform'],
    body: 'json',
  },
  {
    method: 'GET',
    pattern: '/containers/{container}/json',
    operation: 'container.inspect',
    kind: 'read',
    query: ['size'],
  },
  {
    method: 'GET',
    pattern: '/containers/{container}/top',
    operation: 'container.top',
    kind: 'read',
    query: ['ps_args'],
  },
  { method: 'GET', pattern: '/containers/{container}/changes', operation: 'container.changes', kind: 'read' },
  {
    method: 'GET',
    pattern: '/containers/{container}/logs',
    operation: 'container.logs',
    kind: 'read',
    query: LOGS,
    follows: true,
  },
  {
    method: 'GET',
    pattern: '/containers/{container}/stats',
    operation: 'container.stats',
    kind: 'read',
    query: ['stream', 'one-shot'],
    follows: true,
  },
  {
    method: 'POST',
    pattern: '/containers/{container}/wait',
    operation: 'container.wait',
    kind: 'read',
    query: ['condition'],
    follows: true,
  },
  {
    method: 'POST',
    pattern: '/containers/{container}/resize',
    operation: 'container.resize',
    kind: 'read',
    query: ['h', 'w'],
  },
  {
    method: 'POST',
    pattern: '/containers/{container}/start',
    operation: 'container.start',
    kind: 'write',
    query: ['detachKeys'],
  },
  {
    method: 'POST',
    pattern: '/containers/{container}/stop',
    operation: 'container.stop',
    kind: 'write',
    query: ['t', 'signal'],
  },
  {
    method: 'POST',
    pattern: '/containers/{container}/restart',
    operation: 'container.restart',
    kind: 'write',
    query: ['t', 'signal'],
  },
  {
    method: 'POST',
    pattern: '/containers/{container}/kill',
    operation: 'container.kill',
    kind: 'write',
    query: ['signal'],
  },
  { method: 'POST', pattern: '/containers/{container}/pause', operation: 'container.pause', kind: 'write' },
  { method: 'POST', pattern: '/containers/{container}/unpause', operation: 'container.unpause', kind: 'write' },
  {
    method: 'POST',
    pattern: '/containers/{container}/rename',
    operation: 'container.rename',
    kind: 'write',
    query: ['name'],
  },
  {
    method: 'POST',
    pattern: '/containers/{container}/update',
    operation: 'container.update',
    kind: 'write',
    body: 'json',
  },
  {
    method: 'DELETE',
    pattern: '/containers/{container}',
    operation: 'container.remove',
    kind: 'write',
    query: ['v', 'force'],
  },
  {
    method: 'POST',
    pattern: '/containers/{container}/attach',
    operation: 'container.attach',
    kind: 'write',
    query: ['detachKeys', 'logs', 'stream', 'stdin', 'stdout', 'stderr'],
    follows: true,
    hijacks: true,
  },
  {
    method: 'HEAD',
    pattern: '/containers/{container}/archive',
    operation: 'container.stat',
    kind: 'private',
    query: ['path'],
  },
  {
    method: 'GET',
    pattern: '/containers/{container}/archive',
    operation: 'container.copy-out',
    kind: 'private',
    query: ['path'],
  },
  {
    method: 'PUT',
    pattern: '/containers/{container}/archive',
    operation: 'container.copy-in',
    kind: 'write',
    query: ['path', 'noOverwriteDirNonDir', 'copyUIDGID'],
    body: 'tar',
  },
  { method: 'POST', pattern: '/containers/{container}/exec', operation: 'exec.create', kind: 'write', body: 'json' },
  { method: 'GET', pattern: '/exec/{exec}/json', operation: 'exec.inspect', kind: 'read' },
  { method: 'POST', pattern: '/exec/{exec}/resize', operation: 'exec.resize', kind: 'read', query: ['h', 'w'] },
  {
    method: 'POST',
    pattern: '/exec/{exec}/start',
    operation: 'exec.start',
    kind: 'write',
    body: 'json',
    follows: true,
    hijacks: true,
  },

  { method: 'GET', pattern: '/networks', operation: 'network.list', kind: 'read', query: ['filters'] },
  { method: 'POST', pattern: '/networks/create', operation: 'network.create', kind: 'write', body: 'json' },
  {
    method: 'GET',
    pattern: '/networks/{network}',
    operation: 'network.inspect',
    kind: 'read',
    query: ['verbose', 'scope'],
  },
  { method: 'POST', pattern: '/networks/{network}/connect', operation: 'network.connect', kind: 'write', body: 'json' },
  {
    method: 'POST',
    pattern: '/networks/{network}/disconnect',
    operation: 'network.disconnect',
    kind: 'write',
    body: 'json',
  },
  { method: 'DELETE', pattern: '/networks/{network}', operation: 'network.remove', kind: 'write' },

  { method: 'GET', pattern: '/volumes', operation: 'volume.list', kind: 'read', query: ['filters'] },
  { method: 'POST', pattern: '/volumes/create', operation: 'volume.create', kind: 'write', body: 'json' },
  { method: 'GET', pattern: '/volumes/{volume}', operation: 'volume.inspect', kind: 'read' },
  { method: 'DELETE', pattern: '/volumes/{volume}', operation: 'volume.remove', kind: 'write', query: ['force'] },

  {
    method: 'GET',
    pattern: '/images/json',
    operation: 'image.list',
    kind: 'read',
    query: ['all', 'filters', 'digests', 'shared-size'],
  },
  {
    method: 'POST',
    pattern: '/images/create',
    operation: 'image.pull',
    kind: 'write',
    query: ['fromImage', 'tag', 'platform'],
    follows: true,
  },
  { method: 'GET', pattern: '/images/{image}/json', operation: 'image.inspect', kind: 'read' },
  { method: 'GET', pattern: '/images/{image}/history', operation: 'image.history', kind: 'read' },
] as const satisfies readonly (Omit<Route, 'operation'> & { operation: string })[];

export type Operation = (typeof TABLE)[number]['operation'];
/** The operations on a container, or on a command in one. */
export type ContainerOperation = Extract<
  (typeof TABLE)[number],
  { pattern: `${string}{container}${string}` | `${string}{exec}${string}` }
>['operation'];
/** All requests that the door allows. */
export const ROUTES: readonly Route[] = TABLE;
