// A server of the Messages API whose answers the test writes. With it, tests control a real agent
// in a real sandbox.
//
// It deliberately shares no code with src/rehearsal: it also proves that any server of the API
// drives the same loop.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import * as z from 'zod';

/** The part of a request that tests read. */
const messagesRequest = z.looseObject({
  model: z.string(),
  stream: z.boolean().optional(),
  thinking: z.unknown().optional(),
  output_config: z.unknown().optional(),
  messages: z.array(
    z.looseObject({ role: z.string(), content: z.union([z.string(), z.array(z.looseObject({ type: z.string() }))]) }),
  ),
  tools: z.array(z.looseObject({ name: z.string() })).optional(),
});
export type MessagesRequest = z.infer<typeof messagesRequest>;

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
  /** Replaces the script. After the last move, the model concludes that it cannot fix anything. */
  play(...moves: Move[]): void;
  /** `json` answers even a streaming request with one JSON body. The default is `as-asked`. */
  answers: 'as-asked' | 'json';
  /** A model that declines to continue, whatever it is asked. */
  declines: string | undefined;
  /** Answers every request with this error instead, if it is set. */
  refusal: { readonly status: number; readonly type: string; readonly message: string } | undefined;
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

export async function startScriptedModel(options: ScriptedModelOptions = {}): Promise<ScriptedModel> {
  const requests: MessagesRequest[] = [];
  const headers: ScriptedModel['headers'] = [];
  let script: Move[] = [];
  let serial = 0;

  async function answer(request: MessagesRequest): Promise<Block[]> {
    // Requests for summaries by the small model have no tools.
    if (request.tools === undefined || request.tools.length === 0)
      return [{ type: 'text', text: 'a summary by the scripted model' }];
    requests.push(request);
    const move = script.shift() ?? conclude('cannot_fix', 'the script has ended');
    return move(request);
  }

  async function serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    if (incoming.method !== 'POST' || !incoming.url?.startsWith('/v1/messages')) {
      response.writeHead(404).end();
      return;
    }
    headers.push(incoming.headers);
    const body = await text(incoming);
    const request = messagesRequest.parse(JSON.parse(body));
    if (model.refusal !== undefined) {
      const { status, ...error } = model.refusal;
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ type: 'error', error, request_id: `req_scripted_${++serial}` }));
      return;
    }
    const isDeclined = request.model === model.declines;
    if (isDeclined) requests.push(request);
    const blocks = (isDeclined ? [] : await answer(request)).map((block) =>
      block.type === 'text' ? block : { ...block, id: `toolu_scripted_${++serial}` },
    );
    const message = {
      id: `msg_scripted_${++serial}`,
      type: 'message',
      role: 'assistant',
      model: request.model,
      stop_reason: isDeclined ? 'refusal' : blocks.some((block) => block.type === 'tool_use') ? 'tool_use' : 'end_turn',
      stop_sequence: null,
      usage: {
        input_tokens: Math.ceil(body.length / 4),
        output_tokens: 50,
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: 0,
      },
    };
    if (request.stream === true && model.answers !== 'json') stream(response, message, blocks);
    else
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ ...message, content: blocks }));
  }

  const server = createServer((incoming, response) => {
    serve(incoming, response).catch((error: unknown) => {
      const type = 'invalid_request_error';
      if (!response.headersSent) response.writeHead(400, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ type: 'error', error: { type, message: String(error) } }));
    });
  });
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, options.host ?? '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the scripted model has no port');
  const model: ScriptedModel = {
    port: address.port,
    answers: 'as-asked',
    refusal: undefined,
    declines: undefined,
    requests,
    headers,
    play: (...moves) => {
      script = [...moves];
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return model;
}

type IdentifiedBlock =
  | { type: 'text'; text: string }
  | { type: 'tool_use'; id: string; name: string; input: Record<string, unknown> };

function stream(
  response: ServerResponse,
  message: Record<string, unknown> & { stop_reason: string; usage: object },
  blocks: IdentifiedBlock[],
) {
  const send = (type: string, data: object) =>
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`);
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  send('message_start', {
    message: { ...message, content: [], stop_reason: null, usage: { ...message.usage, output_tokens: 1 } },
  });
  for (const [index, block] of blocks.entries()) {
    if (block.type === 'text') {
      send('content_block_start', { index, content_block: { type: 'text', text: '' } });
      send('content_block_delta', { index, delta: { type: 'text_delta', text: block.text } });
    } else {
      send('content_block_start', {
        index,
        content_block: { type: 'tool_use', id: block.id, name: block.name, input: {} },
      });
      const json = JSON.stringify(block.input);
      // Sends the JSON in two pieces that are not valid by themselves.
      for (const partial_json of [json.slice(0, 7), json.slice(7)])
        send('content_block_delta', { index, delta: { type: 'input_json_delta', partial_json } });
    }
    send('content_block_stop', { index });
  }
  send('message_delta', {
    delta: { stop_reason: message.stop_reason, stop_sequence: null },
    usage: { output_tokens: 50 },
  });
  send('message_stop', {});
  response.end();
}
