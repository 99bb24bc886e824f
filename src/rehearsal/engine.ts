// Decides the next step from the conversation: the first rule that holds and has something new to
// do.

import type { Message } from '../messages-double/request.ts';
import { countCalls, parseSteps, type Step } from './conversation.ts';
import { type Captures, fill, matchRule } from './match.ts';
import type { Rule, RuleBook } from './rule.ts';

/** An answer: a text, and either commands or a conclusion. */
export interface Decision {
  readonly rule: string;
  /** The number of calls so far; new calls are numbered from here. */
  readonly calls: number;
  readonly say: string;
  readonly commands: readonly string[];
  readonly timeoutSeconds: number | undefined;
  readonly conclude:
    | {
        readonly outcome: string;
        readonly summary: string;
        readonly root_cause: string;
        readonly actions: readonly string[];
      }
    | undefined;
}

/**
 * Captures come from program output and go into commands, so only values without meaning to a shell
 * are allowed. A rule with any other capture is not applied.
 */
const SHELL_SAFE = /^[A-Za-z0-9._:@/-]+$/;

function fillCommands(rule: Rule, captures: Captures): string[] | undefined {
  const templates = rule.run === undefined ? [] : [rule.run].flat();
  const used = templates.flatMap((text) =>
    [...text.matchAll(/\$\{(\w+)\}/g)].map((match) => captures[match[1] ?? ''] ?? ''),
  );
  if (!used.every((value) => SHELL_SAFE.test(value) && !value.startsWith('-'))) return undefined;
  return templates.map((text) => fill(text, captures).trim());
}

/**
 * Whether a rule may run these commands again: counted since the last change, or in total for
 * changes.
 */
function isNew(rule: Rule, commands: readonly string[], steps: readonly Step[]): boolean {
  const state = steps.at(-1)?.state ?? 0;
  const [first] = commands;
  const runs = steps.filter(
    (step) => step.rule === rule.name && step.command === first && (rule.change || step.state === state),
  );
  return runs.length < rule.times;
}

/** The changes made: each command, or the reason given for it if the command is long. */
function describeActions(steps: readonly Step[], isChange: (rule: string) => boolean): string[] {
  return steps
    .filter((step) => isChange(step.rule))
    .map((step) => {
      const shown = step.command.length <= 200 ? step.command.replaceAll(/\s*\n\s*/g, ' ') : step.purpose;
      return `${step.exit === 0 ? '' : `(exit ${step.exit ?? 'unknown'}) `}${shown}`.slice(0, 1000);
    });
}

/** The causes: by convention, the first sentence said before each change names what it removes. */
function describeCauses(steps: readonly Step[], isChange: (rule: string) => boolean): string {
  const said = steps.filter((step) => isChange(step.rule)).map((step) => step.purpose.replaceAll(/\s+/g, ' '));
  return [...new Set(said.map((text) => /^.*?[.!?](?=\s|$)/.exec(text)?.[0] ?? text))].join(' ');
}

/** The next step; undefined if no rule holds. The last rule of a rule book always holds. */
export function decide(book: RuleBook, messages: readonly Message[]): Decision | undefined {
  const changes = new Set(book.rules.filter((rule) => rule.change).map((rule) => rule.name));
  const isChange = (rule: string) => changes.has(rule);
  const steps = parseSteps(messages, isChange);
  const causes = describeCauses(steps, isChange);
  for (const rule of book.rules) {
    for (const captures of matchRule(rule, book, steps)) {
      const commands = fillCommands(rule, captures);
      if (commands === undefined || (commands.length > 0 && !isNew(rule, commands, steps))) continue;
      return {
        rule: rule.name,
        calls: countCalls(messages),
        say: fill(rule.say, captures).trim(),
        commands,
        timeoutSeconds: rule.timeout,
        conclude:
          rule.conclude === undefined
            ? undefined
            : {
                outcome: rule.conclude.outcome,
                summary: fill(rule.conclude.summary, { ...captures, causes }).trim(),
                root_cause: fill(rule.conclude.root_cause, { ...captures, causes }).trim(),
                actions: describeActions(steps, isChange),
              },
      };
    }
  }
  return undefined;
}
