// Reduces answers about a whole Docker host to the scope, even if the host has filtered them.

import * as z from 'zod';
import { UpstreamUnavailable } from '../../../errors.ts';
import type { ScopeImages } from './facts.ts';
import type { Reduction } from './filter.ts';
import { labels, owns, type Scope } from './scope.ts';
import { ownsImage } from './scoped-objects.ts';

const labelled = z.looseObject({ Labels: labels });
const list = z
  .array(labelled)
  .nullable()
  .transform((items) => items ?? []);
const volumeList = z.looseObject({
  Volumes: z
    .array(labelled)
    .nullish()
    .transform((items) => items ?? []),
});
const imageList = z
  .array(
    z.looseObject({
      Id: z.string(),
      RepoTags: z.array(z.string()).nullish(),
      RepoDigests: z.array(z.string()).nullish(),
      Labels: labels,
    }),
  )
  .nullable()
  .transform((items) => items ?? []);
const info = z.record(z.string(), z.json());

/**
 * Fields of a host's description that clients use. The others describe other workloads or its
 * network.
 */
const INFO = [
  ...['ID', 'Name', 'ServerVersion', 'OSType', 'OSVersion', 'OperatingSystem', 'Architecture', 'KernelVersion'],
  ...['NCPU', 'MemTotal', 'Driver', 'LoggingDriver', 'CgroupDriver', 'CgroupVersion', 'DefaultRuntime'],
  ...['SystemTime', 'SecurityOptions', 'Plugins', 'MemoryLimit', 'SwapLimit', 'PidsLimit', 'IPv4Forwarding'],
];

/** @throws UpstreamUnavailable if the answer does not have the expected form */
export function reduceAnswer(reduction: Reduction, body: Buffer, scope: Scope, images: ScopeImages): Buffer {
  const write = (value: unknown) => Buffer.from(`${JSON.stringify(value)}\n`);
  try {
    const content: unknown = JSON.parse(body.toString('utf8'));
    switch (reduction) {
      case 'containers':
      case 'networks':
        return write(list.parse(content).filter(({ Labels }) => owns(scope, Labels)));
      case 'volumes': {
        const volumes = volumeList.parse(content);
        return write({ ...volumes, Volumes: volumes.Volumes.filter(({ Labels }) => owns(scope, Labels)) });
      }
      case 'images':
        return write(
          imageList
            .parse(content)
            .filter(({ Id, RepoTags, RepoDigests, Labels }) =>
              ownsImage(
                scope,
                { id: Id, references: [...(RepoTags ?? []), ...(RepoDigests ?? [])], labels: Labels },
                images,
              ),
            ),
        );
      case 'info': {
        const hostInfo = info.parse(content);
        return write({
          ...Object.fromEntries(INFO.filter((key) => key in hostInfo).map((key) => [key, hostInfo[key]])),
          // Clients check whether the host is part of a swarm. To them, it is not.
          Swarm: { LocalNodeState: 'inactive' },
        });
      }
    }
  } catch (error) {
    throw new UpstreamUnavailable("the Docker host's answer does not have the expected form", error);
  }
}
