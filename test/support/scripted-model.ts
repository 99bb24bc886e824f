// A model whose answers the test writes, behind the strict double of the Messages API. With it, tests
// control a real agent in a real sandbox.

import type { APIError } from '../../src/messages-double/api-error.ts';
import type { FaultName } from '../../src/messages-double/faults.ts';
import { modelRules } from '../../src/messages-double/model-rules.ts';
import type { MessagesRequest } from '../../src/messages-double/request.ts';
import { startDouble } from '../../src/messages-double/server.ts';

export type Block = { type: 'text'; text: string } | { type: 'tool_use'; name: string; input: Record<string, unknown> };

/** The next answer of the model to a request. */
export type Move = (request: MessagesRequest) => Block[] | Promise<Block[]>;

export interface ScriptedModelOptions {
  /** The interface to listen on; must be all interfaces for a gateway in a cluster. */
  readonly host?: string;
  /** Default: any free port. */
  readonly port?: number;
}

export interface ScriptedModel {
  readonly port: number;
  /** Requests to the agent model so far, in order. */
  readonly requests: MessagesRequest[];
  /** Headers of all requests, to test what must and must not be in them. */
  readonly headers: Record<string, string | string[] | undefined>[];
  /** What the double refused, of which a correct agent sends nothing. */
  readonly refused: string[];
  /** Replaces the script. After the last move, the model concludes that it cannot fix anything. */
  play(...moves: Move[]): void;
  /** `json` answers even a streaming request with one JSON body. The default is `as-asked`. */
  answers: 'as-asked' | 'json';
  /** A model that declines to continue, whatever it is asked. */
  declines: string | undefined;
  /** Answers every request with this error instead, if it is set. */
  refusal: APIError | undefined;
  /** The fault with which the next requests are answered instead, until it is unset. */
  fault: FaultName | undefined;
  close(): Promise<void>;
}

/** Shorthands for moves. */
export const shell =
  (...commands: string[]): Move =>
  () =>
    commands.map((command) => ({
      type: 'tool_use',
      name: 'shell',
      input: { command, purpose: `the test wants to see: ${command}` },
    }));

export const conclude =
  (outcome: 'fixed' | 'nothing_wrong' | 'cannot_fix', summary = 'as the test says'): Move =>
  () => [{ type: 'tool_use', name: 'conclude', input: { outcome, summary, root_cause: 'a test', actions: [] } }];

/** The text of all tool results in the last user turn. */
export function readToolResults(request: MessagesRequest | undefined): string[] {
  const content = request?.messages.findLast((message) => message.role === 'user')?.content;
  if (content === undefined || typeof content === 'string') return [];
  return content.filter((block) => block.type === 'tool_result').map((block) => JSON.stringify(block.content));
}

/** Any model is one like Claude: it may think, and takes any effort. */
const rulesOf = (model: string) => ({ ...modelRules('claude-sonnet-5-5'), ...assumed(model) });
const assumed = (model: string) => (model.startsWith('claude-') ? modelRules(model) : { thinksByDefault: false });

export async function startScriptedModel(options: ScriptedModelOptions = {}): Promise<ScriptedModel> {
  const requests: MessagesRequest[] = [];
  const headers: ScriptedModel['headers'] = [];
  const refused: string[] = [];
  let script: Move[] = [];
  let serial = 0;

  const server = await startDouble({
    ...options,
    requestIdPrefix: 'req_scripted_',
    // It does not tell which models it has, as most servers that imitate the API.
    displayName: undefined,
    rulesOf,
    fault: () => model.fault,
    onRefused: ({ message }) => void refused.push(message),
    onRequest: (incoming) => void headers.push(incoming),
    answer: async (request) => {
      if (model.refusal !== undefined) return { error: model.refusal };
      if (request.model === model.declines) {
        requests.push(request);
        return { content: [], stopReason: 'refusal' };
      }
      // Requests for summaries by the small model have no tools.
      if (request.tools === undefined || request.tools.length === 0) {
        return { content: [{ type: 'text', text: 'a summary by the scripted model' }] };
      }
      requests.push(request);
      const move = script.shift() ?? conclude('cannot_fix', 'the script has ended');
      const blocks = await move(request);
      return {
        thinking: 'The script goes on.',
        content: blocks.map((block) =>
          block.type === 'text' ? block : { ...block, id: `toolu_scripted_${++serial}` },
        ),
        whole: model.answers === 'json',
      };
    },
  });
  const model: ScriptedModel = {
    port: server.port,
    answers: 'as-asked',
    refusal: undefined,
    fault: undefined,
    declines: undefined,
    requests,
    headers,
    refused,
    play: (...moves) => {
      script = [...moves];
    },
    close: () => server.close(),
  };
  return model;
}
