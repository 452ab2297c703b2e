import type { Statement } from 'better-sqlite3';
import type { z } from 'zod';
import type { historyCalls, RunDetail } from '../contract/history.ts';
import { mostRefusals } from './limits.ts';
import type { RunWriter } from './run-writer.ts';

export type ImportOutcome = z.infer<(typeof historyCalls)['history.import']['output']>;

/** What tells whether two rows with one id are one run: nothing of it changes after the run has begun. */
interface Identity {
  kind: string;
  createdAt: string;
  modelPath: string;
}

/**
 * Adds the runs that are not there yet; within a transaction of the caller. A run whose id is known is known, deleted ones too, and stays as it is here
 * with its note and tags; one that shares its id with another run is refused. A run that was `running` elsewhere comes in as `interrupted`.
 */
export function importRuns(
  runs: readonly RunDetail[],
  statement: (sql: string) => Statement<unknown[]>,
  writer: RunWriter,
): ImportOutcome {
  const outcome: ImportOutcome = { imported: 0, known: 0, refused: 0, refusals: [] };
  for (const run of runs) {
    const present = statement(
      'SELECT kind, created_at AS createdAt, model_path AS modelPath FROM runs WHERE run_id = ?',
    ).get(run.runId) as Identity | undefined;
    if (present === undefined) {
      insert(run, statement, writer);
      outcome.imported += 1;
    } else if (isSame(present, run)) {
      outcome.known += 1;
    } else {
      outcome.refused += 1;
      if (outcome.refusals.length < mostRefusals)
        outcome.refusals.push({
          runId: run.runId,
          reason: `another run has this id here: ${inWords(present)}; the file has ${inWords(run)}`,
        });
    }
  }
  return outcome;
}

function isSame(a: Identity, b: Identity): boolean {
  return a.kind === b.kind && a.createdAt === b.createdAt && a.modelPath === b.modelPath;
}

function inWords({ kind, createdAt, modelPath }: Identity): string {
  return `${kind} of ${modelPath}, begun ${createdAt}`;
}

function insert(run: RunDetail, statement: (sql: string) => Statement<unknown[]>, writer: RunWriter): void {
  const state = run.state === 'running' ? 'interrupted' : run.state;
  writer.insert(run, state, run.endedAt, run.results, run.modelName);
  statement('UPDATE runs SET note = ?, error_code = ?, error_message = ? WHERE run_id = ?').run(
    ...[run.note, run.error?.code ?? null, run.error?.message ?? null, run.runId],
  );
  writer.writeMetrics(run.runId, run.metrics);
  writer.writeTags(run.runId, run.tags);
  writer.writeLayers(run.runId, run.layers);
  writer.writeArtifacts(run.runId, run.artifacts);
}
