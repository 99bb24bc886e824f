// Every recorded stream through the gateway's meter, the SDK's client and the agent's loop: what is
// run, sent back, charged and said.

import type { ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { runModelChain, type UpstreamReply } from '../support/model-chain.ts';
import { answerWith, claim } from './answers.ts';
import type { Case } from './recordings/events.ts';
import { RECORDINGS } from './recordings.ts';

/** How the bytes of a stream arrive: however that is, it is the same stream. */
const ARRIVALS = {
  'at once': { size: 1_000_000, padding: '' },
  'in pieces of 13 bytes': { size: 13, padding: '' },
  // The API pads some of its data.
  'padded, in pieces of 31 bytes': { size: 31, padding: '     ' },
} as const;

function write({ events }: Case, padding: string): Buffer {
  if (typeof events === 'string') return Buffer.from(events);
  const data = (event: object) => JSON.stringify(event).replace(/\}$/, `${padding}}`);
  const type = (event: object) => ('type' in event ? event.type : '');
  return Buffer.from(events.map((event) => `event: ${type(event)}\ndata: ${data(event)}\n\n`).join(''));
}

const stream =
  (recorded: Case, { size, padding }: { size: number; padding: string }): UpstreamReply =>
  async (response: ServerResponse) => {
    const bytes = write(recorded, padding);
    response.writeHead(200, {
      'content-type': recorded.contentType ?? 'text/event-stream; charset=utf-8',
      'request-id': 'req_recorded',
    });
    response.flushHeaders();
    for (let at = 0; at < bytes.length; at += size) {
      response.write(bytes.subarray(at, at + size));
      if (size < bytes.length) await setImmediate();
    }
    // Not in the same segment as the data, which the reset would take along.
    if (recorded.reset !== true) response.end();
    else setTimeout(() => response.socket?.resetAndDestroy(), 50);
  };

describe.concurrent.each(Object.entries(RECORDINGS))('%s', (_kind, cases) => {
  describe.each(Object.entries(ARRIVALS))('%s', (_arrival, arrival) => {
    it.each(cases.map((recorded) => [recorded.name, recorded] as const))('%s', async (_name, recorded) => {
      const { verdict, run = [], replay, charge, outputAtMost, isTurn, says, refusal } = recorded.expect;
      const isEnd = typeof verdict === 'object';
      const replies = [stream(recorded, arrival), ...(isEnd ? [] : [answerWith(claim)])];
      const { asked, commands, conclusions, report, charges, entries, troubles, refusals } = await runModelChain({
        replies,
      });

      expect(commands).toEqual(run);
      expect(refusals).toEqual([]);
      if (isEnd) {
        expect(report).toMatchObject({ code: verdict.code, ...(refusal === undefined ? {} : { refusal }) });
        expect(asked).toHaveLength(verdict.questions);
        expect(conclusions).toEqual([]);
      } else {
        expect(report).toBeUndefined();
        expect(conclusions).toHaveLength(1);
        expect(asked).toHaveLength(2);
        expect(asked[1]?.messages.slice(0, 1)).toEqual(asked[0]?.messages.map(withoutMark));
      }
      if (verdict === 'again') {
        expect(asked[1]).toEqual(asked[0]);
        // Its Incident says so while it lasts.
        expect(troubles).toEqual([expect.stringMatching(/^[A-Z]/), 'none']);
      } else if (!isEnd) expect(troubles).toEqual(['none', 'none']);
      else if (asked.length === 1) expect(troubles).toEqual(['none']);
      if (replay !== undefined) {
        const sentBack = asked[1]?.messages[1];
        const content = sentBack?.role === 'assistant' && Array.isArray(sentBack.content) ? sentBack.content : [];
        expect(content.map(({ type }) => type)).toEqual(replay);
      }
      if (charge === 'nothing') expect(charges[0]).toMatchObject({ costMicroUSD: 0, turn: false });
      else if (charge !== undefined) {
        const [inputTokens, cacheWriteTokens, cacheReadTokens, outputTokens] = charge;
        expect(charges[0]).toMatchObject({ inputTokens, cacheWriteTokens, cacheReadTokens, outputTokens });
      }
      if (outputAtMost !== undefined) expect(charges[0]?.outputTokens).toBeLessThanOrEqual(outputAtMost);
      if (isTurn === true) expect(charges[0]?.turn).toBe(true);
      if (says !== undefined) expect(`${report?.message}\n${JSON.stringify(asked[1])}`).toMatch(says);
      // A question that is not on record was not asked.
      expect(entries.filter(({ kind }) => kind === 'model_call').length).toBeGreaterThanOrEqual(asked.length);
    });
  });
});

/** The first message had a mark for the cache, and may have none any more. */
function withoutMark(turn: unknown): unknown {
  return JSON.parse(JSON.stringify(turn));
}
