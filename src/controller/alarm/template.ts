// Fills fields of an alarm into texts, written as for Prometheus: `{{ $labels.x }}`. Pure.

/** The values of fields. */
export interface TemplateFields {
  readonly labels: Readonly<Record<string, string>>;
  /** Fields other than labels, such as `value` for `{{ $value }}`. */
  readonly others: Readonly<Record<string, string>>;
  /** The replacement for a missing label; it may throw. */
  readonly missingLabel: (name: string) => string;
}

const FIELD = /\{\{\s*\$(?:labels\.([A-Za-z_][A-Za-z0-9_]*)|([a-z]+))\s*\}\}/g;

/** Fills in the fields. An unknown field other than a label stays as it is. */
export function fillTemplate(template: string, { labels, others, missingLabel }: TemplateFields): string {
  return template.replaceAll(FIELD, (whole, label: string | undefined, field: string | undefined) => {
    if (label !== undefined) return (Object.hasOwn(labels, label) ? labels[label] : undefined) ?? missingLabel(label);
    return (field !== undefined && Object.hasOwn(others, field) ? others[field] : undefined) ?? whole;
  });
}
