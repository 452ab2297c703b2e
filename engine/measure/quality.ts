import type { TokenWindows } from '../calibration/windows.ts';
import { DBellError } from '../contract/errors.ts';
import type { QualityMeasurement } from '../contract/quality.ts';
import { verdictOf, verdictThresholds } from '../contract/verdict.ts';
import type { TextModel } from '../model/text-model.ts';
import { runtime } from '../native/runtime.ts';
import { checkWindows } from './perplexity.ts';
import { percentileOfSorted, standardError } from './statistics.ts';

export interface QualityOptions {
  onProgress?: (progress: { windowsDone: number; windowCount: number }) => void;
  /** Awaited before every window; may pause, and throws to stop. */
  border?: () => Promise<void>;
}

/** Rows of logits that are compared at once: enough to keep matrix products efficient. */
const maximumPieceRows = 256;
/** Logits of a piece: 4 Mi values are 16 MiB for each of the models. */
const maximumPieceLogits = 2 ** 22;

/** Values of a position in the order of `compareLogits`. */
const valuesPerPosition = 5;

/**
 * Compares a candidate (a packed model) with the original it stands for, window by window on the same tokens, as `perplexity` scores them: each window on an
 * empty cache, from its second position on. At every position the whole distributions are compared: KL(original ‖ candidate) in nats, and whether both prefer the same
 * token. Memory beyond the models' own is one piece of logits of each and 4 bytes a scored position. Standard errors come from the spread of the windows' means; that of
 * the ratio from the windows' differences of loss, since both models see the same tokens. Throws DBellError `invalid-input` where the windows do not fit a
 * model or the vocabularies differ, `invalid-model` and `invalid-package` where logits are not finite.
 */
export async function measureQuality(
  original: TextModel,
  candidate: TextModel,
  windows: TokenWindows,
  options: QualityOptions = {},
): Promise<QualityMeasurement> {
  const { context, windowCount, ids, source } = windows;
  if (original.vocabularySize !== candidate.vocabularySize)
    throw new DBellError(
      'invalid-input',
      `the original has a vocabulary of ${original.vocabularySize} tokens, the other model one of ${candidate.vocabularySize}: their predictions cannot be compared`,
    );
  checkWindows(original, windows);
  checkWindows(candidate, windows);
  const startedAt = performance.now();
  const scored = context - 1;
  const totals = new WindowTotals(windowCount, scored);
  const sessions = [];
  try {
    for (const model of [original, candidate])
      sessions.push(await model.createSession({ contextLength: context }));
    const [originalSession, candidateSession] = sessions;
    const rowsPerPiece = pieceRows(original.vocabularySize);
    for (let index = 0; index < windowCount; index++) {
      await options.border?.();
      const window = ids.subarray(index * context, (index + 1) * context);
      const inputs = window.subarray(0, scored);
      const theirs = candidateSession!.windowLogits(inputs, rowsPerPiece);
      let position = 0;
      for await (const ours of originalSession!.windowLogits(inputs, rowsPerPiece)) {
        const rows = ours.length / original.vocabularySize;
        const other = await theirs.next();
        if (other.done || other.value.length !== ours.length)
          throw new DBellError('internal', `the models gave logits of unlike size at position ${position}`);
        const targets = window.subarray(position + 1, position + 1 + rows);
        totals.add(index, position, runtime.compareLogits(ours, other.value, targets));
        position += rows;
      }
      if (position !== scored || !(await theirs.next()).done)
        throw new DBellError('internal', `a window of ${context} tokens gave ${position} rows of logits`);
      options.onProgress?.({ windowsDone: index + 1, windowCount });
    }
  } finally {
    for (const session of sessions) session.close();
  }
  return {
    ...totals.summary(),
    tokens: windowCount * scored,
    context,
    windows: windowCount,
    textName: source.name,
    textSha256: source.textSha256,
    separatorId: source.separatorId,
    activationBits: candidate.activationBits,
    ...(candidate.activationScales && { activationScales: candidate.activationScales }),
    originalActivationBits: original.activationBits,
    kernelPath: candidate.kernelPath,
    device: candidate.device,
    durationMs: performance.now() - startedAt,
  };
}

/** Rows of a piece of logits for a vocabulary. */
export function pieceRows(vocabularySize: number): number {
  return Math.max(1, Math.min(maximumPieceRows, Math.floor(maximumPieceLogits / vocabularySize)));
}

/** Sums by window, and the divergence of every position for the percentiles. */
class WindowTotals {
  readonly #positions: number;
  readonly #originalLoss: Float64Array;
  readonly #candidateLoss: Float64Array;
  readonly #divergence: Float64Array;
  readonly #agreeing: Float64Array;
  readonly #divergences: Float32Array;

  /** @param positions scored positions of a window */
  constructor(windowCount: number, positions: number) {
    this.#positions = positions;
    this.#originalLoss = new Float64Array(windowCount);
    this.#candidateLoss = new Float64Array(windowCount);
    this.#divergence = new Float64Array(windowCount);
    this.#agreeing = new Float64Array(windowCount);
    this.#divergences = new Float32Array(windowCount * positions);
  }

  /** @param compared `[rows, 5]` of `compareLogits`, for the positions of a window from `position` on */
  add(window: number, position: number, compared: Float64Array): void {
    for (let row = 0; row * valuesPerPosition < compared.length; row++) {
      const at = row * valuesPerPosition;
      this.#originalLoss[window]! += compared[at]!;
      this.#candidateLoss[window]! += compared[at + 1]!;
      this.#divergence[window]! += compared[at + 2]!;
      this.#agreeing[window]! += compared[at + 3] === compared[at + 4] ? 1 : 0;
      this.#divergences[window * this.#positions + position + row] = compared[at + 2]!;
    }
  }

  summary() {
    const windowMeans = (sums: Float64Array) => sums.map((sum) => sum / this.#positions);
    const originalLoss = windowMeans(this.#originalLoss);
    const candidateLoss = windowMeans(this.#candidateLoss);
    const divergence = windowMeans(this.#divergence);
    const agreement = windowMeans(this.#agreeing);
    const perplexityRatio = finiteExp(mean(candidateLoss) - mean(originalLoss));
    const topTokenAgreement = mean(agreement);
    const lossDifference = standardError(candidateLoss.map((loss, window) => loss - originalLoss[window]!));
    const sorted = this.#divergences.sort();
    const largest = (percent: number) => percentileOfSorted(sorted, percent);
    return {
      originalPerplexity: finiteExp(mean(originalLoss)),
      perplexity: finiteExp(mean(candidateLoss)),
      perplexityRatio,
      // d(exp x) = exp x · dx
      perplexityRatioStandardError:
        lossDifference === null || perplexityRatio === null ? null : perplexityRatio * lossDifference,
      topTokenAgreement,
      topTokenAgreementStandardError: standardError(agreement),
      klDivergenceNats: {
        mean: mean(divergence),
        standardError: standardError(divergence),
        p50: largest(50),
        p90: largest(90),
        p95: largest(95),
        p99: largest(99),
        maximum: largest(100),
      },
      verdict: verdictOf({ perplexityRatio, topTokenAgreement }),
      thresholds: verdictThresholds,
    };
  }
}

function mean(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** exp, or null where it leaves the range of numbers. */
function finiteExp(value: number): number | null {
  const result = Math.exp(value);
  return Number.isFinite(result) ? result : null;
}
