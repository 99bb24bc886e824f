// Whether a file has the tables, views and triggers of its version, and no others.
//
// The rows of a file are evidence, but a view decides what a reader is shown of them, and a trigger
// what becomes of the next ones.

import { DatabaseSync } from 'node:sqlite';
import { MIGRATIONS } from './schema.ts';

/** Everything that a file of this version consists of: its SQL by its name. */
function readSchema(db: DatabaseSync): Map<string, string> {
  const rows = db.prepare("SELECT type || ' ' || name AS name, coalesce(sql, '') AS sql FROM sqlite_schema").all();
  return new Map(rows.map(({ name, sql }) => [String(name), spelled(String(sql))]));
}

/** Comments and blanks are not compared: they were edited between versions. */
function spelled(sql: string): string {
  return sql
    .replaceAll(/--[^\n]*/g, ' ')
    .replaceAll(/\s+/g, ' ')
    .trim();
}

/** What differs, for example "view sessions was changed". Empty if nothing does. */
export function schemaFaults(db: DatabaseSync, version: number): string[] {
  const model = new DatabaseSync(':memory:');
  try {
    for (const sql of MIGRATIONS.slice(0, version)) model.exec(sql);
    const [expected, found] = [readSchema(model), readSchema(db)];
    return [...new Set([...expected.keys(), ...found.keys()])].sort().flatMap((name) => {
      if (!found.has(name)) return [`${name} is missing`];
      if (!expected.has(name)) return STATISTICS.has(name) ? [] : [`${name} is not part of an audit log`];
      return found.get(name) === expected.get(name) ? [] : [`${name} was changed`];
    });
  } finally {
    model.close();
  }
}

/** SQLite adds it when somebody has it count the rows. */
const STATISTICS: ReadonlySet<string> = new Set(['table sqlite_stat1', 'table sqlite_stat4']);
