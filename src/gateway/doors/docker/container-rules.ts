// What each operation on a container may do to one that has access to its host. Pure.
//
// A signal that may do more than end a program is for containers without access to the host.
//
// The contents of such a container are those of its host: it may mount it, or share its processes.

import type { ContainerOperation } from './allowed-routes.ts';

/**
 * - `contents`: reads or changes the contents of a container, so it must be without access to the
 *   host.
 * - `starts`: makes a container run its files again, so it must not have access to the host and
 *   files that the agent can write.
 * - `any`: gives only the configuration, the state or the output.
 */
export type ContainerRule = 'contents' | 'starts' | 'any';

/** An operation on a container or on an exec instance that is not listed here does not compile. */
export const CONTAINER_RULES: Readonly<Record<ContainerOperation, { rule: ContainerRule; why: string }>> = {
  'container.inspect': { rule: 'any', why: 'the configuration, which the owner has written' },
  'container.logs': { rule: 'any', why: 'what the container chose to print' },
  'container.stats': { rule: 'any', why: 'numbers' },
  'container.wait': { rule: 'any', why: 'an exit code' },
  'container.resize': { rule: 'any', why: 'the size of a terminal' },
  'container.stop': { rule: 'any', why: 'runs nothing; with a signal, it is a kill' },
  'container.pause': { rule: 'any', why: 'runs nothing' },
  'container.unpause': { rule: 'any', why: 'continues what ran before' },
  'container.remove': { rule: 'any', why: 'runs nothing; not if it leaves a volume of the scope' },
  'container.rename': { rule: 'contents', why: 'what the host runs by that name would reach another container' },
  'container.top': { rule: 'contents', why: 'command lines, and with "e" the environment, of processes' },
  'container.changes': { rule: 'contents', why: 'names of files' },
  'container.attach': { rule: 'contents', why: 'input to its process' },
  'container.stat': { rule: 'contents', why: 'names, sizes and link targets of files' },
  'container.copy-out': { rule: 'contents', why: 'files' },
  'container.copy-in': { rule: 'contents', why: 'writes files' },
  'container.start': { rule: 'starts', why: 'runs what is in its volumes' },
  'container.restart': { rule: 'starts', why: 'runs what is in its volumes' },
  'container.kill': { rule: 'starts', why: 'a signal may make it read its files again' },
  'container.update': { rule: 'starts', why: 'a restart policy starts it' },
  'exec.create': { rule: 'contents', why: 'runs a command' },
  'exec.start': { rule: 'contents', why: 'runs a command' },
  'exec.inspect': { rule: 'any', why: 'the command line and the exit code' },
  'exec.resize': { rule: 'any', why: 'the size of a terminal' },
};
