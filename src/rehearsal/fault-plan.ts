// Which requests are answered with which fault, as an operator writes it: `overloaded@2,cut-in-block@4-6`.

import * as z from 'zod';
import { FAULTS, type FaultName, isFaultName } from '../messages-double/faults.ts';

/** The fault of a request by its number, from 1. */
export type FaultPlan = (count: number) => FaultName | undefined;

/** NAME, NAME@3, NAME@3-5, or NAME@3- for all from the third on. */
const PART = /^([a-z-]+?)(?:@(\d+)(?:(-)(\d*))?)?$/;

interface Planned {
  readonly name: FaultName;
  readonly from: number;
  readonly to: number;
}

/** A text if it is wrong. */
function parsePart(part: string): Planned | string {
  const [, name = '', from, dash, to] = PART.exec(part) ?? [];
  if (!isFaultName(name)) {
    return `"${part}" must be NAME, NAME@3, NAME@3-5 or NAME@3-, with NAME one of ${Object.keys(FAULTS).join(', ')}`;
  }
  if (from === undefined) return { name, from: 1, to: Number.POSITIVE_INFINITY };
  const first = Number(from);
  const last = dash === undefined ? first : to ? Number(to) : Number.POSITIVE_INFINITY;
  if (first < 1 || last < first) return `"${part}" names no request: they are counted from 1`;
  return { name, from: first, to: last };
}

/** A list of faults, separated by commas. Of two for one request, the first counts. */
export const faultPlan = z.string().transform((text, context): FaultPlan => {
  const planned: Planned[] = [];
  for (const part of text.split(',').map((it) => it.trim())) {
    if (part === '') continue;
    const parsed = parsePart(part);
    if (typeof parsed === 'string') context.addIssue({ code: 'custom', message: parsed, input: text });
    else planned.push(parsed);
  }
  return (count) => planned.find(({ from, to }) => from <= count && count <= to)?.name;
});
