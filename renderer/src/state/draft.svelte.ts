import type { CallInput } from '../../../engine/contract/calls.ts';
import type {
  ActivationBits,
  CalibrationSource,
  Setting,
  TextSource,
} from '../../../engine/contract/common.ts';
import type { QuantizeInput } from '../../../engine/contract/quantization.ts';
import type { Route } from './route.svelte.ts';

export const goals = ['smallest', 'fits', 'fastest', 'paper', 'own'] as const;
export type Goal = (typeof goals)[number];

export type EmbeddingBits = NonNullable<CallInput<'estimate'>['embeddingBits']>;
/** What the embedding may be stored at, from exact to small. */
export const embeddingBits: readonly EmbeddingBits[] = [16, 8, 6, 4];

/** What a person has chosen so far for the next run. It outlives the page, so that the wizard can be left and come back to. */
interface DraftValues {
  model: string | null;
  goal: Goal | null;
  /** For the goal `fits`. */
  fitsMegabytes: number;
  recipe: string | null;
  /** Null: the recipe's own. */
  activationBits: ActivationBits | null;
  embeddingBits: EmbeddingBits;
  set: Setting[];
  calibration: CalibrationSource;
  windows: number;
  /** Null: the longest up to 2048 that the model is exact for. */
  context: number | null;
  /** Null: the first windows of the text. */
  seed: number | null;
  /** What runs the original model while calibrating. Only a request that is changed brings another than the processor. */
  floatDevice: NonNullable<QuantizeInput['floatDevice']>;
  /** Null: as suggested. */
  out: string | null;
  verify: boolean;
  measureQuality: boolean;
  qualityText: TextSource;
  qualityWindows: number;
  benchmark: boolean;
  benchmarkOriginal: boolean;
  lastPlace: Extract<Route, { place: 'new' }>;
}

const empty: DraftValues = {
  model: null,
  goal: null,
  fitsMegabytes: 8,
  recipe: null,
  activationBits: null,
  embeddingBits: 16,
  set: [],
  calibration: { bundled: 'general' },
  windows: 64,
  context: null,
  seed: null,
  floatDevice: 'cpu',
  out: null,
  verify: true,
  measureQuality: true,
  qualityText: { bundled: 'stories-validation' },
  qualityWindows: 16,
  benchmark: true,
  benchmarkOriginal: true,
  lastPlace: { place: 'new', step: 'model', id: null },
};

const storageKey = 'dbell-draft-1';

function restore(): DraftValues {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(storageKey) ?? 'null');
    if (typeof stored === 'object' && stored !== null) return { ...structuredClone(empty), ...stored };
  } catch {
    // A draft of another version is no loss.
  }
  return structuredClone(empty);
}

export const draft: DraftValues = $state(restore());

$effect.root(() => {
  $effect(() => {
    localStorage.setItem(storageKey, JSON.stringify(draft));
  });
});

export function startOver(): void {
  Object.assign(draft, structuredClone(empty));
}

/** Other choices of the last model's draft mean nothing for this one. */
export function chooseModel(path: string, isSample: boolean): void {
  if (draft.model === path) return;
  Object.assign(draft, structuredClone(empty));
  draft.model = path;
  // The sample's own kind of text is the one that fits it.
  if (isSample) draft.calibration = { bundled: 'stories' };
}

/** What `estimate` and `quantize` take of the draft. */
export function quantizationSettings(
  values: DraftValues,
  threads: number,
): Omit<CallInput<'estimate'>, 'measureSpeed' | 'out'> | null {
  if (values.model === null || values.recipe === null) return null;
  return {
    model: values.model,
    recipe: values.recipe,
    set: $state.snapshot(values.set),
    ...(values.activationBits === null ? {} : { activationBits: values.activationBits }),
    embeddingBits: values.embeddingBits,
    windows: values.windows,
    ...(values.context === null ? {} : { context: values.context }),
    threads,
    floatDevice: values.floatDevice,
  };
}

/** A run's request as the draft of the next one, to be changed. */
export function useRequest(request: QuantizeInput): void {
  Object.assign(draft, structuredClone(empty), {
    model: request.model,
    goal: 'own',
    recipe: request.recipe,
    activationBits: request.activationBits ?? null,
    embeddingBits: request.embeddingBits ?? 16,
    set: request.set ?? [],
    calibration: request.calibration,
    windows: request.windows ?? 64,
    context: request.context ?? null,
    seed: request.seed ?? null,
    floatDevice: request.floatDevice ?? 'cpu',
    verify: request.followUp?.verify ?? false,
    measureQuality: request.followUp?.quality !== undefined,
    benchmark: request.followUp?.benchmark ?? false,
    benchmarkOriginal: request.followUp?.benchmarkOriginal ?? false,
  } satisfies Partial<DraftValues>);
}
