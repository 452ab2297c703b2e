import { statSync } from 'node:fs';
import path from 'node:path';
import SqliteDatabase, { type Database } from 'better-sqlite3';
import { z } from 'zod';
import { DBellError } from '../contract/errors.ts';
import { fileError } from '../files/errors.ts';
import { makeFolders } from '../files/folders.ts';
import { nameForDamaged, renameDatabase } from '../history/database.ts';
import { isDamage } from '../history/errors.ts';
import { applicationId, migrations } from './migrations.ts';
import type { RepositoryFile } from './repository-file.ts';

/** What identifies a request for a model, so that a later one goes on with it. */
export interface DownloadRequest {
  endpoint: string;
  name: string;
  revision: string;
  /** A GGUF file's path in the repository; null for the folder. */
  file: string | null;
}

export interface StoredFile extends RepositoryFile {
  etag: string | null;
  isDone: boolean;
}

export interface StoredDownload extends DownloadRequest {
  /** Where the model will be, or is. */
  path: string;
  commit: string;
  license: string | null;
  state: 'unfinished' | 'complete';
  updatedAt: string;
  files: StoredFile[];
}

const rowSchema = z
  .object({
    path: z.string(),
    endpoint: z.string(),
    name: z.string(),
    revision: z.string(),
    file: z.string(),
    commit_hash: z.string(),
    license: z.string().nullable(),
    state: z.enum(['unfinished', 'complete']),
    updated_at: z.string(),
  })
  .transform(({ commit_hash, updated_at, file, ...row }) => ({
    ...row,
    file: file === '' ? null : file,
    commit: commit_hash,
    updatedAt: updated_at,
  }));

const fileRowSchema = z
  .object({
    repository_path: z.string(),
    bytes: z.number().int().nonnegative(),
    hash_kind: z.enum(['sha256', 'git-blob-sha1']),
    hash: z.string(),
    etag: z.string().nullable(),
    is_done: z.number(),
  })
  .transform(
    (row): StoredFile => ({
      path: row.repository_path,
      bytes: row.bytes,
      hash: { kind: row.hash_kind, value: row.hash },
      etag: row.etag,
      isDone: row.is_done === 1,
    }),
  );

/** Longer than any write of another process takes. */
const busyTimeoutMs = 10_000;

/**
 * Which downloads have begun and which files of them are whole (`downloads.sqlite`). Losing it costs what unfinished downloads have fetched and nothing
 * else, so that a damaged file is set aside and begun anew.
 */
export class DownloadStore {
  readonly #database: Database;
  readonly #now: () => string;

  /** @throws DBellError `disk-error`, `disk-full`; `invalid-history` for a file of a newer version or of another program */
  constructor(file: string, now: () => string = () => new Date().toISOString()) {
    this.#now = now;
    try {
      makeFolders(path.dirname(file));
      this.#database = openOrBeginAnew(file);
    } catch (cause) {
      throw cause instanceof DBellError ? cause : fileError(cause, 'open the list of downloads', file);
    }
  }

  close(): void {
    this.#database.close();
  }

