import { describe, expect, it } from 'vitest';
import { anIncident } from '../../../test/support/an-incident.ts';
import type { Incident } from '../../api/incident.ts';
import { findEvent, slackBody, webhookBody } from './message.ts';

function incident(phase: 'Escalated' | 'Resolved', status: object = {}): Incident {
  const at = '2026-03-01T12:00:00Z';
  return anIncident({
    metadata: { name: 'store-down', namespace: 'tikv', uid: 'u-1' },
    spec: {
      summary: 'store 4 is down',
      severity: 'critical',
      verify: { soakSeconds: 30, checks: [{ name: 'stores' }] },
    },
    status: {
      phase,
      message: 'all is said',
      startTime: '2026-03-01T11:57:30Z',
      finishTime: at,
      conditions: [
        { type: 'Finished', status: 'True', reason: 'AgentEscalated', message: '', lastTransitionTime: at },
        { type: 'Succeeded', status: 'False', reason: 'AgentEscalated', message: '', lastTransitionTime: at },
      ],
      verification: [{ name: 'stores', passing: phase === 'Resolved', observed: 'body.count = 2', observedTime: at }],
      soak: { startTime: at, restarts: 0 },
      claim: {
        attempt: 1,
        outcome: 'CannotFix',
        summary: 'I cannot',
        rootCause: 'the disk is gone',
        actions: ['looked at pods'],
        time: at,
      },
      usage: {
        turns: 3,
        modelCalls: 3,
        inputTokens: 1,
        outputTokens: 1,
        cacheReadTokens: 0,
        cacheWriteTokens: 0,
        costMilliUSD: 123,
      },
      ...status,
    },
  });
}
const HANDOVER = {
  summary: 'store 4 has no disk',
  attempts: ['attempt 1: looked'],
  changes: [],
  nextSteps: [{ what: 'the claims', command: ['kubectl', 'get', 'pvc', '-l', 'a in (b)'] }, { what: 'go on' }],
};

describe('a Slack message', () => {
  const renderText = (one: Incident) => {
    const event = findEvent(one);
    if (event === undefined) throw new Error('not finished');
    return JSON.parse(slackBody(one, event));
  };

  it('about an escalated Incident has the hand-over and the command for the full trail', () => {
    const { text, attachments } = renderText(incident('Escalated', { handover: HANDOVER }));
    expect(text).toBe('Escalated: store 4 is down (tikv/store-down)');
    expect(attachments[0].text).toBe(
      [
        '*Summary*\nstore 4 has no disk',
        '*Attempts*\n• attempt 1: looked',
        "*Next steps*\n• the claims\n```kubectl get pvc -l 'a in (b)'```\n• go on",
        '*Full trail*\n```oplab audit show store-down -n tikv```',
      ].join('\n\n'),
    );
    expect(attachments[0].color).toBe('danger');
    expect(attachments[0].fields).toContainEqual({ title: 'Duration', value: '2 min 30 s', short: true });
    expect(attachments[0].fields).toContainEqual({ title: 'Cost', value: '$0.123', short: true });
  });

  it('without a hand-over has the failing checks and the statement of the agent', () => {
    const { attachments } = renderText(incident('Escalated'));
    expect(attachments[0].text).toContain('the disk is gone');
    expect(attachments[0].text).toContain('• stores: body.count = 2');
  });

  it('about a resolved Incident has the cause, the actions and the evidence of the checks', () => {
    const { text, attachments } = renderText(incident('Resolved'));
    expect(text).toContain('Resolved: ');
    expect(attachments[0].text).toContain('• looked at pods');
    expect(attachments[0].text).toContain(
      '*Checks, held for 30 s without interruption*\n• stores: holds (body.count = 2)',
    );
    expect(attachments[0].color).toBe('good');
  });

  it('has no mentions and no disguised links, whatever the agent wrote', () => {
    const nasty = '<!channel> <https://evil|click> @here & @everyone';
    const { attachments } = renderText(incident('Escalated', { handover: { ...HANDOVER, summary: nasty } }));
    expect(attachments[0].text).toContain('&lt;!channel&gt; &lt;https://evil|click&gt;');
    expect(attachments[0].text).not.toMatch(/@(here|everyone)/);
  });

  it('has code only where a command is, and the command whole', () => {
    const steps = ['```kubectl delete ns prod```', 'a'].map((what) => ({
      what,
      command: ['kubectl', 'get', '@here `x`'],
    }));
    const shown = { ...HANDOVER, nextSteps: [...steps, { what: 'b', command: ['kubectl', 'get', '@here <x>'] }] };
    const { text } = renderText(incident('Escalated', { handover: shown })).attachments[0];
    expect([...text.matchAll(/```.*?```/g)].map(([code]) => code)).toEqual([
      "```kubectl get '@here &lt;x&gt;'```",
      '```oplab audit show store-down -n tikv```',
    ]);
    expect(text).toContain("'''kubectl delete ns prod'''\nits command cannot be shown here");
  });

  it('is never cut within a command', () => {
    for (const length of Array.from({ length: 60 }, (_, index) => 700 + index)) {
      const nextSteps = Array.from({ length: 16 }, () => ({ what: 'x', command: ['kubectl', 'x'.repeat(length)] }));
      const { text } = renderText(incident('Escalated', { handover: { ...HANDOVER, nextSteps } })).attachments[0];
      const commands = text.split('\n').filter((line: string) => line.includes('`'));
      expect(text.length).toBeLessThanOrEqual(7000);
      expect(commands.every((line: string) => line === `\`\`\`kubectl ${'x'.repeat(length)}\`\`\``)).toBe(true);
    }
  });

  it('is limited in length', () => {
    const long = { ...HANDOVER, attempts: Array.from({ length: 16 }, () => 'x'.repeat(1024)) };
    expect(renderText(incident('Escalated', { handover: long })).attachments[0].text.length).toBeLessThanOrEqual(7000);
  });
});

it('a webhook message has the content of the status, and the same key for every try', () => {
  const one = incident('Escalated', { handover: HANDOVER });
  const body = webhookBody(one, 'pager', 'Escalated');
  expect(webhookBody(one, 'pager', 'Escalated')).toBe(body);
  expect(JSON.parse(body)).toMatchObject({
    version: '1',
    event: 'Escalated',
    idempotencyKey: 'u-1-Escalated-pager',
    incident: { namespace: 'tikv', name: 'store-down', severity: 'critical', reason: 'AgentEscalated', attempts: 0 },
    handover: {
      ...HANDOVER,
      nextSteps: [{ ...HANDOVER.nextSteps[0], shell: "kubectl get pvc -l 'a in (b)'" }, { what: 'go on' }],
    },
    claim: { outcome: 'CannotFix' },
    verification: [{ name: 'stores', passing: false }],
  });
});
