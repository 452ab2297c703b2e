import type { ActivationScales, KeyValueCache, StoredTable } from '../contract/common.ts';
import { formatBytes, formatCount, significant } from '../contract/number-format.ts';

export {
  formatAgreement,
  formatBytes,
  formatCount,
  formatDuration,
  formatLarge as formatParameters,
  formatRatio,
  formatTyped,
  significant,
} from '../contract/number-format.ts';

/** `1 run`, `1,200 runs`. */
export function formatCounted(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`;
}

export function formatPercent(fraction: number): string {
  return `${Math.floor(fraction * 100)}%`;
}

/** Behind the text that a package was measured on. */
export function calibrationMark({ isCalibrationText }: { isCalibrationText?: true | undefined }): string {
  return isCalibrationText ? ' (its own calibration text)' : '';
}

/** Bits of the activations, where they are rounded what shares a step, and the cache of keys and values where it is not float32. Measurements that do not say it were by token. */
export function formatActivations({
  activationBits,
  activationScales = 'token',
  keyValueCache,
}: {
  activationBits: number;
  activationScales?: ActivationScales;
  keyValueCache?: KeyValueCache;
}): string {
  const rounding = activationBits === 16 ? '' : `, rounded by ${activationScales}`;
  return `activations ${activationBits} bits${rounding}${keyValueCache === undefined ? '' : `, cache ${keyValueCache}`}`;
}

/** A perplexity never stands without the tokens and the context that it was measured with. */
export function formatPerplexity(value: {
  perplexity: number | null;
  tokens: number;
  context: number;
}): string {
  const figure = value.perplexity === null ? 'not finite' : significant(value.perplexity, 5);
  return `${figure} (${formatCount(value.tokens)} tokens, context ${formatCount(value.context)})`;
}

export function formatSpeed(tokensPerSecond: number): string {
  return `${significant(tokensPerSecond, 3)} tokens/s`;
}

/** Embedding and head of a package in a line each: stored bits, bytes, how they were made. */
export function tableLines(tables: readonly StoredTable[]): string {
  return tables
    .map(({ name, method, relativeError, storedBytes, storedBitsPerWeight }) => {
      const shared = tables.length === 1 ? 'embedding and head' : name;
      const fit = relativeError === null ? method : `${method}, error ${significant(relativeError, 3)}`;
      return `${formatBytes(storedBytes)}, ${significant(storedBitsPerWeight, 3)} bits per weight, ${fit} (${shared})`;
    })
    .join('\n');
}
