// What can be told of an expression before it sees anything. Pure.

import type { parse } from '@bufbuild/cel';

type Expr = NonNullable<ReturnType<typeof parse>['expr']>;

/** Operators and functions of which no form gives a boolean. */
const OTHER_THAN_BOOLEAN = new Set([
  ...['_+_', '_-_', '_*_', '_/_', '_%_', '-_'],
  ...['size', 'int', 'uint', 'double', 'string', 'bytes', 'duration', 'timestamp', 'type'],
]);

/** Whether it is known by its form that it gives no boolean; what comes out of a variable could be anything. */
export function neverBoolean({ exprKind }: Expr): boolean {
  switch (exprKind.case) {
    case 'constExpr':
      return exprKind.value.constantKind.case !== 'boolValue';
    case 'listExpr':
    case 'structExpr':
      return true;
    case 'comprehensionExpr': {
      // map() and filter() gather a list; all() and exists() begin with a boolean, exists_one() ends in one.
      const { accuInit, result } = exprKind.value;
      return accuInit?.exprKind.case === 'listExpr' && result?.exprKind.case === 'identExpr';
    }
    case 'callExpr': {
      const { function: called, args } = exprKind.value;
      if (called === '_?_:_') return args.slice(1).every(neverBoolean);
      return OTHER_THAN_BOOLEAN.has(called);
    }
    default:
      return false;
  }
}
