// The CEL worker: evaluates one expression at a time, off the main thread, so that it can be killed when it takes too long.

import { parentPort } from 'node:worker_threads';
import { isCelError, parse, run } from '@bufbuild/cel';
import { strings } from '@bufbuild/cel/ext';
import type { CelAnswer, CelRequest } from './cel-protocol.ts';
import { neverBoolean } from './cel-shape.ts';
import { type CelJson, celInput } from './cel-value.ts';

function answer(request: CelRequest): CelAnswer {
  try {
    if (request.variables === undefined) {
      const { expr } = parse(request.expression);
      if (expr !== undefined && neverBoolean(expr)) {
        return { type: 'error', message: 'gives no boolean, whatever it sees, so it can never pass; compare with ==' };
      }
      return { type: 'parsed' };
    }
    const bindings: Record<string, CelJson> = {};
    for (const [name, variable] of Object.entries(request.variables)) bindings[name] = celInput(variable);
    const result = run(request.expression, bindings, { funcs: strings });
    // An error is an object, and truthy: only the boolean itself counts.
    if (isCelError(result)) return { type: 'error', message: result.message };
    return { type: 'value', isTrue: result === true, text: String(result) };
  } catch (error) {
    return { type: 'error', message: error instanceof Error ? error.message : String(error) };
  }
}

// The first evaluation compiles half of the library; nobody's time limit should pay for that.
answer({ expression: 'x.a.all(i, i > 0) && size(x.a) == 1', variables: { x: { json: '{"a":[1]}' } } });
parentPort?.on('message', (request: CelRequest) => parentPort?.postMessage(answer(request)));
parentPort?.postMessage({ type: 'ready' } satisfies CelAnswer);
