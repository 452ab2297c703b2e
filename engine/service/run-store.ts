import type { ErrorPayload } from '../contract/error-payload.ts';
import type { RunBeginning, RunFacts, RunOutcome, UnfinishedRun } from '../history/types.ts';

/** What jobs tell the history. Calls are synchronous and quick; a history that cannot be written never ends a job. */
export interface RunStore {
  /** Adds the run, or marks it as running again where it is there already. */
  begin(run: RunBeginning): void;
  finish(runId: string, outcome: RunOutcome): void;
  /** `stopped` for that code, else `failed`. */
  fail(runId: string, error: ErrorPayload): void;
  /** A measurement, whole at once. Whether the history has it now. */
  record(run: RunBeginning, facts: RunFacts): boolean;
  /** A quantization into this folder that never reported its end; null where there is none. */
  unfinishedFor(out: string): UnfinishedRun | null;
}

/**
 * Adds the measurement `result` where it is to be remembered (`result.runId` not null). What the history could not take has no id to be asked for: it is null then.
 */
export function recordMeasurement(
  runs: RunStore,
  result: { runId: string | null },
  run: Omit<RunBeginning, 'runId'>,
  facts: RunFacts,
): void {
  const { runId } = result;
  if (runId !== null && !runs.record({ runId, ...run }, facts)) result.runId = null;
}
