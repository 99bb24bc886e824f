// A unified diff of two texts. Pure.

/** With more lines in the part that differs, it is shown as removed and added as a whole. */
const MAX_LINES = 4000;
const CONTEXT = 3;

interface Edit {
  readonly sign: ' ' | '-' | '+';
  readonly line: string;
}

/** The hunks of a unified diff; none if the texts are the same. */
export function unifiedDiff(before: string, after: string): string[] {
  const edits = diffLines(linesOf(before), linesOf(after));
  const shown = new Set<number>();
  for (const [index, { sign }] of edits.entries()) {
    if (sign === ' ') continue;
    for (let near = index - CONTEXT; near <= index + CONTEXT; near += 1) shown.add(near);
  }
  const out: string[] = [];
  let [from, to] = [1, 1];
  let hunk: Edit[] = [];
  let start = [1, 1];
  const end = () => {
    if (hunk.length > 0) {
      const removed = hunk.filter(({ sign }) => sign !== '+').length;
      const added = hunk.filter(({ sign }) => sign !== '-').length;
      out.push(`@@ -${range(start[0] ?? 1, removed)} +${range(start[1] ?? 1, added)} @@`);
      for (const { sign, line } of hunk) out.push(`${sign}${line}`);
    }
    hunk = [];
  };
  for (const [index, edit] of edits.entries()) {
    if (shown.has(index)) {
      if (hunk.length === 0) start = [from, to];
      hunk.push(edit);
    } else end();
    if (edit.sign !== '+') from += 1;
    if (edit.sign !== '-') to += 1;
  }
  end();
  return out;
}

/** An empty range begins at the line before it. */
function range(start: number, count: number): string {
  return `${count === 0 ? start - 1 : start},${count}`;
}

function linesOf(text: string): string[] {
  return text === '' ? [] : text.replace(/\n$/, '').split('\n');
}

function diffLines(a: readonly string[], b: readonly string[]): Edit[] {
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail += 1;
  const same = (lines: readonly string[]) => lines.map((line): Edit => ({ sign: ' ', line }));
  return [
    ...same(a.slice(0, head)),
    ...diffMiddle(a.slice(head, a.length - tail), b.slice(head, b.length - tail)),
    ...same(a.slice(a.length - tail)),
  ];
}

/** The longest common subsequence. */
function diffMiddle(a: readonly string[], b: readonly string[]): Edit[] {
  const removed = (lines: readonly string[]) => lines.map((line): Edit => ({ sign: '-', line }));
  const added = (lines: readonly string[]) => lines.map((line): Edit => ({ sign: '+', line }));
  if (a.length === 0 || b.length === 0 || a.length * b.length > MAX_LINES * MAX_LINES) {
    return [...removed(a), ...added(b)];
  }
  const width = b.length + 1;
  /** By position in both texts: the length of what the rests have in common. */
  const common = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      common[i * width + j] =
        a[i] === b[j]
          ? (common[(i + 1) * width + j + 1] ?? 0) + 1
          : Math.max(common[(i + 1) * width + j] ?? 0, common[i * width + j + 1] ?? 0);
    }
  }
  const edits: Edit[] = [];
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      edits.push({ sign: ' ', line: a[i] ?? '' });
      i += 1;
      j += 1;
    } else if ((common[(i + 1) * width + j] ?? 0) >= (common[i * width + j + 1] ?? 0)) {
      edits.push({ sign: '-', line: a[i] ?? '' });
      i += 1;
    } else {
      edits.push({ sign: '+', line: b[j] ?? '' });
      j += 1;
    }
  }
  return [...edits, ...removed(a.slice(i)), ...added(b.slice(j))];
}