  /** The newest download of the same thing. */
  find(request: DownloadRequest): StoredDownload | null {
    return this.#first(
      'SELECT * FROM downloads WHERE endpoint = ? AND name = ? AND revision = ? AND file = ? ORDER BY updated_at DESC LIMIT 1',
      [request.endpoint, request.name, request.revision, request.file ?? ''],
    );
  }

  at(target: string): StoredDownload | null {
    return this.#first('SELECT * FROM downloads WHERE path = ?', [target]);
  }

  /** Newest first. */
  unfinished(): StoredDownload[] {
    return this.#database
      .prepare(`SELECT * FROM downloads WHERE state = 'unfinished' ORDER BY updated_at DESC`)
      .all()
      .map((row) => this.#withFiles(row));
  }

  /** Adds a download, or puts it in the place of an older one at the same path. */
  begin(
    target: string,
    request: DownloadRequest,
    plan: { commit: string; license: string | null; files: readonly RepositoryFile[] },
  ): void {
    const now = this.#now();
    this.#database
      .transaction(() => {
        this.remove(target);
        this.#database
          .prepare(`INSERT INTO downloads VALUES (?, ?, ?, ?, ?, ?, ?, 'unfinished', ?, ?)`)
          .run(
            target,
            request.endpoint,
            request.name,
            request.revision,
            request.file ?? '',
            plan.commit,
            plan.license,
            now,
            now,
          );
        const insert = this.#database.prepare(
          'INSERT INTO download_files (path, position, repository_path, bytes, hash_kind, hash) VALUES (?, ?, ?, ?, ?, ?)',
        );
        for (const [position, file] of plan.files.entries()) {
          insert.run(target, position, file.path, file.bytes, file.hash.kind, file.hash.value);
        }
      })
      .immediate();
  }

  setEtag(target: string, file: string, etag: string | null): void {
    this.#database
      .prepare('UPDATE download_files SET etag = ? WHERE path = ? AND repository_path = ?')
      .run(etag, target, file);
    this.#touch(target);
  }

  setFileDone(target: string, file: string): void {
    this.#database
      .prepare('UPDATE download_files SET is_done = 1 WHERE path = ? AND repository_path = ?')
      .run(target, file);
    this.#touch(target);
  }

  setComplete(target: string): void {
    this.#database.prepare(`UPDATE downloads SET state = 'complete' WHERE path = ?`).run(target);
    this.#touch(target);
  }

  remove(target: string): void {
    this.#database.prepare('DELETE FROM downloads WHERE path = ?').run(target);
  }

  #touch(target: string): void {
    this.#database.prepare('UPDATE downloads SET updated_at = ? WHERE path = ?').run(this.#now(), target);
  }

  #first(sql: string, values: unknown[]): StoredDownload | null {
    const row = this.#database.prepare(sql).get(...values);
    return row === undefined ? null : this.#withFiles(row);
  }

  #withFiles(raw: unknown): StoredDownload {
    const row = rowSchema.parse(raw);
    const files = this.#database
      .prepare('SELECT * FROM download_files WHERE path = ? ORDER BY position')
      .all(row.path)
      .map((file) => fileRowSchema.parse(file));
    return { ...row, files };
  }
}

function openOrBeginAnew(file: string): Database {
  try {
    return open(file);
  } catch (error) {
    if (!isDamage(error)) throw error;
    renameDatabase(file, nameForDamaged(file));
    return open(file);
  }
}

function open(file: string): Database {
  const isNew = (statSync(file, { throwIfNoEntry: false })?.size ?? 0) === 0;
  const database = new SqliteDatabase(file, { timeout: busyTimeoutMs });
  try {
    if (!isNew) refuseForeign(database, file);
    database.pragma('journal_mode = WAL');
    // What is lost to a power cut is found again by the hashes.
    database.pragma('synchronous = NORMAL');
    database.pragma('foreign_keys = ON');
    database
      .transaction(() => {
        const applied = database.pragma('user_version', { simple: true }) as number;
        for (const sql of migrations.slice(applied)) database.exec(sql);
        database.pragma(`application_id = ${applicationId}`);
        database.pragma(`user_version = ${Math.max(applied, migrations.length)}`);
      })
      .immediate();
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function refuseForeign(database: Database, file: string): void {
  const version = database.pragma('user_version', { simple: true }) as number;
  const id = database.pragma('application_id', { simple: true }) as number;
  // Another process may be making it at this moment: then it has neither yet.
  if (version === 0 && id === 0) return;
  if (id !== applicationId || version > migrations.length) {
    throw new DBellError(
      'invalid-history',
      `${file} ${id === applicationId ? `was written by a newer version (schema ${version}, this one knows up to ${migrations.length}); update DBell Studio` : 'is a database of another program'}; it is left unchanged. DBELL_HOME chooses another folder`,
    );
  }
}
