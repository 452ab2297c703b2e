import type { DBellError } from '../../../engine/contract/errors.ts';
import type { Sampling } from '../../../engine/contract/generation.ts';
import { asError, engine } from './engine.svelte.ts';
import { environment } from './environment.svelte.ts';
import { isActive, type JobView, jobs } from './jobs.svelte.ts';
import { knownModels } from './known-models.svelte.ts';

/** One question and what each side answered: the ids of their jobs. */
export interface Turn {
  prompt: string;
  /** By side; null where that side had no model. */
  jobIds: (string | null)[];
}

interface Values {
  mode: 'text' | 'chat';
  /** One or two; the second is empty where only one is asked. */
  models: [string, string];
  prompt: string;
  sampling: 'greedy' | 'sampled';
  temperature: number;
  topP: number;
  seed: number;
  maximumTokens: number;
  /** What runs packages: `cpu` or `gpu:N`. */
  device: string;
  /** Whether each token's probability and its alternatives are asked for. */
  probabilities: boolean;
  turns: Turn[];
}

/** Tokens that a person compares at a glance. */
const shownAlternatives = 5;

const storageKey = 'dbell-playground-1';
const initial: Values = {
  mode: 'text',
  models: ['', ''],
  prompt: '',
  sampling: 'sampled',
  temperature: 0.8,
  topP: 0.95,
  seed: 0,
  maximumTokens: 128,
  device: 'cpu',
  probabilities: true,
  turns: [],
};

function restore(): Values {
  try {
    const stored: unknown = JSON.parse(sessionStorage.getItem(storageKey) ?? 'null');
    if (typeof stored === 'object' && stored !== null) return { ...structuredClone(initial), ...stored };
  } catch {
    // Of another version.
  }
  return structuredClone(initial);
}

/** A model that is known to be in full precision runs on the processor, beside a package on a GPU; its answer names what ran it. */
function deviceOf(model: string, device: string): string {
  const isFullPrecision =
    environment.isSample(model) || knownModels.recent.some(({ path }) => path === model);
  return isFullPrecision ? 'cpu' : device;
}

/** What is written and asked in this window. Answers live in the engine's jobs, so that a reload shows them again. */
class Playground {
  values: Values = $state(restore());
  error: DBellError | null = $state.raw(null);

  constructor() {
    $effect.root(() => {
      $effect(() => {
        sessionStorage.setItem(storageKey, JSON.stringify(this.values));
      });
    });
  }

  get activeJobs(): JobView[] {
    return this.values.turns
      .flatMap(({ jobIds }) => jobIds)
      .flatMap((jobId) => {
        const view = jobId === null ? undefined : jobs.all.get(jobId);
        return view && isActive(view.job) ? [view] : [];
      });
  }

  /** Both sides are asked the same with the same seed, one after the other: side by side they would slow each other down. */
  async send(threads: number): Promise<void> {
    const { values } = this;
    const { prompt, mode } = values;
    this.error = null;
    const sampling: Sampling =
      values.sampling === 'greedy'
        ? { kind: 'greedy' }
        : { kind: 'sampled', temperature: values.temperature, topP: values.topP, seed: values.seed };
    const common = {
      ...{ sampling, maximumTokens: values.maximumTokens, threads },
      alternatives: values.probabilities ? shownAlternatives : 0,
    };
    const earlier = mode === 'chat' ? values.turns : [];
    const jobIds: (string | null)[] = [];
    try {
      for (const [side, model] of values.models.entries()) {
        if (model === '') {
          jobIds.push(null);
          continue;
        }
        const { jobId } =
          mode === 'text'
            ? await engine.call('generate', {
                ...common,
                model,
                prompt,
                device: deviceOf(model, values.device),
              })
            : await engine.call('chat', {
                ...common,
                model,
                device: deviceOf(model, values.device),
                messages: [
                  ...earlier.flatMap((turn) => {
                    const answer = turn.jobIds[side];
                    const text = answer ? (jobs.all.get(answer)?.text ?? '') : '';
                    return [
                      { role: 'user' as const, content: turn.prompt },
                      { role: 'assistant' as const, content: text },
                    ];
                  }),
                  { role: 'user' as const, content: prompt },
                ],
              });
        jobIds.push(jobId);
      }
    } catch (error) {
      this.error = asError(error);
    }
    if (jobIds.some((jobId) => jobId !== null)) {
      values.turns = [...earlier, { prompt, jobIds }];
      if (mode === 'chat') values.prompt = '';
    }
  }

  async stop(): Promise<void> {
    try {
      await Promise.all(this.activeJobs.map(({ job }) => engine.call('jobs.stop', { jobId: job.jobId })));
    } catch (error) {
      this.error = asError(error);
    }
  }

  clear(): void {
    this.values.turns = [];
    this.error = null;
  }
}

export const playground = new Playground();
