import path from 'node:path';
import type { Statement } from 'better-sqlite3';
import type { JsonObject } from '../contract/common.ts';
import type { RunDetail, RunSummary } from '../contract/history.ts';
import { thisProcess } from './owner.ts';
import type { RunBeginning } from './types.ts';

/** Writes a run's row and what belongs to it; each call within a transaction of its caller. */
export class RunWriter {
  readonly #statement: (sql: string) => Statement<unknown[]>;
  readonly #environment: JsonObject;

  /** `environment` is kept with runs that begin without their own. */
  constructor(statement: (sql: string) => Statement<unknown[]>, environment: JsonObject) {
    this.#statement = statement;
    this.#environment = environment;
  }

  insert(
    run: RunBeginning,
    state: RunSummary['state'],
    endedAt: string | null,
    results: JsonObject = {},
    name = displayName(run.modelPath),
  ): void {
    const out = run.settings.out;
    this.#statement(
      `INSERT INTO runs (run_id, kind, state, created_at, ended_at, model_name, model_path, model_fingerprint,
         package_fingerprint, recipe, activation_bits, output_path, settings, environment, results, owner)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ).run(
      ...[run.runId, run.kind, state, run.createdAt, endedAt, name, run.modelPath, run.modelFingerprint],
      ...[run.packageFingerprint, run.recipe, run.activationBits, typeof out === 'string' ? out : null],
      ...[JSON.stringify(run.settings), JSON.stringify(run.environment ?? this.#environment)],
      ...[JSON.stringify(results), state === 'running' ? thisProcess() : null],
    );
  }

  writeMetrics(runId: string, metrics: Record<string, number>): void {
    this.#statement('DELETE FROM metrics WHERE run_id = ?').run(runId);
    const insert = this.#statement('INSERT INTO metrics (run_id, name, value) VALUES (?, ?, ?)');
    for (const [name, value] of Object.entries(metrics))
      if (Number.isFinite(value)) insert.run(runId, name, value);
  }

  writeTags(runId: string, tags: string[]): void {
    this.#statement('DELETE FROM tags WHERE run_id = ?').run(runId);
    const insert = this.#statement('INSERT INTO tags (run_id, tag) VALUES (?, ?)');
    for (const tag of new Set(tags)) insert.run(runId, tag);
  }

  writeLayers(runId: string, layers: RunDetail['layers']): void {
    this.#statement('DELETE FROM layers WHERE run_id = ?').run(runId);
    const insert = this.#statement(
      'INSERT INTO layers (run_id, position, name, relative_error, weight_relative_error, notes) VALUES (?, ?, ?, ?, ?, ?)',
    );
    for (const [position, layer] of layers.entries())
      insert.run(
        ...[runId, position, layer.name, layer.relativeError, layer.weightRelativeError],
        JSON.stringify(layer.notes),
      );
  }

  writeArtifacts(runId: string, artifacts: RunDetail['artifacts']): void {
    this.#statement('DELETE FROM artifacts WHERE run_id = ?').run(runId);
    const insert = this.#statement(
      'INSERT INTO artifacts (run_id, position, kind, path, bytes) VALUES (?, ?, ?, ?, ?)',
    );
    for (const [position, { kind, path: where, bytes }] of artifacts.entries())
      insert.run(runId, position, kind, where, bytes);
  }
}

/** Name of a model as people know it: its folder or file; a folder called `hf` or the like says more with its parent. */
function displayName(modelPath: string): string {
  const name = path.basename(modelPath);
  return /^(hf.*|model|snapshot.*|[0-9a-f]{40})$/i.test(name)
    ? path.join(path.basename(path.dirname(modelPath)), name)
    : name;
}
