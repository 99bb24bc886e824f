// The CEL worker: evaluates expressions off the main thread, so that a slow one can be killed.

import { parentPort } from 'node:worker_threads';
import { isCelError, parse, run } from '@bufbuild/cel';
import { strings } from '@bufbuild/cel/ext';
import type { CelAnswer, CelRequest } from './cel-protocol.ts';
import { isNeverBoolean } from './cel-shape.ts';
import { type CelJson, celInput } from './cel-value.ts';

function answer(request: CelRequest): CelAnswer {
  try {
    if (request.variables === undefined) {
      const { expr } = parse(request.expression);
      if (expr !== undefined && isNeverBoolean(expr)) {
        return { type: 'error', message: 'never returns a boolean, so the check can never pass; compare with ==' };
      }
      return { type: 'parsed' };
    }
    const bindings: Record<string, CelJson> = {};
    for (const [name, variable] of Object.entries(request.variables)) bindings[name] = celInput(variable);
    const result = run(request.expression, bindings, { funcs: strings });
    // An error is an object and therefore truthy, so only the boolean itself counts.
    if (isCelError(result)) return { type: 'error', message: result.message };
    return { type: 'value', isTrue: result === true, text: String(result) };
  } catch (error) {
    return { type: 'error', message: error instanceof Error ? error.message : String(error) };
  }
}

// The first evaluation compiles half of the library, which must not count against a time limit.
answer({ expression: 'x.a.all(i, i > 0) && size(x.a) == 1', variables: { x: { json: '{"a":[1]}' } } });
parentPort?.on('message', (request: CelRequest) => parentPort?.postMessage(answer(request)));
parentPort?.postMessage({ type: 'ready' } satisfies CelAnswer);
