import type { StoredTable } from '../contract/common.ts';

/** Numbers as people read them. Binary units throughout, since memory and files are counted in them here. */

const byteUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** `12.3 MiB`; three significant figures, whole bytes below 1 KiB. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < byteUnits.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? String(Math.round(value)) : significant(value, 3)} ${byteUnits[unit]}`;
}

/** `850 ms`, `12.3 s`, `4 min 07 s`, `2 h 05 min`. */
export function formatDuration(durationMs: number): string {
  if (durationMs < 1000) return `${significant(durationMs, 3)} ms`;
  if (durationMs < 59_950) return `${(durationMs / 1000).toFixed(1)} s`;
  const seconds = Math.round(durationMs / 1000);
  const pad = (value: number) => String(value).padStart(2, '0');
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${pad(seconds % 60)} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} min`;
}

/** Whole numbers with thin grouping: `135,168,000`. */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US');
}

/** `1 run`, `1,200 runs`. */
export function formatCounted(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`;
}

/** `135 M`, `1.1 B`, for parameters. */
export function formatParameters(count: number): string {
  if (count >= 1e9) return `${significant(count / 1e9, 3)} B`;
  if (count >= 1e6) return `${significant(count / 1e6, 3)} M`;
  if (count >= 1e3) return `${significant(count / 1e3, 3)} k`;
  return String(count);
}

/** Fixed notation with about `digits` significant figures; grouping above 999. */
export function significant(value: number, digits: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return '0';
  const magnitude = Math.floor(Math.log10(Math.abs(value)));
  if (magnitude < -4) return value.toExponential(digits - 1);
  const decimals = Math.max(0, digits - 1 - magnitude);
  return value.toLocaleString('en-US', { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

export function formatPercent(fraction: number): string {
  return `${Math.floor(fraction * 100)}%`;
}

/** Behind the text that a package was measured on. */
export function calibrationMark({ isCalibrationText }: { isCalibrationText?: true | undefined }): string {
  return isCalibrationText ? ' (its own calibration text)' : '';
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
