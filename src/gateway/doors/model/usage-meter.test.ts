// Reading what an answer has used, however it comes in pieces.

import { describe, expect, it } from 'vitest';
import { messageMeter, streamMeter } from './usage-meter.ts';

const event = (type: string, data: object) => `event: ${type}\r\ndata: ${JSON.stringify({ type, ...data })}\r\n\r\n`;
const start = event('message_start', {
  message: {
    usage: {
      input_tokens: 10,
      cache_read_input_tokens: 200,
      cache_creation_input_tokens: 30,
      cache_creation: { ephemeral_1h_input_tokens: 5 },
      output_tokens: 1,
    },
  },
});
const delta = event('message_delta', { delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 77 } });
const tokens = { inputTokens: 10, outputTokens: 77, cacheReadTokens: 200, cacheWriteTokens: 30, cacheWrite1hTokens: 5 };

describe('streamMeter', () => {
  it.each([1, 7, 10_000])('reads a stream in chunks of %d bytes', (size) => {
    const meter = streamMeter();
    const bytes = Buffer.from(
      `${start}${event('content_block_delta', { delta: { type: 'text_delta', text: 'ünïcode\n' } })}${delta}`,
    );
    for (let at = 0; at < bytes.length; at += size) meter.feed(bytes.subarray(at, at + size));
    expect(meter.seen()).toMatchObject({ tokens, complete: true, stopReason: 'end_turn', failed: false });
  });

  it('says that it is not complete when the end is missing, and what it knows', () => {
    const meter = streamMeter();
    meter.feed(Buffer.from(`${start}data: {"type":"message_del`));
    expect(meter.seen()).toMatchObject({ complete: false, tokens: { inputTokens: 10, outputTokens: 1 } });
  });

  it('counts what has passed: text, thoughts and calls', () => {
    const meter = streamMeter();
    const pass = (piece: object) => meter.feed(Buffer.from(event('content_block_delta', { delta: piece })));
    meter.feed(Buffer.from(start));
    pass({ type: 'text_delta', text: 'über' });
    pass({ type: 'thinking_delta', thinking: 'hm' });
    pass({ type: 'input_json_delta', partial_json: '{"a":' });
    pass({ type: 'signature_delta', signature: 'x'.repeat(1000) });
    expect(meter.seen()).toMatchObject({ complete: false, outputBytes: 12, failed: false });
    // A server that counts nothing at the end.
    meter.feed(Buffer.from(event('message_delta', { delta: { stop_reason: 'end_turn' }, usage: null })));
    meter.feed(Buffer.from(event('message_stop', {})));
    expect(meter.seen()).toMatchObject({ complete: true, tokens: { inputTokens: 10, outputTokens: 6 } });
  });

  it('knows that a stream failed', () => {
    const meter = streamMeter();
    meter.feed(Buffer.from(event('error', { error: { type: 'overloaded_error', message: 'busy' } })));
    expect(meter.seen()).toMatchObject({ complete: false, tokens: undefined, failed: true });
  });

  it('knows where a model ran', () => {
    const meter = streamMeter();
    meter.feed(Buffer.from(event('message_start', { message: { usage: { input_tokens: 1, inference_geo: 'us' } } })));
    meter.feed(Buffer.from(delta));
    expect(meter.seen().tokens).toMatchObject({ inUS: true, outputTokens: 77 });
  });

  it('does not hold an event that no API sends, and reads what comes after it', () => {
    const meter = streamMeter();
    meter.feed(Buffer.from(start));
    meter.feed(Buffer.from('data: "'));
    for (let at = 0; at < 9; at += 1) meter.feed(Buffer.alloc(1024 * 1024, 'x'));
    meter.feed(Buffer.from('"\n\n'));
    meter.feed(Buffer.from(delta));
    expect(meter.seen()).toMatchObject({ tokens, complete: true, stopReason: 'end_turn', failed: false });
  });

  it('takes garbage for nothing', () => {
    const meter = streamMeter();
    meter.feed(Buffer.from('data: {not json}\n\ndata: [DONE]\n\nfoo\n\n'));
    expect(meter.seen()).toMatchObject({ tokens: undefined, complete: false, stopReason: undefined });
  });
});

describe('messageMeter', () => {
  it('reads a whole message, and nothing from half of one', () => {
    const text = JSON.stringify({
      usage: { input_tokens: 3, output_tokens: 4, cache_read_input_tokens: null },
      stop_reason: 'tool_use',
    });
    const whole = messageMeter();
    whole.feed(Buffer.from(text.slice(0, 10)));
    whole.feed(Buffer.from(text.slice(10)));
    expect(whole.seen()).toMatchObject({
      complete: true,
      stopReason: 'tool_use',
      tokens: { inputTokens: 3, outputTokens: 4, cacheReadTokens: 0 },
    });
    const half = messageMeter();
    half.feed(Buffer.from(text.slice(0, 10)));
    expect(half.seen().complete).toBe(false);
  });
});
