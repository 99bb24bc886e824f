// The model behind the double in the rehearsal of the live part: it does what its Incident asks.

import type { Reply } from '../../src/messages-double/double.ts';
import type { MessagesRequest } from '../../src/messages-double/request.ts';

const shell = (command: string) => ({ type: 'tool_use' as const, name: 'shell', input: { command, purpose: 'see' } });
const TURNS: readonly Reply[] = [
  { thinking: 'Two looks at once.', content: [shell('date'), shell('uname -a')] },
  { content: [shell('uptime')] },
  { content: [shell('df -h')] },
  {
    content: [
      {
        type: 'tool_use',
        name: 'conclude',
        input: { outcome: 'nothing_wrong', summary: 'as reported', root_cause: 'none', actions: [] },
      },
    ],
  },
];

export function playedModel({ tools = [], messages }: MessagesRequest): Reply {
  if (tools.some(({ name }) => name === 'look')) {
    return { thinking: '12219', content: [{ type: 'tool_use', name: 'look', input: { at: '12219' } }] };
  }
  if (tools.length === 0) return { content: [{ type: 'text', text: 'a line' }] };
  const turn = messages.filter(({ role }) => role === 'assistant').length;
  return TURNS[turn] ?? { content: [{ type: 'text', text: 'done' }] };
}
