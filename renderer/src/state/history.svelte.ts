import type { CallOutput } from '../../../engine/contract/calls.ts';
import type { RunSummary } from '../../../engine/contract/history.ts';
import { asError, engine, onConnected } from './engine.svelte.ts';

/** Rows that are looked through for recent models and for the recipes' scatter. */
const recentRows = 500;

/** Counts changes of the history, so that what shows some of it asks again; and keeps its newest rows. */
class HistoryState {
  version = $state(0);
  recent: RunSummary[] = $state.raw([]);
  loaded = $state(false);

  constructor() {
    engine.onEvent((event) => {
      if (event.type === 'history-changed') void this.#changed();
    });
    onConnected(() => this.#changed());
  }

  async #changed(): Promise<void> {
    this.version++;
    try {
      this.recent = (await engine.call('history.list', { limit: recentRows })).runs;
    } catch (error) {
      // A history that cannot be used says so itself, as a service message; work goes on without it.
      if (asError(error).code !== 'invalid-history' && asError(error).code !== 'connection-lost') throw error;
    }
    this.loaded = true;
  }

  show(runId: string): Promise<CallOutput<'history.show'>> {
    return engine.call('history.show', { runId });
  }
}

export const runHistory = new HistoryState();
