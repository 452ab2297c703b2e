import type { JsonObject } from '../contract/common.ts';
import { toErrorPayload } from '../contract/error-payload.ts';
import { fileIdentity } from '../files/identity.ts';
import { type History, openHistory } from '../history/history.ts';
import type { RunBeginning } from '../history/types.ts';
import type { RunStore } from './run-store.ts';

/**
 * The history as the service uses it: opened when it is first needed, so that looking at a model leaves no database behind, and again where another file has taken
 * its place (a backup brought back, a folder removed): what is written to a file without a name is lost.
 */
export interface HistoryAccess {
  /** For calls that are about the history. Throws DBellError `invalid-history` where it cannot be used. */
  open(): History;
  /** For jobs: a history that cannot be used is told once and then left out. */
  readonly runs: RunStore;
  close(): void;
}

export function createHistoryAccess(
  file: string,
  environment: JsonObject,
  callbacks: { warn: (message: string) => void; changed: () => void },
): HistoryAccess {
  let history: History | null = null;
  const warned = new Set<string>();
  const warn = (message: string) => {
    if (warned.has(message)) return;
    warned.add(message);
    callbacks.warn(message);
  };
  /** Runs that have begun and not ended, and those of them whose beginning the history has not. */
  const begun = new Map<string, RunBeginning>();
  const unwritten = new Set<string>();
  let openedFile: string | null = null;
  const open = () => {
    if (history !== null && fileIdentity(file) !== openedFile) {
      history.close();
      history = null;
      for (const runId of begun.keys()) unwritten.add(runId);
      callbacks.warn(
        `the history ${file} was removed or replaced while it was in use; what stands there now is used`,
      );
    }
    if (history === null) {
      history = openHistory(file, { environment });
      openedFile = fileIdentity(file);
      for (const notice of history.notices) warn(notice);
    }
    return history;
  };
  /** Does it if it can be done; a job's result is worth more than its row. */
  const attempt = <T>(otherwise: T, action: (history: History) => T): T => {
    try {
      return action(open());
    } catch (error) {
      warn(`this run is missing in the history: ${toErrorPayload(error).message}`);
      return otherwise;
    }
  };
  const change = (action: (history: History) => void): boolean =>
    attempt(false, (opened) => {
      action(opened);
      callbacks.changed();
      return true;
    });
  /** Ends a run, one whose beginning could not be written as well: by now it may. */
  const end = (runId: string, action: (history: History) => void) => {
    change((opened) => {
      const run = begun.get(runId);
      if (run !== undefined && unwritten.has(runId)) opened.begin(run);
      action(opened);
    });
    begun.delete(runId);
    unwritten.delete(runId);
  };
  return {
    open,
    runs: {
      begin: (run) => {
        begun.set(run.runId, run);
        if (!change((opened) => opened.begin(run))) unwritten.add(run.runId);
      },
      finish: (runId, outcome) => end(runId, (opened) => opened.finish(runId, outcome)),
      fail: (runId, error) => end(runId, (opened) => opened.fail(runId, error)),
      record: (run, facts) => change((opened) => opened.record(run, facts)),
      unfinishedFor: (out) => attempt(null, (opened) => opened.unfinishedFor(out)),
    },
    close() {
      history?.close();
      history = null;
    },
  };
}
