import type { TokenWindows } from '../calibration/windows.ts';
import { DBellError } from '../contract/errors.ts';
import { checkContext } from '../model/context-length.ts';
import type { TextModel } from '../model/text-model.ts';
import { standardError } from './statistics.ts';

export interface PerplexityResult {
  /** exp(meanLossNats); null where a loss was not finite. */
  perplexity: number | null;
  /** Mean natural-log loss over all scored positions; null where one was not finite. */
  meanLossNats: number | null;
  /** Standard error of the mean loss, from the spread of the windows' mean losses; null below two windows. */
  standardErrorNats: number | null;
  /** Scored positions: windows · (context − 1). */
  tokens: number;
  context: number;
  windows: number;
  textName: string;
  textSha256: string;
  separatorId: number | null;
  activationBits: TextModel['activationBits'];
  /** Absent where activations are not rounded. */
  activationScales?: TextModel['activationScales'];
  /** Absent where it is float32. */
  keyValueCache?: TextModel['keyValueCache'];
  kernelPath: string;
  device: string;
  durationMs: number;
}

export interface PerplexityOptions {
  onProgress?: (progress: { windowsDone: number; windowCount: number; meanLossNats: number }) => void;
  /** Awaited before every window; may pause, and throws to stop. */
  border?: () => Promise<void>;
}

/**
 * Perplexity over non-overlapping windows, each scored on an empty cache from its second position on, as GPTQ (Frantar et al. 2023) and BiLLM (Huang et
 * al. 2024) evaluate. Losses are summed in float64. Throws DBellError `invalid-input` where the windows do not fit the model.
 */
export async function perplexity(
  model: TextModel,
  windows: TokenWindows,
  options: PerplexityOptions = {},
): Promise<PerplexityResult> {
  const { context, windowCount, ids, source } = windows;
  checkWindows(model, windows);
  const startedAt = performance.now();
  const windowMeans = new Float64Array(windowCount);
  let lossSum = 0;
  const session = await model.createSession({ contextLength: context });
  try {
    for (let index = 0; index < windowCount; index++) {
      await options.border?.();
      const losses = await session.tokenLosses(ids.subarray(index * context, (index + 1) * context));
      if (losses.length !== context - 1)
        throw new DBellError(
          'internal',
          `a window of ${context} tokens gave ${losses.length} losses; expected ${context - 1}`,
        );
      let windowSum = 0;
      for (const loss of losses) windowSum += loss;
      lossSum += windowSum;
      windowMeans[index] = windowSum / (context - 1);
      session.reset();
      options.onProgress?.({
        windowsDone: index + 1,
        windowCount,
        meanLossNats: lossSum / ((index + 1) * (context - 1)),
      });
    }
  } finally {
    session.close();
  }
  const tokens = windowCount * (context - 1);
  const meanLoss = lossSum / tokens;
  const isUsable = Number.isFinite(meanLoss);
  const value = Math.exp(meanLoss);
  return {
    perplexity: isUsable && Number.isFinite(value) ? value : null,
    meanLossNats: isUsable ? meanLoss : null,
    standardErrorNats: isUsable ? standardError(windowMeans) : null,
    tokens,
    context,
    windows: windowCount,
    textName: source.name,
    textSha256: source.textSha256,
    separatorId: source.separatorId,
    activationBits: model.activationBits,
    ...(model.activationScales && { activationScales: model.activationScales }),
    ...(model.keyValueCache && { keyValueCache: model.keyValueCache }),
    kernelPath: model.kernelPath,
    device: model.device,
    durationMs: performance.now() - startedAt,
  };
}

/** Throws DBellError `invalid-input` where the windows do not fit the model: too long, or with ids beyond its vocabulary. */
export function checkWindows(model: TextModel, { context, windowCount, ids }: TokenWindows): void {
  checkContext(context, model.contextLength);
  if (windowCount < 1 || context < 2 || ids.length !== windowCount * context)
    throw new DBellError(
      'internal',
      `windows of ${windowCount} × ${context} tokens cannot be scored (${ids.length} ids)`,
    );
  const wrong = ids.findIndex((id) => id < 0 || id >= model.vocabularySize);
  if (wrong !== -1)
    throw new DBellError(
      'invalid-input',
      `token id ${ids[wrong]} at position ${wrong} is outside of the model's vocabulary (ids 0 to ${model.vocabularySize - 1}); the text was tokenized for another model`,
    );
}
