// Fills in texts with fields of an alarm, written as in Prometheus' alert annotations: `{{ $labels.x }}`. Pure.

/** Values by the names of fields. `labels` is a field of its own. */
export interface TemplateFields {
  readonly labels: Readonly<Record<string, string>>;
  /** Fields besides labels, such as `value` for `{{ $value }}`. */
  readonly others: Readonly<Record<string, string>>;
  /** What to put in place of a label that is missing; it may throw. */
  readonly missingLabel: (name: string) => string;
}

const FIELD = /\{\{\s*\$(?:labels\.([A-Za-z_][A-Za-z0-9_]*)|([a-z]+))\s*\}\}/g;

/** Fills in the fields. Text that names no known field is left as it is. */
export function fillTemplate(template: string, { labels, others, missingLabel }: TemplateFields): string {
  return template.replaceAll(FIELD, (whole, label: string | undefined, field: string | undefined) => {
    if (label !== undefined) return (Object.hasOwn(labels, label) ? labels[label] : undefined) ?? missingLabel(label);
    return (field !== undefined && Object.hasOwn(others, field) ? others[field] : undefined) ?? whole;
  });
}
