// Finds expressions that can never return a boolean, before they are evaluated. Pure.

import type { parse } from '@bufbuild/cel';

type Expr = NonNullable<ReturnType<typeof parse>['expr']>;

/** Operators and functions that have no overload with a boolean result. */
const NEVER_BOOLEAN = new Set([
  '_+_',
  '_-_',
  '_*_',
  '_/_',
  '_%_',
  '-_',
  'size',
  'int',
  'uint',
  'double',
  'string',
  'bytes',
  'duration',
  'timestamp',
  'type',
]);

/** Whether an expression can never return a boolean. A variable could have any type. */
export function isNeverBoolean({ exprKind }: Expr): boolean {
  switch (exprKind.case) {
    case 'constExpr':
      return exprKind.value.constantKind.case !== 'boolValue';
    case 'listExpr':
    case 'structExpr':
      return true;
    case 'comprehensionExpr': {
      // map() and filter() build a list. all() and exists() start with a boolean; exists_one() ends
      // with one.
      const { accuInit, result } = exprKind.value;
      return accuInit?.exprKind.case === 'listExpr' && result?.exprKind.case === 'identExpr';
    }
    case 'callExpr': {
      const { function: called, args } = exprKind.value;
      if (called === '_?_:_') return args.slice(1).every(isNeverBoolean);
      return NEVER_BOOLEAN.has(called);
    }
    default:
      return false;
  }
}
