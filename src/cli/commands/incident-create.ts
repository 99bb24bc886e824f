// Flags and help of `oplab incident create`.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { SEVERITIES } from '../../api/severity.ts';
import { HTTP_FORM, OBJECT_FORM, PROMETHEUS_FORM } from '../check-flags.ts';
import type { OpenEnvironment } from '../environment.ts';

const HELP = `
A check determines whether the fault is repaired. All checks must hold for the whole soak. Forms:
  --http-check        "${HTTP_FORM}"
  --object-check      "${OBJECT_FORM}"
  --prometheus-check  "${PROMETHEUS_FORM}"      holds if nothing matches

Examples:
  oplab incident create -f incident.yaml
  oplab incident create tikv-store-down -n tikv --summary "A store is disconnected" --severity critical \\
    --http-check "stores-up=tikv-pd:2379/pd/api/v1/stores body.count == 3" \\
    --object-check "replicas=apps/v1/StatefulSet/tikv-tikv object.status.readyReplicas == 3"
  oplab incident create -n tikv --summary "Is all well?" --suspend --prometheus-check "alerts=tikv-prometheus ALERTS"
  oplab incident create -f - --dry-run < incident.yaml     validated by the API server, not created
  oplab incident create -f incident.yaml --dry-run client  fields, names, rules and CEL, without a cluster

Prints the Incident as applied. Exit codes: 0 created, 1 rejected or API server unreachable, 2 invalid input,
3 namespace not found.`;

/** Adds the command to its parent. */
export function addIncidentCreate(parent: Command, open: OpenEnvironment): void {
  const many = (value: string, earlier: string[] | undefined) => [...(earlier ?? []), value];
  const number = (value: string) => {
    if (!/^\d+$/.test(value)) throw new InvalidArgumentError('must be a non-negative integer');
    return Number(value);
  };
  parent
    .command('create')
    .description('create an Incident, from a file or from flags')
    .argument('[name]', 'NAME or NAMESPACE/NAME; by default, a name is generated from the summary')
    .option('-f, --filename <path>', 'file with Incidents in YAML or JSON; - reads standard input')
    .option('--summary <text>', 'what is wrong, in one line')
    .option('--description <text>', 'anything else that a person on call would want to know')
    .addOption(
      new Option('--severity <severity>', 'determines the order in the queue; default warning').choices(SEVERITIES),
    )
    .option('--class <name>', 'AgentClass whose rights and ceilings apply; default "default"')
    .option(
      '--target <namespace>',
      "namespace in which the agent may work; default: the Incident's namespace; may be repeated",
      many,
    )
    .option('--http-check <check>', 'GET on a Service, evaluated with CEL; may be repeated', many)
    .option('--object-check <check>', 'an object, evaluated with CEL; may be repeated', many)
    .option('--prometheus-check <check>', 'a query that must match nothing; may be repeated', many)
    .option('--soak-seconds <seconds>', 'how long all checks must hold without interruption; default 30', number)
    .option('--timeout-seconds <seconds>', 'time limit, from the start of the first attempt', number)
    .option('--max-turns <count>', 'maximum number of model turns', number)
    .option('--max-tokens <count>', 'maximum number of tokens', number)
    .option('--max-cost-milli-usd <count>', 'maximum cost, in thousandths of a US dollar', number)
    .option('--attempts <count>', 'maximum number of attempts, each in its own pod', number)
    .option('--label <name=value>', 'label of the alert; may be repeated', many)
    .option('--annotation <name=value>', 'annotation of the alert; may be repeated', many)
    .option('--suspend', 'create the Incident on hold; nothing starts until spec.suspend is false')
    .addOption(
      new Option(
        '--dry-run [where]',
        'only check: on the server (default), or as far as possible without a cluster (client)',
      )
        .choices(['client', 'server'])
        .preset('server'),
    )
    .addOption(new Option('-o, --output <format>', 'output format').choices(['yaml', 'json', 'name']).default('yaml'))
    .addHelpText('after', HELP)
    .action(async (name: string | undefined, _options: unknown, command: Command) => {
      const { createIncidents } = await import('../actions/incident-create.ts');
      await createIncidents(await open(), command, name);
    });
}
