import type { WaitingJob } from '../../../engine/contract/waiting-jobs.ts';
import { asError, engine, onConnected } from './engine.svelte.ts';

/** Jobs of a studio that ended before their turn came, in their order. */
class WaitingJobs {
  list: WaitingJob[] = $state.raw([]);

  constructor() {
    engine.onEvent((event) => {
      if (event.type === 'waiting-changed') void this.load();
    });
    onConnected(() => this.load());
  }

  /** What is in the way of a job may have changed since. */
  async load(): Promise<void> {
    try {
      this.list = (await engine.call('waiting.list', {})).jobs;
    } catch (error) {
      const { code } = asError(error);
      // A queue that cannot be used says so itself, as a service message.
      if (code === 'connection-lost') return;
      this.list = [];
      if (code === 'internal') throw error;
    }
  }
}

export const waitingJobs = new WaitingJobs();
