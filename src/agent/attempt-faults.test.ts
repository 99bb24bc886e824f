// An attempt while the audit log, the model or a call fails: what is retried, and what ends it.

import { describe, expect, it } from 'vitest';
import {
  apiError,
  attempt,
  type Content,
  conclude,
  events,
  kinds,
  modelRequest,
  type Reply,
  shell,
} from '../../test/support/attempt-harness.ts';
import { refuse } from '../../test/support/fake-gateway.ts';
import { paths } from '../gateway/protocol.ts';

describe('while the audit log cannot take entries', () => {
  it('no command runs, and the same entry is sent again', async () => {
    const refusals: number[] = [];
    const keys: number[] = [];
    const { gateway, started } = await attempt({
      replies: [{ content: [shell('careful')] }, { content: [conclude()] }],
      fault: (at, response, count) => {
        if (at !== paths.entries) return false;
        keys.push(count);
        // The first entry reports the isolation probes; the second is the call.
        if (count < 2 || count > 4) return false;
        refusals.push(Date.now());
        return refuse(response, 503, 'OPLAB_AUDIT_UNAVAILABLE');
      },
    });
    expect(refusals).toHaveLength(3);
    expect(started).toHaveLength(1);
    expect(started[0]?.at).toBeGreaterThanOrEqual(refusals.at(-1) ?? Number.POSITIVE_INFINITY);
    expect(gateway.entries.filter((entry) => entry.clientKey === '1-1')).toHaveLength(1);
  });

  it('waits for a lease that is not there yet, and ends when it is gone', async () => {
    let first = true;
    const { code, started, end } = await attempt({
      replies: [{ content: [shell('never')] }],
      fault: (at, response, count) => {
        if (at === paths.task && first) {
          first = false;
          return refuse(response, 409, 'OPLAB_NO_LEASE_YET');
        }
        return at === paths.entries && count > 1 ? refuse(response, 403, 'OPLAB_NO_LEASE') : false;
      },
    });
    expect(code).toBe(0);
    expect(started).toEqual([]);
    expect(end).toMatchObject({ end: { reason: 'lease-over' } });
  });
});

