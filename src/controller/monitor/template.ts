// Texts with fields of the failing sample in them, written as in Prometheus' alert annotations. Pure.

/** What a text may speak of. */
export interface TemplateFields {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: string;
  readonly monitor: string;
  readonly observed: string;
}

const FIELD = /\{\{\s*\$(labels\.([A-Za-z_][A-Za-z0-9_]*)|value|monitor|observed)\s*\}\}/g;

/** Fills in the fields; a label that the sample does not have is empty, and whatever is no field stays as it is. */
export function filled(template: string, fields: TemplateFields): string {
  return template.replaceAll(FIELD, (_whole, field: string, label: string | undefined) => {
    if (label !== undefined) return Object.hasOwn(fields.labels, label) ? (fields.labels[label] ?? '') : '';
    if (field === 'value') return fields.value;
    return field === 'monitor' ? fields.monitor : fields.observed;
  });
}
