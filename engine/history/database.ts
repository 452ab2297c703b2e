import {
  accessSync,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  linkSync,
  mkdtempSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import SqliteDatabase, { type Database } from 'better-sqlite3';
import { DBellError } from '../contract/errors.ts';
import { temporarySuffix } from '../files/atomic.ts';
import { fileError, systemErrorCode } from '../files/errors.ts';
import { makeFolders } from '../files/folders.ts';
import { historyError, isDamage, noRoomCodes, sqliteCode } from './errors.ts';
import { applicationId, migrate, migrations } from './migrations.ts';

export interface OpenedDatabase {
  database: Database;
  /** Why nothing can be written, in words; null where it can. */
  readOnlyReason: string | null;
  /** What a person should know: a damaged file that was set aside. */
  notices: string[];
  close(): void;
}

const notADatabase = 'is not a database';

/** Files that belong to a database. */
const companions = ['', '-wal', '-shm'];

/**
 * Opens the history's database, made if it does not exist, and brings it up to date. A file that is none (empty, other bytes) is set aside under another name and kept; nothing is ever
 * deleted. A file or folder that cannot be written is opened as a copy, read-only. Throws DBellError `invalid-history` for a newer version, a database
 * of another program, or one that stays locked; `disk-full`, `disk-error`.
 */
export function openDatabase(
  file: string,
  options: { busyTimeoutMs: number; now: () => string },
): OpenedDatabase {
  const notices: string[] = [];
  makeFolder(path.dirname(file));
  if (existsSync(file) && !looksLikeDatabase(file)) notices.push(setAside(file, notADatabase));
  if (!existsSync(file)) create(file, options);
  const reason = whyReadOnly(file);
  if (reason !== null) return openCopy(file, reason, notices, options);
  try {
    return openWritable(file, notices, options);
  } catch (error) {
    const code = sqliteCode(error);
    if (isDamage(error)) {
      notices.push(setAside(file, `is damaged (${code})`));
      create(file, options);
      return openWritable(file, notices, options);
    }
    if (code !== null && noRoomCodes.has(code))
      return openCopy(file, `there is no room on the disk of ${file}`, notices, options);
    // A volume on which the shared memory of WAL cannot be made.
    if (code !== null && (code.startsWith('SQLITE_READONLY') || code.startsWith('SQLITE_CANTOPEN')))
      return openCopy(file, `${file} cannot be written (${code})`, notices, options);
    throw historyError(error, file, options.busyTimeoutMs);
  }
}

function openWritable(
  file: string,
  notices: string[],
  options: { busyTimeoutMs: number; now: () => string },
): OpenedDatabase {
  const database = new SqliteDatabase(file, { timeout: options.busyTimeoutMs, fileMustExist: true });
  try {
    const version = checkVersion(database, file);
    configure(database);
    if (version < migrations.length) migrate(database, options.now);
    return { database, readOnlyReason: null, notices, close: () => database.close() };
  } catch (error) {
    database.close();
    throw error;
  }
}

function configure(database: Database): void {
  database.pragma('journal_mode = WAL');
  // A run is written once at its end: losing it to a power cut would cost hours, an fsync costs milliseconds.
  database.pragma('synchronous = FULL');
  database.pragma('foreign_keys = ON');
}

/** Refuses other programs' databases and newer versions; returns the version. Nothing has been written yet. */
function checkVersion(database: Database, file: string): number {
  const version = database.pragma('user_version', { simple: true }) as number;
  const id = database.pragma('application_id', { simple: true }) as number;
  if (id !== applicationId)
    throw new DBellError(
      'invalid-history',
      `${file} is a database of another program; it is left alone. Set DBELL_HOME to another folder, or move the file away`,
    );
  if (version > migrations.length)
    throw new DBellError(
      'invalid-history',
      `history ${file} was written by a newer version of DBell Studio (schema ${version}, this version knows up to ${migrations.length}); it is left unchanged. Update DBell Studio`,
    );
  return version;
}

/**
 * Makes a new database under a temporary name and gives it its own name only if no other process was faster, so that nobody ever sees an unfinished one.
 */
function create(file: string, options: { now: () => string }): void {
  const temporary = `${file}.${process.pid}${temporarySuffix}`;
  try {
    for (const suffix of companions) rmSync(temporary + suffix, { force: true });
    const database = new SqliteDatabase(temporary);
    try {
      configure(database);
      migrate(database, options.now);
    } finally {
      database.close();
    }
    try {
      linkSync(temporary, file);
    } catch (error) {
      const code = systemErrorCode(error);
      // Volumes without hard links; there two first starts at the same moment are left to chance.
      if (code !== 'EEXIST' && !existsSync(file)) renameSync(temporary, file);
    }
  } catch (error) {
    if (sqliteCode(error) === null) throw fileError(error, 'create the history', file);
    if (sqliteCode(error)?.startsWith('SQLITE_CANTOPEN'))
      throw new DBellError(
        'disk-error',
        `history ${file} cannot be created: the folder cannot be written; choose another with DBELL_HOME`,
        { cause: error },
      );
    throw historyError(error, file);
  } finally {
    for (const suffix of companions) rmSync(temporary + suffix, { force: true });
  }
}

/** Whether the file begins as SQLite's do. */
function looksLikeDatabase(file: string): boolean {
  const magic = Buffer.from('SQLite format 3\0', 'latin1');
  const start = Buffer.alloc(magic.length);
  let descriptor: number;
  try {
    // Before it is opened: a pipe would wait for its writer for ever.
    if (!statSync(file).isFile())
      throw new DBellError('invalid-history', `history ${file} is not a regular file`);
    descriptor = openSync(file, 'r');
  } catch (error) {
    throw fileError(error, 'open the history', file);
  }
  try {
    readSync(descriptor, start, 0, start.length, 0);
  } finally {
    closeSync(descriptor);
  }
  return start.equals(magic);
}

/** The first name behind `file` that is free for a damaged database and what belongs to it. */
export function nameForDamaged(file: string): string {
  let number = 1;
  while (companions.some((suffix) => existsSync(`${file}.damaged-${number}${suffix}`))) number += 1;
  return `${file}.damaged-${number}`;
}

/** Renames a database with what belongs to it. */
export function renameDatabase(file: string, to: string): void {
  for (const suffix of companions) if (existsSync(file + suffix)) renameSync(file + suffix, to + suffix);
}

/** Renames a bad file, with what belongs to it, to the first free name; returns what to tell. */
function setAside(file: string, what: string): string {
  const kept = nameForDamaged(file);
  try {
    // Another process may have done so already and begun a new one.
    if (what === notADatabase && looksLikeDatabase(file))
      return `history ${file} was replaced by another process`;
    renameDatabase(file, kept);
  } catch (error) {
    throw fileError(error, `set the damaged history aside as ${path.basename(kept)}`, file);
  }
  return `history ${file} ${what}; it was kept as ${kept} and a new history was begun`;
}

function whyReadOnly(file: string): string | null {
  const writable = (target: string): boolean => {
    try {
      accessSync(target, constants.W_OK);
      return true;
    } catch {
      return false;
    }
  };
  if (!writable(file)) return `${file} is read-only`;
  // SQLite keeps its write-ahead log beside the file.
  if (!writable(path.dirname(file))) return `the folder ${path.dirname(file)} is read-only`;
  return null;
}

/** Opens a private copy: a database in WAL mode cannot be read in place without write access to its folder. */
function openCopy(
  file: string,
  reason: string,
  notices: string[],
  options: { busyTimeoutMs: number; now: () => string },
): OpenedDatabase {
  const folder = mkdtempSync(path.join(tmpdir(), 'dbell-history-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    const copy = path.join(folder, 'history.sqlite');
    for (const suffix of ['', '-wal'])
      if (existsSync(file + suffix)) copyFileSync(file + suffix, copy + suffix);
    const opened = openWritable(copy, notices, options);
    opened.database.pragma('query_only = ON');
    const close = () => {
      opened.close();
      remove();
    };
    return { ...opened, readOnlyReason: `${reason}; runs are shown, new ones are not remembered`, close };
  } catch (error) {
    remove();
    if (error instanceof DBellError) throw error;
    throw sqliteCode(error) === null ? fileError(error, 'read the history', file) : historyError(error, file);
  }
}

function makeFolder(folder: string): void {
  try {
    makeFolders(folder);
  } catch (error) {
    throw fileError(error, 'create the folder of the history', folder);
  }
}
