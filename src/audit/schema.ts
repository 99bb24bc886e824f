// The SQL of the audit file: tables, append-only triggers, the sessions view, and migrations.

/**
 * Written to `PRAGMA application_id` ("OPLA"), so that a file identifies itself as an audit log of
 * oplab.
 */
export const APPLICATION_ID = 0x4f504c41;

/** SQLite's page size in bytes. New files have it by default. */
export const PAGE_BYTES = 4096;

/** Each migration takes the file from version n to n + 1. Never change or remove a released one. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE entries (
    session     TEXT    NOT NULL,
    seq         INTEGER NOT NULL CHECK (seq >= 1),
    time        TEXT    NOT NULL,
    attempt     INTEGER NOT NULL,
    writer      TEXT    NOT NULL,
    client_key  TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    tool        TEXT,
    params      TEXT,
    exit_code   INTEGER,
    duration_ms INTEGER,
    content     TEXT    NOT NULL,
    blob_digest TEXT,
    prev_hash   TEXT    NOT NULL,
    hash        TEXT    NOT NULL,
    PRIMARY KEY (session, seq),
    UNIQUE (session, writer, client_key)
  ) STRICT;

  CREATE INDEX entries_lifecycle ON entries (session, seq) WHERE kind = 'lifecycle';
  CREATE INDEX entries_first ON entries (session) WHERE seq = 1;

  CREATE TABLE seals (
    session   TEXT    NOT NULL PRIMARY KEY,
    entries   INTEGER NOT NULL,
    head_hash TEXT    NOT NULL,
    FOREIGN KEY (session, entries) REFERENCES entries (session, seq)
  ) STRICT;

  -- Redacted text by its digest. Rows may be deleted to save space: the chain holds only the digests.
  CREATE TABLE blobs (
    digest  TEXT NOT NULL PRIMARY KEY,
    bytes   BLOB NOT NULL,
    created TEXT NOT NULL
  ) STRICT;

  -- The probe write after a failure goes here, so that it never touches the chain.
  CREATE TABLE probes (id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1), time TEXT NOT NULL) STRICT;

  CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
  CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
  CREATE TRIGGER entries_no_append_after_seal BEFORE INSERT ON entries
    WHEN EXISTS (SELECT 1 FROM seals WHERE session = NEW.session)
    BEGIN SELECT RAISE(ABORT, 'the session is sealed'); END;
  CREATE TRIGGER seals_no_update BEFORE UPDATE ON seals
    BEGIN SELECT RAISE(ABORT, 'a seal is final'); END;
  CREATE TRIGGER seals_no_delete BEFORE DELETE ON seals
    BEGIN SELECT RAISE(ABORT, 'a seal is final'); END;
  CREATE TRIGGER blobs_no_update BEFORE UPDATE ON blobs
    BEGIN SELECT RAISE(ABORT, 'a blob is named by its digest'); END;

  CREATE VIEW sessions AS
    SELECT
      f.session AS session,
      coalesce(json_extract(o.params, '$.incident.namespace'), '') AS namespace,
      coalesce(json_extract(o.params, '$.incident.name'), '') AS name,
      coalesce(json_extract(o.params, '$.summary'), '') AS summary,
      f.time AS opened_at,
      h.time AS last_at,
      h.seq AS entries,
      h.hash AS head_hash,
      EXISTS (SELECT 1 FROM seals WHERE session = f.session) AS sealed,
      (SELECT json_extract(e.params, '$.outcome') FROM entries e
        WHERE e.session = f.session AND e.kind = 'lifecycle' AND e.writer = 'gateway'
          AND json_extract(e.params, '$.event') IN ('outcome', 'sealed')
          AND json_type(e.params, '$.outcome') = 'text'
        ORDER BY e.seq DESC LIMIT 1) AS outcome
    FROM entries f
    JOIN entries h ON h.session = f.session
      AND h.seq = (SELECT max(seq) FROM entries WHERE session = f.session)
    LEFT JOIN entries o ON o.session = f.session AND o.kind = 'lifecycle'
      AND o.seq = (SELECT min(seq) FROM entries WHERE session = f.session AND kind = 'lifecycle'
        AND writer = 'gateway' AND json_extract(params, '$.event') = 'opened')
    WHERE f.seq = 1;
  `,
  `
  -- What calls in progress may cost. The entry that records a call's end deletes its row. Not evidence.
  CREATE TABLE reservations (
    session    TEXT    NOT NULL,
    client_key TEXT    NOT NULL,
    attempt    INTEGER NOT NULL,
    bound      TEXT    NOT NULL,
    PRIMARY KEY (session, client_key)
  ) STRICT;
  `,
  `
  -- What each session uses on disk, for its limits. Not evidence.
  CREATE TABLE usage (
    session TEXT    NOT NULL PRIMARY KEY,
    entries INTEGER NOT NULL,
    bytes   INTEGER NOT NULL
  ) STRICT;

  INSERT INTO usage (session, entries, bytes)
    SELECT e.session, count(*),
      sum(800 + length(CAST(e.content AS BLOB)) + coalesce(length(CAST(e.params AS BLOB)), 0))
        + coalesce((SELECT sum(length(b.bytes) + 4096) FROM blobs b
            WHERE b.digest IN (SELECT blob_digest FROM entries WHERE session = e.session)), 0)
    FROM entries e GROUP BY e.session;
  `,
  `
  -- The tombstones of sessions whose rows were deleted: what their seals said. Rows are deleted in steps,
  -- and only after the tombstone is on disk.
  CREATE TABLE pruned (
    session   TEXT    NOT NULL PRIMARY KEY,
    entries   INTEGER NOT NULL,
    head_hash TEXT    NOT NULL,
    pruned_at TEXT    NOT NULL,
    summary   TEXT    NOT NULL
  ) STRICT;

  CREATE INDEX entries_blob ON entries (blob_digest) WHERE blob_digest IS NOT NULL;

  CREATE TRIGGER pruned_only_sealed BEFORE INSERT ON pruned
    WHEN EXISTS (SELECT 1 FROM entries WHERE session = NEW.session)
      AND NOT EXISTS (SELECT 1 FROM seals
        WHERE session = NEW.session AND entries = NEW.entries AND head_hash = NEW.head_hash)
    BEGIN SELECT RAISE(ABORT, 'only a sealed session can be pruned'); END;
  CREATE TRIGGER pruned_no_update BEFORE UPDATE ON pruned
    BEGIN SELECT RAISE(ABORT, 'a tombstone is final'); END;
  CREATE TRIGGER pruned_no_delete BEFORE DELETE ON pruned
    BEGIN SELECT RAISE(ABORT, 'a tombstone is final'); END;

  DROP TRIGGER entries_no_delete;
  CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries
    WHEN NOT EXISTS (SELECT 1 FROM pruned WHERE session = OLD.session)
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
  DROP TRIGGER seals_no_delete;
  CREATE TRIGGER seals_no_delete BEFORE DELETE ON seals
    WHEN NOT EXISTS (SELECT 1 FROM pruned WHERE session = OLD.session)
    BEGIN SELECT RAISE(ABORT, 'a seal is final'); END;
  CREATE TRIGGER entries_no_append_after_prune BEFORE INSERT ON entries
    WHEN EXISTS (SELECT 1 FROM pruned WHERE session = NEW.session)
    BEGIN SELECT RAISE(ABORT, 'the session is pruned'); END;
  `,
  `
  -- For the usage of each AgentClass since midnight.
  CREATE INDEX entries_model_calls ON entries (time) WHERE kind = 'model_call' AND writer = 'gateway';
  `,
  `
  -- The events of the log as a whole, in order: the leaves of its Merkle tree. They outlive entries.
  CREATE TABLE log_leaves (
    position INTEGER NOT NULL PRIMARY KEY CHECK (position >= 0),
    event    TEXT    NOT NULL CHECK (event IN ('opened', 'sealed')),
    session  TEXT    NOT NULL,
    entries  INTEGER NOT NULL,
    hash     TEXT    NOT NULL,
    UNIQUE (session, event)
  ) STRICT;

  -- Sessions from before this version, by the times of their events.
  INSERT INTO log_leaves (position, event, session, entries, hash)
    SELECT row_number() OVER (ORDER BY time, event, session) - 1, event, session, entries, hash FROM (
      SELECT time, 'opened' AS event, session, 1 AS entries, hash FROM entries
        WHERE seq = 1 AND session NOT IN (SELECT session FROM pruned)
      UNION ALL
      SELECT e.time, 'sealed', s.session, s.entries, s.head_hash FROM seals s
        LEFT JOIN entries e ON e.session = s.session AND e.seq = s.entries
      UNION ALL
      SELECT pruned_at, 'sealed', session, entries, head_hash FROM pruned
    );

  -- What was signed last, and what was last published outside the file. The signatures protect it.
  CREATE TABLE signed_notes (
    state      TEXT NOT NULL PRIMARY KEY CHECK (state IN ('signed', 'published')),
    checkpoint TEXT NOT NULL,
    heads      TEXT NOT NULL
  ) STRICT;

  CREATE TRIGGER log_leaves_no_update BEFORE UPDATE ON log_leaves
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
  CREATE TRIGGER log_leaves_no_delete BEFORE DELETE ON log_leaves
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
  CREATE TRIGGER log_leaves_in_order BEFORE INSERT ON log_leaves
    WHEN NEW.position <> (SELECT coalesce(max(position) + 1, 0) FROM log_leaves)
    BEGIN SELECT RAISE(ABORT, 'the leaves of the log are numbered without gaps'); END;
  -- A copy of a log gets its leaves before its rows, so that they have the order of the original.
  CREATE TRIGGER entries_open_session AFTER INSERT ON entries WHEN NEW.seq = 1
    BEGIN INSERT OR IGNORE INTO log_leaves VALUES
      ((SELECT coalesce(max(position) + 1, 0) FROM log_leaves), 'opened', NEW.session, 1, NEW.hash); END;
  CREATE TRIGGER seals_close_session AFTER INSERT ON seals
    BEGIN INSERT OR IGNORE INTO log_leaves VALUES
      ((SELECT coalesce(max(position) + 1, 0) FROM log_leaves), 'sealed', NEW.session, NEW.entries, NEW.head_hash); END;
  CREATE TRIGGER pruned_close_session AFTER INSERT ON pruned
    BEGIN INSERT OR IGNORE INTO log_leaves VALUES
      ((SELECT coalesce(max(position) + 1, 0) FROM log_leaves), 'sealed', NEW.session, NEW.entries, NEW.head_hash); END;
  `,
  `
  -- Which sessions came from exports of other logs, and what proved that those logs held them.
  CREATE TABLE imports (
    session     TEXT NOT NULL,
    exported_at TEXT NOT NULL,
    proof       TEXT,
    PRIMARY KEY (session, exported_at)
  ) STRICT;
  CREATE TRIGGER imports_no_update BEFORE UPDATE ON imports
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
  CREATE TRIGGER imports_no_delete BEFORE DELETE ON imports
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
  `,
];

/** The version from which a file has the tables about the log as a whole. */
export const LOG_TABLES_VERSION = MIGRATIONS.findIndex((sql) => sql.includes('CREATE TABLE log_leaves')) + 1;

/** Triggers that a file must have. Without them, its rows can be changed. */
export const TRIGGERS = [
  'entries_no_update',
  'entries_no_delete',
  'entries_no_append_after_seal',
  'seals_no_update',
  'seals_no_delete',
  'blobs_no_update',
  'pruned_only_sealed',
  'pruned_no_update',
  'pruned_no_delete',
  'entries_no_append_after_prune',
] as const;

/** The same for the tables about the log as a whole. */
export const LOG_TRIGGERS = [
  'log_leaves_no_update',
  'log_leaves_no_delete',
  'log_leaves_in_order',
  'entries_open_session',
  'seals_close_session',
  'pruned_close_session',
] as const;
