// Flags and help of `oplab incident create`.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { SEVERITIES } from '../../api/severity.ts';
import { HTTP_FORM, OBJECT_FORM, PROMETHEUS_FORM } from '../check-flags.ts';
import type { OpenEnvironment } from '../environment.ts';

const HELP = `
A check says how to tell that it is fixed; all must hold for the whole soak. By its kind it is written
  --http-check        "${HTTP_FORM}"
  --object-check      "${OBJECT_FORM}"
  --prometheus-check  "${PROMETHEUS_FORM}"      nothing may match

Examples:
  oplab incident create -f incident.yaml
  oplab incident create tikv-store-down -n tikv --summary "A store is disconnected" --severity critical \\
    --http-check "stores-up=tikv-pd:2379/pd/api/v1/stores body.count == 3" \\
    --object-check "replicas=apps/v1/StatefulSet/tikv-tikv object.status.readyReplicas == 3"
  oplab incident create -n tikv --summary "Is all well?" --suspend --prometheus-check "alerts=tikv-prometheus ALERTS"
  oplab incident create -f - --dry-run < incident.yaml     the API server judges it; nothing is made
  oplab incident create -f incident.yaml --dry-run client  fields, names, rules and CEL, without a cluster

Prints what was applied. Exit codes: 0 made, 1 refused or not reached, 2 wrong input, 3 no such namespace.`;

/** Adds the command to its parent. */
export function addIncidentCreate(parent: Command, open: OpenEnvironment): void {
  const many = (value: string, earlier: string[] | undefined) => [...(earlier ?? []), value];
  const number = (value: string) => {
    if (!/^\d+$/.test(value)) throw new InvalidArgumentError('write a whole number');
    return Number(value);
  };
  parent
    .command('create')
    .description('create an Incident, from a file or from flags')
    .argument('[name]', 'NAME or NAMESPACE/NAME; without it a name is made from the summary')
    .option('-f, --filename <path>', 'Incidents in YAML or JSON; - is the input')
    .option('--summary <text>', 'what is wrong, in one line')
    .option('--description <text>', 'whatever else a person on call would want to know')
    .addOption(new Option('--severity <severity>', 'orders the queue; default warning').choices(SEVERITIES))
    .option('--class <name>', 'AgentClass whose rights and ceilings apply; default "default"')
    .option(
      '--target <namespace>',
      "where the agent may work; default: the Incident's namespace; may be repeated",
      many,
    )
    .option('--http-check <check>', 'GET on a Service, judged by CEL; may be repeated', many)
    .option('--object-check <check>', 'an object, judged by CEL; may be repeated', many)
    .option('--prometheus-check <check>', 'a query that may match nothing; may be repeated', many)
    .option('--soak-seconds <seconds>', 'how long all checks must hold without a break; default 30', number)
    .option('--timeout-seconds <seconds>', 'limit of time, from the first attempt to the end', number)
    .option('--max-turns <count>', 'limit of answers of the model', number)
    .option('--max-tokens <count>', 'limit of tokens', number)
    .option('--max-cost-milli-usd <count>', 'limit of cost, in thousandths of a US dollar', number)
    .option('--attempts <count>', 'limit of agent pods, one after another', number)
    .option('--label <name=value>', 'label of the alert; may be repeated', many)
    .option('--annotation <name=value>', 'annotation of the alert; may be repeated', many)
    .option('--suspend', 'on hold: nothing starts until spec.suspend is false')
    .addOption(
      new Option(
        '--dry-run [where]',
        'make nothing: the server judges it all, or client, what can be told without a cluster',
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
