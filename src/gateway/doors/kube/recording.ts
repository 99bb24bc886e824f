// Records requests to the API server: a durable intent and what was there before forwarding, and an
// outcome.

import * as z from 'zod';
import type { RawDigest } from '../../../audit/raw-digest.ts';
import {
  type Caller,
  describeIntent,
  type ForwardedRequest,
  type GatewayContext,
  type Intent,
  record,
} from '../door.ts';
import { AUDIT_ID } from './audit-id.ts';
import { type Before, changedFields, describeBefore } from './before.ts';
import { canonicalBody, recordedBody } from './body.ts';
import { classify, describeRequest, type KubeRequest, withBody } from './classify.ts';
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

/** What the request itself does not say. */
export interface IntentDetails {
  /** Of an upgrade. */
  readonly protocol?: string;
  /** Of a body that was not parsed, because the request is refused. */
  readonly unread?: RawDigest;
  /** Reads what a write is going to change, once its intent is on disk. Never throws. */
  readonly readBefore?: (request: KubeRequest) => Promise<Before | undefined>;
}

/** In the outcome of a write whose answer was not kept whole. */
const TOO_LARGE = 'the answer is too large to be recorded whole';

/**
 * Records an intent, and what its write is going to change. Everything in the intent is read from
 * the request as it is forwarded. Resolves when it is on disk.
 * @throws AuditUnavailable; NotAllowed, TooLarge for a body that cannot be recorded
 */
export async function recordIntent(
  gateway: GatewayContext,
  caller: Caller,
  { method, path: forwardedPath, headers, body }: ForwardedRequest,
  { protocol, unread, readBefore }: IntentDetails = {},
): Promise<Intent> {
  const { lease } = caller;
  const contentType = body.length > 0 || unread !== undefined ? headers['content-type']?.toString() : undefined;
  const userAgent = headers['user-agent']?.toString();
  const auditID = headers[AUDIT_ID]?.toString();
  const asked = classify(method, forwardedPath);
  const secret = asked.resource === 'secrets';
  const read = canonicalBody(body, contentType, undefined, secret);
  const shown = recordedBody(read, secret);
  // A body that was not read could say something else than the query.
  const request = unread === undefined ? withBody(asked, read) : { ...asked, dryRun: false };
  const key = `kube:${crypto.randomUUID()}`;
  const { verb, group, version, resource, namespace, name, subresource, dryRun, path, rest } = request;
  const query = Object.fromEntries(
    [...new Set(request.query.keys())].map((parameter) => [parameter, request.query.getAll(parameter)]),
  );
  const command = subresource === 'exec' ? request.query.getAll('command') : [];
  const target = {
    verb,
    ...(resource === undefined ? {} : { group, version, resource }),
    ...(resource === undefined || rest !== undefined ? { path } : {}),
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(subresource === undefined ? {} : { subresource }),
  };
  const details = subresource === 'proxy' ? [method, rest ?? '/'] : [...(rest === undefined ? [] : [rest]), ...command];
  const text = `${describeRequest(request)}${details.length === 0 ? '' : `: ${details.join(' ')}`}`;
  const others = otherHeaders(headers);
  const explanation = await gateway.commands.explain(lease, caller.isGone());
  const receipt = await record(gateway, lease, 'gateway', {
    clientKey: key,
    kind: 'kube_intent',
    tool: 'kube',
    params: {
      ...target,
      ...explanation,
      ...(dryRun ? { dryRun } : {}),
      ...(Object.keys(query).length === 0 ? {} : { query }),
      ...(contentType === undefined ? {} : { contentType }),
      ...(userAgent === undefined ? {} : { userAgent }),
      ...(protocol === undefined ? {} : { protocol }),
      ...(Object.keys(others).length === 0 ? {} : { headers: others }),
      // Only what is forwarded is in the API server's log.
      ...(auditID === undefined || 'unexplained' in explanation ? {} : { auditID }),
      ...(unread === undefined ? {} : { unreadBytes: unread.bytes }),
      // The verb `connect` does not say which method was used.
      ...(verb !== 'connect' || protocol !== undefined ? {} : { method }),
    },
    content: describeIntent(text, explanation),
    ...shownBody(gateway, shown, body),
    ...(unread === undefined ? {} : { rawBody: unread }),
  });
  const before = await readBefore?.(request);
  for (const [index, facts] of before === undefined ? [] : describeBefore(before, secret).entries()) {
    await record(gateway, lease, 'gateway', {
      ...facts,
      // What is shown of a Secret is not all of it: a keyed digest stands for the rest.
      ...(secret && before?.state === 'present'
        ? { rawBody: gateway.log.digester.of(Buffer.from(JSON.stringify(before.object))) }
        : {}),
      clientKey: `${key}:before:${index + 1}`,
      kind: 'kube_before',
      tool: 'kube',
      params: { ...target, intentSeq: receipt.seq, ...facts.params },
      content: `before ${text}: ${facts.content}`,
    });
  }
  const started = performance.now();
  return {
    explanation,
    async outcome({ status, body: answer, isPartial = false, bytesIn, bytesOut, ended }) {
      const result = answer === undefined || isPartial ? undefined : parseAnswer(answer);
      const meta = result?.metadata;
      const failed = status === null || status >= 400;
      const named = target.name === undefined && meta?.name !== undefined && !failed ? ` ${meta.name}` : '';
      const said = failed ? (result?.message ?? ended ?? '') : (ended ?? (isPartial ? TOO_LARGE : ''));
      const changed =
        failed || isPartial || answer === undefined
          ? undefined
          : changedFields(before, answer.toString('utf8'), subresource);
      const shown = failed || answer === undefined ? undefined : showAnswer(answer, secret, isPartial, result);
      await record(gateway, lease, 'gateway', {
        clientKey: `${key}:outcome`,
        kind: 'kube_outcome',
        tool: 'kube',
        params: {
          ...target,
          intentSeq: receipt.seq,
          status,
          ...(result?.reason === undefined || !failed ? {} : { reason: short(result.reason) }),
          ...(meta === undefined || failed
            ? {}
            : {
                object: {
                  ...(meta.name === undefined ? {} : { name: short(meta.name) }),
                  ...(meta.uid === undefined ? {} : { uid: short(meta.uid) }),
                  ...(meta.resourceVersion === undefined ? {} : { resourceVersion: short(meta.resourceVersion) }),
                  ...(meta.generation === undefined ? {} : { generation: meta.generation }),
                },
              }),
          ...(changed === undefined ? {} : { changed }),
          ...(isPartial ? { isPartial } : {}),
          ...(bytesIn === undefined ? {} : { bytesIn }),
          ...(bytesOut === undefined ? {} : { bytesOut }),
          ...(ended === undefined ? {} : { ended }),
        },
        durationMs: Math.round(performance.now() - started),
        ...(answer === undefined ? {} : shownBody(gateway, shown, isPartial ? undefined : answer)),
        content: `${describeRequest(request)}${named}: ${status ?? 'no answer'}${said === '' ? '' : `, ${said}`}`,
      });
    },
  };
}