describe("the model's failures", () => {
  it.each<[string, Reply]>([
    ['529', apiError(529, 'overloaded_error')],
    ['500', apiError(500, 'api_error')],
    [
      'a stream that is cut',
      (response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write(
          events([shell('half')], 'tool_use')
            .slice(0, 3)
            .join(''),
        );
        setTimeout(() => response.destroy(), 50);
      },
    ],
    [
      'a stream that ends early',
      (response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.end(
          events([shell('half')], 'tool_use')
            .slice(0, 4)
            .join(''),
        );
      },
    ],
    [
      'a garbled stream',
      (response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.end('event: message_start\ndata: {"type": "mess\n\n');
      },
    ],
    [
      'a call whose input is no JSON',
      (response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.end(
          events([shell('half')], 'tool_use')
            .join('')
            .replaceAll(/"partial_json":"[^"]*(\\.[^"]*)*"/g, '"partial_json":"}{"'),
        );
      },
    ],
    [
      'an error inside a stream',
      (response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.end('event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"busy"}}\n\n');
      },
    ],
    ['a connection that breaks', (response) => response.destroy()],
  ])('are tried again: %s', async (_what, failure) => {
    const { gateway, started } = await attempt({ replies: [failure, { content: [conclude('nothing_wrong')] }] });
    expect(gateway.conclusions).toHaveLength(1);
    expect(started).toEqual([]);
  });

  it('end the attempt when a ceiling is reached, without another try', async () => {
    const ceiling: Reply = (response) =>
      void refuse(response, 429, 'OPLAB_LIMIT_REACHED', { 'x-should-retry': 'false' });
    const { code, gateway, end } = await attempt({ replies: [ceiling, { content: [conclude()] }] });
    expect(code).toBe(0);
    expect(gateway.bodies).toHaveLength(1);
    expect(gateway.conclusions).toEqual([]);
    expect(end).toMatchObject({ end: { reason: 'lease-over' } });
  });

  it('end the attempt with the reason on record when the API refuses for good', async () => {
    const { code, gateway } = await attempt({ replies: [apiError(400, 'invalid_request_error')] });
    expect(code).toBe(0);
    expect(gateway.entries.at(-1)).toMatchObject({ kind: 'lifecycle' });
    expect(gateway.entries.at(-1)?.content).toContain('invalid_request_error');
  });

  it('do not include a server that answers without streaming', async () => {
    const whole: Reply = (response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(
        JSON.stringify({
          id: 'm',
          type: 'message',
          role: 'assistant',
          model: 'scripted',
          content: [shell('a'), shell('b')],
          stop_reason: 'tool_use',
          stop_sequence: null,
          usage: { input_tokens: 1, output_tokens: 1 },
        }),
      );
    };
    const { started, gateway } = await attempt({ replies: [whole, { content: [conclude()] }] });
    expect(started.map((it) => it.command)).toEqual(['a', 'b']);
    expect(gateway.conclusions).toHaveLength(1);
  });
});

describe('calls that cannot be', () => {
  it.each<[string, Content, string]>([
    ['an unknown tool', { type: 'tool_use', id: 'toolu_x', name: 'reboot', input: {} }, 'There is no tool "reboot"'],
    ['a NUL byte', { type: 'tool_use', id: 'toolu_x', name: 'shell', input: { command: 'a\0b', purpose: 'r' } }, 'NUL'],
    ['a missing purpose', { type: 'tool_use', id: 'toolu_x', name: 'shell', input: { command: 'ls' } }, 'purpose'],
    [
      'a time limit beyond the most',
      {
        type: 'tool_use',
        id: 'toolu_x',
        name: 'shell',
        input: { command: 'ls', purpose: 'r', timeout_seconds: 9999 },
      },
      '600',
    ],
    [
      'an outcome that does not exist',
      {
        type: 'tool_use',
        id: 'toolu_x',
        name: 'conclude',
        input: { outcome: 'great', summary: 's', root_cause: '', actions: [] },
      },
      'Nothing was concluded',
    ],
  ])('are answered with what to do instead: %s', async (_what, call, hint) => {
    const { gateway, started } = await attempt({ replies: [{ content: [call] }, { content: [conclude()] }] });
    const [result] = modelRequest(gateway, 1).messages.at(-1)?.content ?? [];
    expect(result).toMatchObject({ type: 'tool_result', is_error: true });
    expect(String(result?.content)).toContain(hint);
    expect(started).toEqual([]);
    // Also what was not run is on record.
    expect(kinds(gateway).filter((kind) => kind === 'tool_call')).toHaveLength(2);
  });

  it('include a claim in the same answer as commands whose results nobody has seen', async () => {
    const { gateway, started } = await attempt({
      replies: [{ content: [shell('fix'), conclude()] }, { content: [conclude('cannot_fix')] }],
    });
    expect(started).toHaveLength(1);
    expect(gateway.conclusions.map((it) => it.outcome)).toEqual(['CannotFix']);
  });

  it('include a claim to have fixed something in mode Diagnose', async () => {
    const { gateway } = await attempt({
      task: { mode: 'Diagnose' },
      replies: [{ content: [conclude('fixed')] }, { content: [conclude('cannot_fix')] }],
    });
    expect(gateway.conclusions.map((it) => it.outcome)).toEqual(['CannotFix']);
  });

  it('include one that was cut off at the output limit', async () => {
    const { started, gateway } = await attempt({
      replies: [{ content: [shell('whole'), shell('half')], stop: 'max_tokens' }, { content: [conclude()] }],
    });
    expect(started.map((it) => it.command)).toEqual(['whole']);
    expect(String(modelRequest(gateway, 1).messages.at(-1)?.content[1]?.content)).toContain('cut off');
  });
});
