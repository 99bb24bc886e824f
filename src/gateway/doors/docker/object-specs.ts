// The fields of request bodies for exec instances, networks and volumes. Pure.

import * as z from 'zod';
import { endpoint } from './container-spec.ts';
import { goObject } from './go-object.ts';

const strings = z.array(z.string());
const stringMap = z.record(z.string(), z.string());

export const execSpec = goObject({
  AttachStdin: z.boolean().optional(),
  AttachStdout: z.boolean().optional(),
  AttachStderr: z.boolean().optional(),
  DetachKeys: z.string().optional(),
  Detach: z.boolean().optional(),
  Tty: z.boolean().optional(),
  ConsoleSize: z.array(z.number().int()).optional(),
  Env: strings.optional(),
  Cmd: z.union([z.string(), strings]).optional(),
  User: z.string().optional(),
  WorkingDir: z.string().optional(),
  Privileged: z.boolean().optional(),
});

export const execStart = goObject({
  Detach: z.boolean().optional(),
  Tty: z.boolean().optional(),
  ConsoleSize: z.array(z.number().int()).optional(),
});

export const connectSpec = goObject({ Container: z.string(), EndpointConfig: endpoint.optional() });
export const disconnectSpec = goObject({ Container: z.string(), Force: z.boolean().optional() });

export const networkSpec = goObject({
  Name: z.string(),
  CheckDuplicate: z.boolean().optional(),
  Driver: z.string().optional(),
  Scope: z.string().optional(),
  EnableIPv4: z.boolean().optional(),
  EnableIPv6: z.boolean().optional(),
  Internal: z.boolean().optional(),
  Attachable: z.boolean().optional(),
  IPAM: goObject({
    Driver: z.enum(['', 'default']).optional(),
    Config: z
      .array(
        goObject({
          Subnet: z.string().optional(),
          IPRange: z.string().optional(),
          Gateway: z.string().optional(),
          AuxiliaryAddresses: stringMap.optional(),
        }),
      )
      .optional(),
  }).optional(),
  Options: stringMap.optional(),
  Labels: stringMap.optional(),
});

export const volumeSpec = goObject({
  Name: z.string().optional(),
  Driver: z.string().optional(),
  DriverOpts: stringMap.optional(),
  Labels: stringMap.optional(),
});
