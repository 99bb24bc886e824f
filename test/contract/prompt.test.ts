// What the agent is told: nothing that a safeguard of the model takes for a demand to write out its
// reasoning, nothing that changes from Incident to Incident in front of the cache, and not too much.

import { describe, expect, it } from 'vitest';
import { createConcludeTool } from '../../src/agent/conclude.ts';
import { CUT_OFF, dueNotice, openingMessage, REMINDER, systemPrompt } from '../../src/agent/prompt.ts';
import { createShellTool } from '../../src/agent/shell.ts';
import { SUMMARY_PROMPT } from '../../src/agent/summary.ts';
import { fakeTask } from '../support/fake-gateway.ts';

/** The vendor's guide: ask for thoughts by the parameter that displays them, not in the answer. */
const DENIED =
  /reasoning|chain[ -]of[ -]thought|every thought|step[ -]by[ -]step|think (?:out )?(?:aloud|loud|carefully|hard)|(?:explain|narrate|show|write out|document) (?:your|each|every)\b.{0,20}(?:thought|thinking|step|decision)|scratchpad/i;

const sandbox = { ready: async () => undefined } as never;
const tools = (mode: 'Repair' | 'Diagnose') => [
  createShellTool(sandbox, { live: () => undefined, ended: async () => undefined }).definition,
  createConcludeTool(mode, async () => undefined).definition,
];
const notice = dueNotice({ percent: 4, limit: 'cost' }, 100)?.text ?? '';

describe.each(['Repair', 'Diagnose'] as const)('in mode %s', (mode) => {
  const system = systemPrompt({ mode });

  it('asks for no reasoning, in no text and no field', () => {
    const everything = [system, openingMessage(fakeTask({ mode })), REMINDER, CUT_OFF, SUMMARY_PROMPT, notice];
    for (const text of [...everything, JSON.stringify(tools(mode))]) expect(text).not.toMatch(DENIED);
  });

  it('has the same system prompt and tools for each Incident', () => {
    const other = fakeTask({ mode, session: 'other', attempt: 2, targetNamespaces: ['elsewhere'] });
    expect(systemPrompt(other)).toBe(system);
    expect(JSON.stringify(tools(mode))).toBe(JSON.stringify(tools(mode)));
    expect(system).not.toMatch(/\d{4}-\d\d-\d\d|[0-9a-f]{8}-[0-9a-f]{4}/);
  });

  it('is long enough to be cached by the default model, and no longer than it needs to be', () => {
    // The model of the shortest cacheable prompt needs 512 tokens; a token has at most four bytes here.
    const characters = system.length + JSON.stringify(tools(mode)).length;
    expect(characters).toBeGreaterThan(512 * 4);
    expect(characters).toBeLessThan(9000);
  });
});

it('knows what it denies', () => {
  const old = ['Give your reasoning.', 'every thought', 'Think step by step.', 'Narrate your thinking as you go'];
  for (const text of old) expect(text).toMatch(DENIED);
});
