// Records requests to a Docker host: a durable intent before forwarding, and an outcome.

import * as z from 'zod';
import {
  type Caller,
  describeIntent,
  type ForwardedRequest,
  type GatewayContext,
  type Intent,
  record,
} from '../door.ts';
import type { Passing } from './filter.ts';

const answered = z.looseObject({
  message: z.string().optional(),
  Id: z.string().optional(),
  Name: z.string().optional(),
});

/** Records an intent. Resolves when it is on disk. @throws AuditUnavailable */
export async function recordIntent(
  gateway: GatewayContext,
  caller: Caller,
  passing: Passing,
  { body }: ForwardedRequest,
  details: { host: string; userAgent?: string | undefined; protocol?: string },
): Promise<Intent> {
  const { lease } = caller;
  const key = `docker:${crypto.randomUUID()}`;
  const { request, target, text } = passing;
  const { host, userAgent, protocol } = details;
  const query = Object.fromEntries(request.query);
  const { operation, kind } = request.route;
  const what = { operation, host, ...target };
  // Creating an exec changes nothing. Starting it may.
  const harmless = kind !== 'write' || operation === 'exec.create';
  const content = `docker ${text}`;
  const explanation = await gateway.commands.explain(lease, caller.isGone());
  const receipt = await record(gateway, lease, 'gateway', {
    clientKey: key,
    kind: 'docker_intent',
    tool: 'docker',
    params: {
      ...what,
      ...explanation,
      ...(harmless ? { changes: false } : {}),
      ...(Object.keys(query).length === 0 ? {} : { query }),
      ...(userAgent === undefined ? {} : { userAgent }),
      ...(protocol === undefined ? {} : { protocol }),
      ...(request.route.body !== 'tar' || body.length === 0 ? {} : { bytes: body.length }),
    },
    content: describeIntent(content, explanation),
    ...(body.length <= 2 ? {} : shownBody(gateway, passing.shown, body)),
  });
  const started = performance.now();
  return {
    explanation,
    async outcome({ status, body: answer, isPartial = false, bytesIn, bytesOut, ended }) {
      const result = answer === undefined || isPartial ? undefined : parseAnswer(answer);
      const failed = status === null || status >= 400;
      const made = !failed && target.id === undefined ? result?.Id?.slice(0, 256) : undefined;
      const said = failed ? (result?.message ?? ended ?? '') : (ended ?? '');
      await record(gateway, lease, 'gateway', {
        clientKey: `${key}:outcome`,
        kind: 'docker_outcome',
        tool: 'docker',
        params: {
          ...what,
          intentSeq: receipt.seq,
          status,
          ...(made === undefined ? {} : { id: made }),
          ...(isPartial ? { isPartial } : {}),
          ...(bytesIn === undefined ? {} : { bytesIn }),
          ...(bytesOut === undefined ? {} : { bytesOut }),
          ...(ended === undefined ? {} : { ended }),
        },
        durationMs: Math.round(performance.now() - started),
        content: `${content}: ${status ?? 'no answer'}${said === '' ? '' : `, ${said}`}`,
      });
    },
  };
}

/** The body as text, or its summary with the digest of its bytes. */
function shownBody({ log }: Pick<GatewayContext, 'log'>, summary: string | undefined, body: Buffer) {
  const blob = summary ?? body.toString('utf8');
  return { blob, ...(body.equals(Buffer.from(blob)) ? {} : { rawBody: log.digester.of(body) }) };
}

function parseAnswer(body: Buffer): z.infer<typeof answered> | undefined {
  try {
    return answered.safeParse(JSON.parse(body.toString('utf8'))).data;
  } catch {
    // Some answers have no body, or one that is not JSON.
    return undefined;
  }
}
