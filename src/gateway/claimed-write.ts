// Reads from the text of a command whether it plainly says that it writes: "kubectl apply -f x".
//
// A hint for people, not a wall: a command that says so, ends with exit code 0, and is not seen at
// any door did something else than it looks like. So whatever this small reader does not
// understand says nothing: conditions, loops, functions, substitutions, and commands whose exit
// code is not the script's. Pure.

/** Words of the shell after which a command may not have run, or may not decide the exit code. */
const STRUCTURE = new Set(
  [
    'if',
    'then',
    'else',
    'elif',
    'fi',
    'for',
    'while',
    'until',
    'do',
    'done',
    'case',
    'esac',
    'function',
    'select',
  ].concat(['{', '}', '(', ')', '!', 'trap', 'exit', 'return', 'exec', 'eval', 'source', '.', 'alias']),
);

interface Program {
  /** Flags before the subcommand whose value is the next word. */
  readonly flags: ReadonlySet<string>;
  /** Subcommands that write; with a list, only these second words do. */
  readonly writes: Readonly<Record<string, readonly string[] | undefined>>;
}

const always = undefined;
const PROGRAMS: Readonly<Record<string, Program>> = {
  kubectl: {
    flags: new Set(['-n', '--namespace', '--context', '--kubeconfig', '--cluster', '--user', '-s', '--server', '-v']),
    writes: {
      ...{ apply: always, create: always, delete: always, patch: always, replace: always, scale: always },
      ...{ annotate: always, label: always, autoscale: always, expose: always, run: always, taint: always },
      ...{ cordon: always, uncordon: always },
      rollout: ['restart', 'undo', 'pause', 'resume'],
      set: ['image', 'env', 'resources', 'selector', 'serviceaccount', 'subject'],
    },
  },
  helm: {
    flags: new Set(['-n', '--namespace', '--kube-context', '--kubeconfig']),
    writes: { install: always, upgrade: always, rollback: always, uninstall: always },
  },
  docker: {
    flags: new Set(['-H', '--host', '-c', '--context', '-l', '--log-level']),
    writes: {
      ...{ start: always, stop: always, restart: always, kill: always, rm: always, run: always, create: always },
      ...{ rename: always, update: always, pause: always, unpause: always },
      container: ['start', 'stop', 'restart', 'kill', 'rm', 'run', 'create', 'rename', 'update', 'pause', 'unpause'],
      network: ['create', 'rm', 'connect', 'disconnect'],
      volume: ['create', 'rm'],
    },
  },
};

/** With one of these, a subcommand that usually writes does not, or need not. */
const HARMLESS =
  /^(?:-h|--help|--dry-run(?:=(?!none$).*)?|--local|--list|--ignore-not-found(?:=true)?|view-last-applied)$/;

/** Output of a write that had nothing to do. */
const NOTHING_TO_DO =
  /unchanged|no change|not labeled|not annotated|no resources found|dry run|already (?:set|exists|cordoned)/i;

/**
 * The write that a command claims, for example "kubectl apply"; undefined if it claims none.
 * @param output what it printed. A write that says that there was nothing to do claims none
 */
export function findClaimedWrite(command: string, output: string): string | undefined {
  if (!/kubectl|helm|docker/.test(command) || NOTHING_TO_DO.test(output)) return undefined;
  const lists = readLists(command);
  if (lists?.some((list) => list.some(([first = '']) => STRUCTURE.has(first))) !== false) return undefined;
  // The exit code is that of the last list, and 0 means that each of its commands ran.
  for (const words of lists.at(-1) ?? []) {
    const claimed = claimedBy(words);
    if (claimed !== undefined) return claimed;
  }
  return undefined;
}

function claimedBy(words: readonly string[]): string | undefined {
  const [name = '', ...rest] = words.slice(words.findIndex((word) => !/^\w+=/.test(word)));
  const program = Object.hasOwn(PROGRAMS, name) ? PROGRAMS[name] : undefined;
  if (program === undefined || rest.some((word) => HARMLESS.test(word))) return undefined;
  let at = 0;
  for (; rest[at]?.startsWith('-'); at += 1) {
    const flag = rest[at] ?? '';
    if (program.flags.has(flag)) at += 1;
    // Whether the next word is the value of an unknown flag is not known.
    else if (!flag.includes('=')) return undefined;
  }
  const [verb = '', object = ''] = rest.slice(at);
  if (!Object.hasOwn(program.writes, verb)) return undefined;
  const objects = program.writes[verb];
  if (objects === undefined) return `${name} ${verb}`;
  return objects.includes(object) ? `${name} ${verb} ${object}` : undefined;
}

/**
 * The script as lists of simple commands, each as its words without quotes. Commands of one list are
 * joined by && or |. Undefined if the script cannot be read.
 */
function readLists(script: string): string[][][] | undefined {
  const lists: string[][][] = [];
  let list: string[][] = [];
  let words: string[] = [];
  let word: string | undefined;
  const heredocs: string[] = [];
  const endWord = () => {
    if (word !== undefined) words.push(word);
    word = undefined;
  };
  const endCommand = () => {
    endWord();
    if (words.length > 0) list.push(words);
    words = [];
  };
  const endList = () => {
    endCommand();
    if (list.length > 0) lists.push(list);
    list = [];
  };
  const text = script.replaceAll('\\\n', ' ');
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at] ?? '';
    const rest = text.slice(at, at + 80);
    if (char === "'") {
      const close = text.indexOf("'", at + 1);
      if (close === -1) return undefined;
      word = (word ?? '') + text.slice(at + 1, close);
      at = close;
    } else if (char === '"') {
      let quoted = '';
      for (at += 1; text[at] !== '"'; at += 1) {
        if (at >= text.length || text[at] === '`' || (text[at] === '$' && text[at + 1] === '(')) return undefined;
        if (text[at] === '\\') at += 1;
        quoted += text[at] ?? '';
      }
      word = (word ?? '') + quoted;
    } else if (char === '\\') {
      at += 1;
      word = (word ?? '') + (text[at] ?? '');
    } else if (char === '#' && word === undefined) {
      const end = text.indexOf('\n', at);
      at = (end === -1 ? text.length : end) - 1;
    } else if (char === '`' || /^(?:\$\(|[<>]\(|\|\||<<<)/.test(rest)) {
      return undefined;
    } else if (rest.startsWith('<<')) {
      const heredoc = /^<<-?\s*(['"]?)(\w+)\1/.exec(rest);
      if (heredoc === null) return undefined;
      endWord();
      heredocs.push(heredoc[2] ?? '');
      at += heredoc[0].length - 1;
    } else if (rest.startsWith('&&')) {
      endCommand();
      at += 1;
    } else if (/^(?:>&|<&|&>)/.test(rest)) {
      word = `${word ?? ''}${rest.slice(0, 2)}`;
      at += 1;
    } else if (char === '|') {
      endCommand();
    } else if (char === '\n') {
      endList();
      for (const delimiter of heredocs.splice(0)) {
        const end = new RegExp(`^\\t*${delimiter}$`, 'm').exec(text.slice(at + 1));
        if (end === null) return undefined;
        at += 1 + end.index + end[0].length;
      }
    } else if (char === ';' || char === '&') {
      endList();
      // What runs in the background does not decide the exit code.
      if (char === '&') lists.push([]);
    } else if (char === '(' || char === ')') {
      endWord();
      words.push(char);
    } else if (/\s/.test(char)) {
      endWord();
    } else {
      word = (word ?? '') + char;
    }
  }
  endList();
  return lists;
}
