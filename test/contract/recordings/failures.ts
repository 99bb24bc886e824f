// Errors inside of streams, and streams that are none.

import { type Case, delta, ends, error, final, opens, ping, start, stop, text, tool, WHOLE } from './events.ts';

export const failures: readonly Case[] = [
  {
    name: 'overload in the middle passes, and is not charged by max_tokens',
    events: [start(), ...text(0, 'x'), error('overloaded_error')],
    expect: { verdict: 'again', outputAtMost: 10 },
  },
  {
    name: 'overload before any output is free',
    events: [start(), ping, error('overloaded_error')],
    expect: { verdict: 'again', charge: 'nothing' },
  },
  {
    name: 'overload before the message',
    events: [error('overloaded_error')],
    expect: { verdict: 'again', charge: 'nothing' },
  },
  {
    name: 'a failure inside of the API passes',
    events: [start(), error('api_error')],
    expect: { verdict: 'again', charge: 'nothing' },
  },
  { name: 'a timeout passes', events: [start(), error('timeout_error')], expect: { verdict: 'again' } },
  { name: 'a rate limit passes', events: [start(), error('rate_limit_error')], expect: { verdict: 'again' } },
  { name: 'a type that nobody knows passes', events: [start(), error('future_error')], expect: { verdict: 'again' } },
  {
    name: 'a spend limit told by a code alone does not pass',
    events: [start(), error('rate_limit_error', { details: { error_code: 'enforced_spend_limit_reached' } })],
    expect: final('OPLAB_MODEL_ACCOUNT', 1),
  },
  { name: 'billing does not pass', events: [start(), error('billing_error')], expect: final('OPLAB_MODEL_ACCOUNT', 1) },
  {
    name: 'a refused request does not pass',
    events: [start(), error('invalid_request_error')],
    expect: final('OPLAB_MODEL_REFUSED', 1),
  },
  {
    name: 'a permission does not pass',
    events: [start(), error('permission_error')],
    expect: final('OPLAB_MODEL_KEY_REFUSED', 1),
  },
  {
    name: 'a key that is withdrawn in the middle does not pass',
    events: [start(), ...text(0, 'x'), error('authentication_error')],
    expect: final('OPLAB_MODEL_KEY_REFUSED', 1),
  },
  {
    name: 'a model that is withdrawn does not pass',
    events: [start(), error('not_found_error')],
    expect: final('OPLAB_MODEL_UNKNOWN', 1),
  },
  {
    name: 'a stream that begins twice ends by name',
    events: [start(), start(), ...text(0, 'x'), ends('end_turn'), stop],
    expect: final('OPLAB_MODEL_REFUSED', 3, { says: /failed 3 times/ }),
  },
  {
    name: 'a stream without a message',
    events: [stop],
    expect: final('OPLAB_MODEL_REFUSED', 3),
  },
  { name: 'a stream of nothing', events: '', expect: final('OPLAB_MODEL_REFUSED', 3) },
  {
    name: 'a part of a block that was not begun',
    events: [start(), delta(4, { type: 'text_delta', text: 'x' }), ends('end_turn'), stop],
    expect: final('OPLAB_MODEL_REFUSED', 3),
  },
  {
    name: 'data that is not JSON',
    events: 'event: message_start\ndata: {"type": "message_start", "message": \n\n',
    expect: final('OPLAB_MODEL_REFUSED', 3),
  },
  {
    name: 'a call whose input is not JSON, in a whole answer',
    events: [start(), ...tool(0, 'shell', ['{"command": rm']), ends('tool_use'), stop],
    expect: final('OPLAB_MODEL_REFUSED', 3),
  },
  {
    name: 'an end without message_stop',
    events: [start(), ...text(0, 'x'), ends('end_turn')],
    expect: final('OPLAB_MODEL_REFUSED', 3, { charge: WHOLE }),
  },
  {
    name: 'a connection that is reset in a block is asked again',
    events: [start(), opens(0, { type: 'text', text: '' }), delta(0, { type: 'text_delta', text: 'half' })],
    expect: { verdict: 'again', outputAtMost: 2100 },
    reset: true,
  },
  {
    name: 'a connection that is reset behind its head is asked again',
    events: [start()],
    expect: { verdict: 'again', outputAtMost: 2100 },
    reset: true,
  },
];
