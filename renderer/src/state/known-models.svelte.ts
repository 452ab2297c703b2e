import type { CallOutput } from '../../../engine/contract/calls.ts';
import { asError, engine, onConnected } from './engine.svelte.ts';

export type KnownModel = CallOutput<'models.list'>['recent'][number];
export type KnownPackage = CallOutput<'packages.list'>['packages'][number];

/** Models that were used before and packages that were made, as the engine knows them. */
class KnownModels {
  recent: KnownModel[] = $state.raw([]);
  packages: KnownPackage[] = $state.raw([]);
  loaded = $state(false);

  constructor() {
    onConnected(() => this.load());
    engine.onEvent((event) => {
      if (event.type === 'history-changed') void this.load();
      else if (
        event.type === 'job-state' &&
        (event.job.kind === 'quantize' || event.job.kind === 'download') &&
        event.job.state === 'finished'
      ) {
        void this.load();
      }
    });
  }

  async load(): Promise<void> {
    try {
      const [models, { packages }] = await Promise.all([
        engine.call('models.list', {}),
        engine.call('packages.list', {}),
      ]);
      this.recent = models.recent.filter(({ exists }) => exists);
      this.packages = packages;
      this.loaded = true;
    } catch (error) {
      if (asError(error).code !== 'connection-lost') throw error;
    }
  }
}

export const knownModels = new KnownModels();
