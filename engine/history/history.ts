import path from 'node:path';
import type { Database, Statement } from 'better-sqlite3';
import type { z } from 'zod';
import type { JsonObject } from '../contract/common.ts';
import type { ErrorPayload } from '../contract/error-payload.ts';
import { DBellError } from '../contract/errors.ts';
import type {
  HistoryListInput,
  RunDetail,
  RunKind,
  RunSummary,
  runDifferenceSchema,
} from '../contract/history.ts';
import { quantizeInputSchema } from '../contract/quantization.ts';
import { compareRuns } from './compare.ts';
import { type OpenedDatabase, openDatabase } from './database.ts';
import { historyError } from './errors.ts';
import { type ImportOutcome, importRuns } from './import-runs.ts';
import { busyTimeoutMs, undoableDeletions } from './limits.ts';
import { fold, listQuery } from './list-query.ts';
import { figuresWithMeasurements, withMeasurements } from './measured-later.ts';
import { isAlive, thisProcess } from './owner.ts';
import { makerSql, measurementsSql } from './related-runs.ts';
import {
  detailOf,
  type RunParts,
  runRowSchema,
  summaryColumns,
  summaryOf,
  summaryRowSchema,
} from './rows.ts';
import { RunWriter } from './run-writer.ts';
import type { RunBeginning, RunFacts, RunOutcome, UnfinishedRun } from './types.ts';

export interface HistoryOptions {
  /** Machine and versions, kept with every run that begins without its own. */
  environment?: JsonObject;
  busyTimeoutMs?: number;
  /** The time as ISO 8601 in UTC; replaceable for tests. */
  now?: () => string;
}

/**
 * Opens or makes the history (`history.sqlite`); see openDatabase for what happens to files that are damaged, read-only, newer or in use. Runs whose
 * process has ended without a word become `interrupted`.
 */
export function openHistory(file: string, options: HistoryOptions = {}): History {
  return new History(file, options);
}

/**
 * Remembers runs. Calls are synchronous; each change is one transaction, on disk when the call returns. All throw DBellError: `not-found` for an unknown run,
 * `invalid-history` where the database stays locked, is read-only or damaged, `disk-full`.
 */
export class History {
  readonly path: string;
  /** Why nothing can be remembered, in words; null where it can. */
  readonly readOnlyReason: string | null;
  /** What a person should be told about opening. */
  readonly notices: readonly string[];
  readonly #database: Database;
  readonly #opened: OpenedDatabase;
  readonly #now: () => string;
  readonly #writer: RunWriter;
  readonly #busyTimeoutMs: number;
  readonly #statements = new Map<string, Statement<unknown[]>>();

