// The record of what the API server was asked: an intent, durable before anything is forwarded, and what came of it.

import { z } from 'zod';
import { type Caller, type GatewayContext, type Intent, record } from '../door.ts';
import { type CanonicalBody, recordedBody } from './body.ts';
import { describeRequest, type KubeRequest } from './classify.ts';
import { secretBody } from './secret-body.ts';

const answered = z.looseObject({
  kind: z.string().optional(),
  reason: z.string().optional(),
  message: z.string().optional(),
  metadata: z
    .looseObject({
      name: z.string().optional(),
      namespace: z.string().optional(),
      uid: z.string().optional(),
      resourceVersion: z.string().optional(),
      generation: z.number().optional(),
    })
    .optional(),
});

/** Puts an intent on record. Resolves when it is on disk. @throws AuditUnavailable */
export async function recordIntent(
  gateway: GatewayContext,
  { lease }: Caller,
  request: KubeRequest,
  details: {
    body?: CanonicalBody;
    userAgent?: string | undefined;
    protocol?: string;
    method?: string;
  },
): Promise<Intent> {
  const key = `kube:${crypto.randomUUID()}`;
  const { verb, group, version, resource, namespace, name, subresource, dryRun, path } = request;
  const query = Object.fromEntries(
    [...new Set(request.query.keys())].map((parameter) => [
      parameter,
      request.query.getAll(parameter).map((value) => value.slice(0, 8192)),
    ]),
  );
  const command = subresource === 'exec' ? request.query.getAll('command') : [];
  const target = {
    verb,
    ...(resource === undefined ? { path: path.slice(0, 2048) } : { group, version, resource }),
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(subresource === undefined ? {} : { subresource }),
  };
  const text = `${describeRequest(request)}${command.length === 0 ? '' : `: ${command.join(' ')}`}`;
  const { body = { type: 'none' }, userAgent, protocol, method } = details;
  const secret = resource === 'secrets';
  const shown = recordedBody(body, secret);
  const receipt = await record(gateway, lease, 'gateway', {
    clientKey: key,
    kind: 'kube_intent',
    tool: 'kube',
    params: {
      ...target,
      ...(dryRun ? { dryRun } : {}),
      ...(Object.keys(query).length === 0 ? {} : { query }),
      ...(body.type === 'none' ? {} : { contentType: body.contentType }),
      ...(userAgent === undefined ? {} : { userAgent: userAgent.slice(0, 256) }),
      ...(protocol === undefined ? {} : { protocol }),
      // Of what connects, the verb does not tell it.
      ...(verb !== 'connect' || method === undefined ? {} : { method }),
    },
    content: text.slice(0, 4096),
    ...(shown === undefined ? {} : { blob: shown }),
  });
  const started = performance.now();
  return {
    async outcome({ status, body: answer, bytesIn, bytesOut, ended }) {
      const result = answer === undefined ? undefined : parseAnswer(answer);
      const meta = result?.metadata;
      const failed = status === null || status >= 400;
      const named = target.name === undefined && meta?.name !== undefined && !failed ? ` ${meta.name}` : '';
      const said = failed ? (result?.message ?? ended ?? '') : (ended ?? '');
      await record(gateway, lease, 'gateway', {
        clientKey: `${key}:outcome`,
        kind: 'kube_outcome',
        tool: 'kube',
        params: {
          ...target,
          intentSeq: receipt.seq,
          status,
          ...(result?.reason === undefined || !failed ? {} : { reason: result.reason }),
          ...(meta === undefined || failed
            ? {}
            : {
                object: {
                  ...(meta.name === undefined ? {} : { name: meta.name }),
                  ...(meta.uid === undefined ? {} : { uid: meta.uid }),
                  ...(meta.resourceVersion === undefined ? {} : { resourceVersion: meta.resourceVersion }),
                  ...(meta.generation === undefined ? {} : { generation: meta.generation }),
                },
              }),
          ...(bytesIn === undefined ? {} : { bytesIn }),
          ...(bytesOut === undefined ? {} : { bytesOut }),
          ...(ended === undefined ? {} : { ended }),
        },
        durationMs: Math.round(performance.now() - started),
        // What became of the object, as the API server tells it.
        ...(meta === undefined || failed || answer === undefined
          ? {}
          : { blob: secret ? secretBody(result) : answer.toString('utf8') }),
        content: `${describeRequest(request)}${named}: ${status ?? 'no answer'}${said === '' ? '' : `, ${said}`}`.slice(
          0,
          4096,
        ),
      });
    },
  };
}

function parseAnswer(body: Buffer): z.infer<typeof answered> | undefined {
  try {
    return answered.safeParse(JSON.parse(body.toString('utf8'))).data;
  } catch {
    // A table, protobuf, or text: the status says enough.
    return undefined;
  }
}
