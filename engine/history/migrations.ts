import type { Database } from 'better-sqlite3';

export interface Migration {
  /** Date on which it was written, and what it does. Never changed once released. */
  name: string;
  sql: string;
}

/** In order; the number of migrations applied stands in the file as `user_version`. */
export const migrations: readonly Migration[] = [
  {
    name: '2026-11-26 runs with settings, environment, metrics, layers, artifacts, tags',
    sql: `
      CREATE TABLE migrations (name TEXT PRIMARY KEY, applied_at TEXT NOT NULL) STRICT;
      -- Each deletion takes away some runs at once; the newest can be undone.
      CREATE TABLE deletions (deletion_id INTEGER PRIMARY KEY AUTOINCREMENT, deleted_at TEXT NOT NULL) STRICT;
      CREATE TABLE runs (
        run_id TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        state TEXT NOT NULL,
        created_at TEXT NOT NULL,
        ended_at TEXT,
        model_name TEXT NOT NULL,
        model_path TEXT NOT NULL,
        model_fingerprint TEXT,
        recipe TEXT,
        activation_bits INTEGER,
        output_path TEXT,
        settings TEXT NOT NULL,
        environment TEXT NOT NULL,
        results TEXT NOT NULL,
        error_code TEXT,
        error_message TEXT,
        note TEXT NOT NULL DEFAULT '',
        -- Process that runs it, while it runs.
        owner TEXT,
        deletion_id INTEGER REFERENCES deletions (deletion_id)
      ) STRICT;
      CREATE INDEX runs_by_creation ON runs (created_at);
      CREATE INDEX runs_by_deletion ON runs (deletion_id);
      CREATE INDEX runs_by_output ON runs (output_path);
      CREATE TABLE metrics (
        run_id TEXT NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        value REAL NOT NULL,
        PRIMARY KEY (run_id, name)
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE tags (
        run_id TEXT NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
        tag TEXT NOT NULL,
        PRIMARY KEY (run_id, tag)
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE layers (
        run_id TEXT NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        name TEXT NOT NULL,
        relative_error REAL NOT NULL,
        weight_relative_error REAL NOT NULL,
        notes TEXT NOT NULL,
        PRIMARY KEY (run_id, position)
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE artifacts (
        run_id TEXT NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        kind TEXT NOT NULL,
        path TEXT NOT NULL,
        bytes INTEGER,
        PRIMARY KEY (run_id, position)
      ) STRICT, WITHOUT ROWID;
    `,
  },
  {
    name: '2026-11-26 fingerprint of the package that a run made or measured',
    sql: `
      ALTER TABLE runs ADD COLUMN package_fingerprint TEXT;
      CREATE INDEX runs_by_package ON runs (package_fingerprint);
      CREATE INDEX runs_by_model_path ON runs (model_path);
      CREATE INDEX artifacts_by_path ON artifacts (path);
    `,
  },
];

/** "DBLh": says that a SQLite file is a history of this program. */
export const applicationId = 0x44424c68;

/** Brings a database up to date, all or nothing. The caller has refused newer ones. */
export function migrate(database: Database, now: () => string): void {
  const run = database.transaction(() => {
    // Read within the write lock: another process may have migrated meanwhile.
    const applied = database.pragma('user_version', { simple: true }) as number;
    for (const { name, sql } of migrations.slice(applied)) {
      database.exec(sql);
      database.prepare('INSERT INTO migrations (name, applied_at) VALUES (?, ?)').run(name, now());
    }
    database.pragma(`application_id = ${applicationId}`);
    database.pragma(`user_version = ${Math.max(applied, migrations.length)}`);
  });
  run.immediate();
}
