import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import SqliteDatabase, { type Database } from 'better-sqlite3';
import { z } from 'zod';
import { identifierSchema, timeSchema } from '../../contract/common.ts';
import { DBellError } from '../../contract/errors.ts';
import { type Job, jobKindSchema, jobSubjectSchema, jobTaskSchema } from '../../contract/jobs.ts';
import { makeFolders } from '../../files/folders.ts';
import { fileIdentity } from '../../files/identity.ts';
import { nameForDamaged, renameDatabase } from '../../history/database.ts';
import { isDamage } from '../../history/errors.ts';
import { isAlive, thisProcess } from '../../history/owner.ts';
import type { JobRequest } from './job-requests.ts';
import { queueError } from './queue-error.ts';

/** What a job is, as far as it can be told without its work. */
const describedSchema = z.object({
  kind: jobKindSchema,
  tasks: z.array(jobTaskSchema).min(1),
  subject: jobSubjectSchema,
});

const rowSchema = z
  .object({
    job_id: identifierSchema,
    created_at: timeSchema,
    described: z.string().transform((text) => describedSchema.parse(JSON.parse(text))),
    call: z.string(),
    input: z.string().transform((text) => JSON.parse(text) as unknown),
    has_begun: z.number().transform((value) => value === 1),
    studio_id: z.string(),
  })
  .transform(({ described, ...row }) => ({
    ...described,
    jobId: row.job_id,
    createdAt: row.created_at,
    /** Of the call; what they mean the reader checks: another version may have written them. */
    request: { call: row.call, input: row.input },
    hasBegun: row.has_begun,
    studioId: row.studio_id,
  }));
/** A job whose process is gone. */
export type LeftJob = z.output<typeof rowSchema>;

/** "DBLq": says that a SQLite file is a queue of this program. */
const applicationId = 0x44424c71;

/** In order; how many were applied stands in the file as `user_version`. Never changed once released. */
const migrations: readonly string[] = [
  `CREATE TABLE jobs (
     -- The order in which they wait.
     position INTEGER PRIMARY KEY,
     job_id TEXT NOT NULL UNIQUE,
     created_at TEXT NOT NULL,
     described TEXT NOT NULL,
     call TEXT NOT NULL,
     input TEXT NOT NULL,
     has_begun INTEGER NOT NULL DEFAULT 0,
     -- One supervisor and all the services that it starts, one after another.
     studio_id TEXT NOT NULL,
     -- Process that has it in its queue (history/owner.ts); null: none.
     owner TEXT
   ) STRICT;`,
];

/** Writes take milliseconds; the service answers nobody while it waits for those of another. */
const busyTimeoutMs = 2000;

/**
 * Jobs that wait or are worked on, as they were asked for (`queue.sqlite`), of all studios on one folder. Each change is one transaction, on disk when the call returns. The file is opened
 * for each: nothing is held that another studio or a person could take away meanwhile. A damaged file is set aside and begun anew.
 *
 * All throw DBellError `invalid-history` for a file of a newer version or of another program, `disk-full` and `disk-error` where it cannot be used.
 */
export class KeptJobStore {
  readonly file: string;
  readonly #studioId: string;
  readonly #owner = thisProcess();
  /** Told of a damaged file. */
  readonly #warn: (message: string) => void;

  constructor(file: string, studioId: string, warn: (message: string) => void) {
    this.file = file;
    this.#studioId = studioId;
    this.#warn = warn;
  }

  keep({ jobId, createdAt, kind, tasks, subject }: Job, { call, input }: JobRequest): void {
    this.#withDatabase((database) =>
      database
        .prepare(
          `INSERT INTO jobs (position, job_id, created_at, described, call, input, studio_id, owner)
           VALUES ((SELECT coalesce(max(position), 0) + 1 FROM jobs), ?, ?, ?, ?, ?, ?, ?)`,
        )
        .run(
          ...[jobId, createdAt, JSON.stringify({ kind, tasks, subject }), call, JSON.stringify(input)],
          ...[this.#studioId, this.#owner],
        ),
    );
  }

  setBegun(jobId: string): void {
    this.#change((database) =>
      database
        .prepare('UPDATE jobs SET has_begun = 1 WHERE job_id = ? AND owner = ?')
        .run(jobId, this.#owner),
    );
  }

  /** Whether it was there. */
  remove(jobId: string): boolean {
    return (
      this.#change((database) => database.prepare('DELETE FROM jobs WHERE job_id = ?').run(jobId))
        ?.changes === 1
    );
  }

