import type { JsonObject } from '../contract/common.ts';
import { toErrorPayload } from '../contract/error-payload.ts';
import { type History, openHistory } from '../history/history.ts';
import type { RunStore } from './run-store.ts';

/** The history as the service uses it: opened when it is first needed, so that looking at a model leaves no database behind. */
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
  const open = () => {
    if (history === null) {
      history = openHistory(file, { environment });
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
  return {
    open,
    runs: {
      begin: (run) => {
        change((opened) => opened.begin(run));
      },
      finish: (runId, outcome) => {
        change((opened) => opened.finish(runId, outcome));
      },
      fail: (runId, error) => {
        change((opened) => opened.fail(runId, error));
      },
      record: (run, facts) => change((opened) => opened.record(run, facts)),
      unfinishedFor: (out) => attempt(null, (opened) => opened.unfinishedFor(out)),
    },
    close() {
      history?.close();
      history = null;
    },
  };
}