/** Headers that say nothing about what a request does, and those that have a field of their own. */
const ORDINARY_HEADERS: ReadonlySet<string> = new Set([
  'accept',
  'accept-encoding',
  'connection',
  'content-length',
  'content-type',
  'user-agent',
  'upgrade',
  'sec-websocket-key',
  'sec-websocket-version',
  'sec-websocket-extensions',
  'sec-websocket-protocol',
  'x-stream-protocol-version',
  'kubectl-command',
  'kubectl-session',
  AUDIT_ID,
]);

/** What the server behind a proxy or an aggregated API may obey. */
function otherHeaders(headers: ForwardedRequest['headers']): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined || ORDINARY_HEADERS.has(name) ? [] : [[name, String(value)]],
    ),
  );
}

/** Of an answer, which a pod behind a proxy may have written. The API server's own texts are shorter. */
function short(text: string): string {
  return text.slice(0, 256);
}

/**
 * The body as the entry shows it, with the digest of its bytes if the entry shows something else.
 * @param body undefined if only a part of it was kept
 */
function shownBody({ log }: Pick<GatewayContext, 'log'>, shown: string | undefined, body: Buffer | undefined) {
  const isShown = body === undefined || body.length === 0 || (shown !== undefined && body.equals(Buffer.from(shown)));
  return {
    ...(shown === undefined ? {} : { blob: shown }),
    ...(isShown ? {} : { rawBody: log.digester.of(body) }),
  };
}

/** The resulting object, as returned by the API server, or the beginning of a large answer. */
function showAnswer(
  answer: Buffer,
  secret: boolean,
  isPartial: boolean,
  result: z.infer<typeof answered> | undefined,
): string | undefined {
  // A part of a Secret cannot be parsed, so its values could not be left out.
  if (isPartial) return secret ? undefined : answer.toString('utf8');
  if (result?.metadata === undefined) return undefined;
  return secret ? secretBody(result) : answer.toString('utf8');
}

function parseAnswer(body: Buffer): z.infer<typeof answered> | undefined {
  try {
    return answered.safeParse(JSON.parse(body.toString('utf8'))).data;
  } catch {
    // The answer is a table, protobuf or text. The status is enough.
    return undefined;
  }
}