  /** Lets go of a job, or of all that this process has. */
  release(jobId?: string): void {
    this.#change((database) =>
      database
        .prepare('UPDATE jobs SET owner = NULL WHERE owner = ? AND job_id = coalesce(?, job_id)')
        .run(this.#owner, jobId ?? null),
    );
  }

  /** Jobs that no process has, in their order. Rows that cannot be understood are left alone. */
  left(): LeftJob[] {
    const rows =
      this.#change(
        (database) =>
          database.prepare('SELECT * FROM jobs ORDER BY position').all() as {
            job_id: string;
            owner: string | null;
          }[],
      ) ?? [];
    const left: LeftJob[] = [];
    for (const row of rows) {
      if (!this.#isLeft(row.owner)) continue;
      const read = readRow(row);
      if (read) left.push(read);
      else this.#warn(`job ${row.job_id} in ${this.file} cannot be understood; it is left alone`);
    }
    return left;
  }

  /** Takes a job that no process has, in its place or behind all others. False where another was faster, or it was dismissed. */
  take(jobId: string, place: 'own' | 'last'): boolean {
    return (
      this.#change((database) =>
        database
          .transaction(() => {
            const row = database.prepare('SELECT owner FROM jobs WHERE job_id = ?').get(jobId) as
              | { owner: string | null }
              | undefined;
            if (row === undefined || !this.#isLeft(row.owner)) return false;
            database
              .prepare(
                `UPDATE jobs SET owner = ?, studio_id = ?, has_begun = 0,
                   position = iif(?, (SELECT max(position) + 1 FROM jobs), position) WHERE job_id = ?`,
              )
              .run(this.#owner, this.#studioId, place === 'last' ? 1 : 0, jobId);
            return true;
          })
          .immediate(),
      ) ?? false
    );
  }

  #isLeft(owner: string | null): boolean {
    return owner === null || (owner !== this.#owner && !isAlive(owner));
  }

  /** Makes no file where there is none: then there is nothing to change. */
  #change<T>(work: (database: Database) => T): T | null {
    return existsSync(this.file) ? this.#withDatabase(work) : null;
  }

  /** SQLite may find damage when it opens the file, or only when the work comes to the damaged page. */
  #withDatabase<T>(work: (database: Database) => T): T {
    try {
      makeFolders(path.dirname(this.file));
      const before = fileIdentity(this.file);
      try {
        return withOpen(this.file, work);
      } catch (error) {
        if (!isDamage(error)) throw error;
        // Another studio may have found it first, and begun anew.
        if (fileIdentity(this.file) === before) this.#setAside();
        return withOpen(this.file, work);
      }
    } catch (error) {
      throw queueError(error, this.file, busyTimeoutMs);
    }
  }

  #setAside(): void {
    const kept = nameForDamaged(this.file);
    renameDatabase(this.file, kept);
    this.#warn(`the queue ${this.file} is damaged; it was kept as ${kept} and a new one was begun`);
  }
}

function withOpen<T>(file: string, work: (database: Database) => T): T {
  const database = open(file);
  try {
    return work(database);
  } finally {
    database.close();
  }
}

function readRow(row: unknown): LeftJob | null {
  try {
    return rowSchema.parse(row);
  } catch {
    return null;
  }
}

function open(file: string): Database {
  const isNew = (statSync(file, { throwIfNoEntry: false })?.size ?? 0) === 0;
  const database = new SqliteDatabase(file, { timeout: busyTimeoutMs });
  try {
    const number = (pragma: string) => database.pragma(pragma, { simple: true }) as number;
    if (!isNew) refuseForeign(file, number('application_id'), number('user_version'));
    database.pragma('synchronous = FULL');
    if (number('user_version') === migrations.length) return database;
    database
      .transaction(() => {
        // Read within the write lock: another process may have done it meanwhile.
        for (const sql of migrations.slice(number('user_version'))) database.exec(sql);
        database.pragma(`application_id = ${applicationId}`);
        database.pragma(`user_version = ${migrations.length}`);
      })
      .immediate();
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function refuseForeign(file: string, id: number, version: number): void {
  // Another process may be making it at this moment: then it has neither yet.
  if (version === 0 && id === 0) return;
  if (id === applicationId && version <= migrations.length) return;
  throw new DBellError(
    'invalid-history',
    id === applicationId
      ? `${file} was written by a newer version of DBell Studio; it is left unchanged. Update DBell Studio`
      : `${file} is a database of another program; it is left unchanged. DBELL_HOME chooses another folder`,
  );
}