  constructor(file: string, options: HistoryOptions) {
    this.path = path.resolve(file);
    this.#now = options.now ?? (() => new Date().toISOString());
    this.#writer = new RunWriter((sql) => this.#statement(sql), options.environment ?? {});
    this.#busyTimeoutMs = options.busyTimeoutMs ?? busyTimeoutMs;
    this.#opened = openDatabase(this.path, { busyTimeoutMs: this.#busyTimeoutMs, now: this.#now });
    this.#database = this.#opened.database;
    this.readOnlyReason = this.#opened.readOnlyReason;
    this.notices = this.#opened.notices;
    this.#database.function('fold', { deterministic: true }, (value: unknown) =>
      typeof value === 'string' ? fold(value) : value,
    );
    if (this.readOnlyReason === null) this.#markInterrupted();
  }

  close(): void {
    this.#opened.close();
  }

  /** Adds the run as `running`, or marks it so again where it is there already (a resumed one). */
  begin(run: RunBeginning): void {
    this.#change(() => {
      const known = this.#statement('SELECT run_id FROM runs WHERE run_id = ?').get(run.runId);
      if (known === undefined) this.#writer.insert(run, 'running', null);
      else
        this.#statement(
          `UPDATE runs SET state = 'running', owner = ?, ended_at = NULL, error_code = NULL, error_message = NULL, deletion_id = NULL
           WHERE run_id = ?`,
        ).run(thisProcess(), run.runId);
    });
  }

  /** Ends a run well. */
  finish(runId: string, outcome: RunOutcome): void {
    this.#change(() => {
      this.#require(runId);
      this.#statement(
        `UPDATE runs SET state = 'finished', ended_at = ?, owner = NULL, results = ?, error_code = NULL, error_message = NULL,
           model_fingerprint = coalesce(?, model_fingerprint), package_fingerprint = coalesce(?, package_fingerprint),
           activation_bits = coalesce(?, activation_bits)
         WHERE run_id = ?`,
      ).run(
        ...[this.#now(), JSON.stringify(outcome.results), outcome.modelFingerprint],
        ...[outcome.packageFingerprint, outcome.activationBits, runId],
      );
      this.#writer.writeMetrics(runId, outcome.metrics);
      this.#writer.writeLayers(runId, outcome.layers);
      this.#writer.writeArtifacts(runId, outcome.artifacts);
    });
  }

  /** Ends a run with an error: `stopped` for that code, else `failed`. */
  fail(runId: string, error: ErrorPayload): void {
    this.#change(() => {
      this.#require(runId);
      this.#statement(
        'UPDATE runs SET state = ?, ended_at = ?, owner = NULL, error_code = ?, error_message = ? WHERE run_id = ?',
      ).run(error.code === 'stopped' ? 'stopped' : 'failed', this.#now(), error.code, error.message, runId);
    });
  }

  /** A measurement, whole at once. */
  record(run: RunBeginning, facts: RunFacts): void {
    this.#change(() => {
      this.#writer.insert(run, 'finished', this.#now(), facts.results);
      this.#writer.writeMetrics(run.runId, facts.metrics);
    });
  }

  /** The newest quantization into this folder, if it never ended well and its process is gone; else null. */
  unfinishedFor(out: string): UnfinishedRun | null {
    return this.#read(() => {
      const row = this.#statement(
        `SELECT run_id, created_at, model_path, settings, owner, state FROM runs
         WHERE output_path = ? AND kind = 'quantize' AND deletion_id IS NULL
         ORDER BY created_at DESC, run_id LIMIT 1`,
      ).get(out) as
        | {
            run_id: string;
            created_at: string;
            model_path: string;
            settings: string;
            owner: string | null;
            state: string;
          }
        | undefined;
      // A newer run that ended well made what stands there now, whatever became of older ones.
      if (row === undefined || row.state === 'finished') return null;
      if (row.owner !== null && row.owner !== thisProcess() && isAlive(row.owner)) return null;
      const input = quantizeInputSchema.safeParse(JSON.parse(row.settings));
      if (!input.success) return null;
      return { runId: row.run_id, createdAt: row.created_at, modelPath: row.model_path, input: input.data };
    });
  }

  /** Packages that finished runs made, newest first; whether they are still there, the file system knows. */
  packages(limit: number): { path: string; runId: string; createdAt: string }[] {
    return this.#read(
      () =>
        this.#statement(
          `SELECT artifacts.path AS path, runs.run_id AS runId, created_at AS createdAt
           FROM artifacts JOIN runs ON runs.run_id = artifacts.run_id
           WHERE artifacts.kind = 'package' AND state = 'finished' AND deletion_id IS NULL
           ORDER BY created_at DESC, runs.run_id LIMIT ?`,
        ).all(limit) as { path: string; runId: string; createdAt: string }[],
    );
  }

  /** Outputs of quantizations that did not end well, newest first. */
  unfinishedOutputs(limit: number): string[] {
    return this.#read(() => {
      const rows = this.#statement(
        `SELECT output_path AS path FROM runs
         WHERE kind = 'quantize' AND state <> 'finished' AND output_path IS NOT NULL AND deletion_id IS NULL
         ORDER BY created_at DESC, run_id LIMIT ?`,
      ).all(limit) as { path: string }[];
      return rows.map((row) => row.path);
    });
  }

  /**
   * One page of runs, and how many there are in all. A quantization has the figures that were measured of its package later too. Runs without the figure
   * sorted by come last either way.
   */
  list(input: HistoryListInput): { runs: RunSummary[]; total: number } {
    const { filter, values, order, orderValues } = listQuery(input);
    return this.#read(() => {
      const { total } = this.#statement(`SELECT count(*) AS total FROM runs WHERE ${filter}`).get(
        ...values,
      ) as {
        total: number;
      };
      const rows = this.#statement(
        `SELECT ${summaryColumns} FROM runs WHERE ${filter}
         ORDER BY ${order} LIMIT ? OFFSET ?`,
      ).all(...values, ...orderValues, input.limit, input.offset);
      const runs = rows.map((row) => {
        const checked = summaryRowSchema.parse(row);
        const parts = this.#parts(checked.run_id);
        return summaryOf(checked, { ...parts, metrics: this.#withLaterFigures(checked, parts.metrics) });
      });
      return { runs, total };
    });
  }

  /** Ids of the runs, at most `limit`, that begin with these characters. */
  idsBeginning(characters: string, limit: number): string[] {
    return this.#read(() => {
      const rows = this.#statement(
        `SELECT run_id FROM runs WHERE substr(run_id, 1, length(?)) = ? AND deletion_id IS NULL
         ORDER BY created_at DESC, run_id LIMIT ?`,
      ).all(characters, characters, limit) as { run_id: string }[];
      return rows.map((row) => row.run_id);
    });
  }

  /** Everything that is known of a run. */
  show(runId: string): RunDetail {
    return this.#read(() => {
      const row = this.#statement('SELECT * FROM runs WHERE run_id = ? AND deletion_id IS NULL').get(runId);
      if (row === undefined) throw this.#unknown(runId);
      const layers = this.#statement('SELECT * FROM layers WHERE run_id = ? ORDER BY position').all(
        runId,
      ) as {
        name: string;
        relative_error: number;
        weight_relative_error: number;
        notes: string;
      }[];
      const artifacts = this.#statement(
        'SELECT kind, path, bytes FROM artifacts WHERE run_id = ? ORDER BY position',
      ).all(runId) as RunDetail['artifacts'];
      return detailOf(runRowSchema.parse(row), {
        ...this.#parts(runId),
        artifacts,
        layers: layers.map((layer) => ({
          name: layer.name,
          relativeError: layer.relative_error,
          weightRelativeError: layer.weight_relative_error,
          notes: JSON.parse(layer.notes) as string[],
        })),
      });
    });
  }

  /**
   * Finished measurements of the package that a quantization made, newest first: those of a package with the same fingerprint, wherever it lies. Where a
   * fingerprint is not known the path must do: then a measurement belongs to the newest run that had made a package there before it.
   */
  measurementsOf(runId: string): RunDetail[] {
    const rows = this.#read(() => this.#statement(measurementsSql).all(runId, runId) as { run_id: string }[]);
    return rows.map((row) => this.show(row.run_id));
  }

  /** The quantization that made the package which a run measured; null where none is known. Of several that made the same, the one that lies where it was measured, else the newest. */
  makerOf(runId: string): RunSummary | null {
    return this.#read(() => {
      const row = this.#statement(makerSql).get(runId);
      if (row === undefined) return null;
      const checked = summaryRowSchema.parse(row);
      return summaryOf(checked, this.#parts(checked.run_id));
    });
  }

  compare(runIds: string[]): {
    runs: RunDetail[];
    differences: z.infer<typeof runDifferenceSchema>[];
    warnings: string[];
  } {
    const runs = runIds.map((runId) => withMeasurements(this.show(runId), this.measurementsOf(runId)));
    return { runs, ...compareRuns(runs) };
  }

  /** Replaces note and tags, whichever are given. */
  annotate(runId: string, changes: { note?: string; tags?: string[] }): RunDetail {
    this.#change(() => {
      this.#require(runId);
      if (changes.note !== undefined)
        this.#statement('UPDATE runs SET note = ? WHERE run_id = ?').run(changes.note, runId);
      if (changes.tags !== undefined) this.#writer.writeTags(runId, changes.tags);
    });
    return this.show(runId);
  }

  /** Hides runs; all or none. Returns how many. `undoDelete` brings them back while they are among the newest deletions. */
  delete(runIds: string[]): number {
    return this.#change(() => {
      for (const runId of runIds) this.#require(runId);
      const { lastInsertRowid } = this.#statement('INSERT INTO deletions (deleted_at) VALUES (?)').run(
        this.#now(),
      );
      let deleted = 0;
      for (const runId of runIds)
        deleted += this.#statement(
          'UPDATE runs SET deletion_id = ? WHERE run_id = ? AND deletion_id IS NULL',
        ).run(lastInsertRowid, runId).changes;
      const oldest = `(SELECT deletion_id FROM deletions ORDER BY deletion_id DESC LIMIT -1 OFFSET ${undoableDeletions})`;
      this.#statement(`DELETE FROM runs WHERE deletion_id IN ${oldest}`).run();
      this.#statement(`DELETE FROM deletions WHERE deletion_id IN ${oldest}`).run();
      return deleted;
    });
  }

  /** Takes back the last deletion; returns its runs, none where nothing can be undone. */
  undoDelete(): string[] {
    return this.#change(() => {
      const last = this.#statement('SELECT max(deletion_id) AS id FROM deletions').get() as {
        id: number | null;
      };
      if (last.id === null) return [];
      const rows = this.#statement(
        'SELECT run_id FROM runs WHERE deletion_id = ? ORDER BY created_at, run_id',
      ).all(last.id) as { run_id: string }[];
      this.#statement('UPDATE runs SET deletion_id = NULL WHERE deletion_id = ?').run(last.id);
      this.#statement('DELETE FROM deletions WHERE deletion_id = ?').run(last.id);
      return rows.map((row) => row.run_id);
    });
  }

  /** All runs that are not deleted, or those given, oldest first. */
  export(runIds?: string[]): RunDetail[] {
    const all = this.#read(
      () =>
        this.#statement(
          'SELECT run_id FROM runs WHERE deletion_id IS NULL ORDER BY created_at, run_id',
        ).all() as {
          run_id: string;
        }[],
    ).map((row) => row.run_id);
    if (runIds === undefined) return all.map((runId) => this.show(runId));
    const wanted = new Set(runIds);
    const found = all.filter((runId) => wanted.has(runId));
    for (const runId of runIds) if (!found.includes(runId)) throw this.#unknown(runId);
    return found.map((runId) => this.show(runId));
  }

  /** Adds runs, all in one transaction; what becomes of each says `importRuns`. */
  import(runs: RunDetail[]): ImportOutcome {
    return this.#change(() => importRuns(runs, (sql) => this.#statement(sql), this.#writer));
  }

  #parts(runId: string): RunParts {
    const metrics = this.#statement('SELECT name, value FROM metrics WHERE run_id = ? ORDER BY name').all(
      runId,
    ) as {
      name: string;
      value: number;
    }[];
    const tags = this.#statement('SELECT tag FROM tags WHERE run_id = ? ORDER BY tag').all(runId) as {
      tag: string;
    }[];
    return {
      metrics: Object.fromEntries(metrics.map(({ name, value }) => [name, value])),
      tags: tags.map((row) => row.tag),
    };
  }

  #withLaterFigures(
    { run_id, kind, activation_bits }: { run_id: string; kind: string; activation_bits: number | null },
    own: Record<string, number>,
  ): Record<string, number> {
    if (kind !== 'quantize') return own;
    const rows = this.#statement(measurementsSql).all(run_id, run_id) as {
      run_id: string;
      kind: RunKind;
      activation_bits: number | null;
    }[];
    const measurements = rows.map((measured) => ({
      kind: measured.kind,
      activationBits: measured.activation_bits,
      metrics: this.#parts(measured.run_id).metrics,
    }));
    return figuresWithMeasurements(own, activation_bits, measurements);
  }

  #markInterrupted(): void {
    const running = this.#read(
      () =>
        this.#statement("SELECT run_id, owner FROM runs WHERE state = 'running'").all() as {
          run_id: string;
          owner: string | null;
        }[],
    );
    const dead = running.filter(({ owner }) => owner === null || !isAlive(owner));
    if (dead.length === 0) return;
    this.#change(() => {
      // Its state and owner are looked at again: another process may have taken it up meanwhile.
      for (const { run_id, owner } of dead)
        this.#statement(
          "UPDATE runs SET state = 'interrupted', owner = NULL WHERE run_id = ? AND state = 'running' AND owner IS ?",
        ).run(run_id, owner);
    });
  }

  #require(runId: string): void {
    const known = this.#statement('SELECT 1 FROM runs WHERE run_id = ? AND deletion_id IS NULL').get(runId);
    if (known === undefined) throw this.#unknown(runId);
  }

  #unknown(runId: string): DBellError {
    return new DBellError('not-found', `the history has no run ${runId}`);
  }

  #statement(sql: string): Statement<unknown[]> {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #read<T>(body: () => T): T {
    try {
      return this.#database.transaction(body).deferred();
    } catch (error) {
      throw historyError(error, this.path, this.#busyTimeoutMs);
    }
  }

  /** One transaction that takes the write lock first, so that it cannot fail half-way for another writer. */
  #change<T>(body: () => T): T {
    if (this.readOnlyReason !== null)
      throw new DBellError('invalid-history', `history: ${this.readOnlyReason}`);
    try {
      return this.#database.transaction(body).immediate();
    } catch (error) {
      throw historyError(error, this.path, this.#busyTimeoutMs);
    }
  }
}
