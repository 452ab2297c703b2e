/**
 * Numbers as a person reads them, the same in the terminal and in the studio. Bytes are decimal (1 kB = 1,000 bytes), as file managers and drives count them; limits
 * that are powers of two name binary units in their own messages.
 */

export interface NumberStyle {
  locale: string;
  /** Between a number and its unit. */
  space: string;
}

export const plainStyle: NumberStyle = { locale: 'en-US', space: ' ' };

const formats = new Map<string, Intl.NumberFormat>();

/** Intl's formats are slow to make and quick to use. */
export function formatNumber(
  value: number,
  options: Intl.NumberFormatOptions,
  { locale } = plainStyle,
): string {
  const key = `${locale} ${JSON.stringify(options)}`;
  let found = formats.get(key);
  if (!found) {
    found = new Intl.NumberFormat(locale, options);
    formats.set(key, found);
  }
  return found.format(value);
}

/** 12,345. */
export function formatCount(value: number, style = plainStyle): string {
  return formatNumber(value, { maximumFractionDigits: 0 }, style);
}

/** A fixed number of decimals, so that columns align. */
export function formatDecimal(value: number, decimals: number, style = plainStyle): string {
  return formatNumber(value, { minimumFractionDigits: decimals, maximumFractionDigits: decimals }, style);
}

/** 0.0123, 9.22, 26,200: `digits` significant figures, all digits of what is larger. */
export function significant(value: number, digits: number, style = plainStyle): string {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return '0';
  const magnitude = Math.abs(value);
  if (magnitude < 1e-4) return value.toExponential(digits - 1);
  if (magnitude >= 10 ** digits) return formatCount(value, style);
  const figures = { minimumSignificantDigits: digits, maximumSignificantDigits: digits };
  return formatNumber(value, figures, style);
}

/** Digits of a setting beyond which nobody types. */
const mostTypedDigits = 9;

/** 0.05, 2.5, 12,345: a number as it was typed, with no more digits than it has. */
export function formatTyped(value: number, style = plainStyle): string {
  return formatNumber(value, { maximumSignificantDigits: mostTypedDigits }, style);
}

const byteUnits = ['B', 'kB', 'MB', 'GB', 'TB'] as const;

/** 14.7 MB: three significant figures, whole bytes below 1 kB. */
export function formatBytes(bytes: number, style = plainStyle): string {
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 999.5 && unit < byteUnits.length - 1) {
    value /= 1000;
    unit++;
  }
  const figure = unit === 0 ? formatCount(value, style) : significant(value, 3, style);
  return `${figure}${style.space}${byteUnits[unit]}`;
}

/** 0.420 ms, 840 ms, 12.3 s, 4 min 07 s, 2 h 05 min. */
export function formatDuration(durationMs: number, style = plainStyle): string {
  const { space } = style;
  if (durationMs < 999.5) return `${significant(durationMs, 3, style)}${space}ms`;
  if (durationMs < 59_950) return `${formatDecimal(durationMs / 1000, 1, style)}${space}s`;
  const pad = (value: number) => String(value).padStart(2, '0');
  const seconds = Math.round(durationMs / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)}${space}min ${pad(seconds % 60)}${space}s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)}${space}h ${pad(minutes % 60)}${space}min`;
}

/** 7.34 M, 1.10 B: parameters and tokens; whole below 10,000. */
export function formatLarge(value: number, style = plainStyle): string {
  const magnitude = Math.abs(value);
  if (magnitude < 10_000) return formatCount(value, style);
  const [scaled, unit] =
    magnitude < 999_500 ? [value / 1e3, 'k'] : magnitude < 999.5e6 ? [value / 1e6, 'M'] : [value / 1e9, 'B'];
  return `${significant(scaled, 3, style)}${style.space}${unit}`;
}

/** What a product of fractions may be off without being another number. */
const roundingSlack = 1e-9;

/** 79.1%: a share of positions, rounded down, so that one below a threshold never looks like the threshold. */
export function formatAgreement(share: number, style = plainStyle): string {
  const tenths = Math.floor(share * 1000 + roundingSlack) / 10;
  return `${formatDecimal(tenths, 1, style)}%`;
}

/** 1.167, 22: a ratio of perplexities, rounded up, so that one beyond a threshold never looks like the threshold. */
export function formatRatio(ratio: number, style = plainStyle): string {
  const decimals = ratio < 10 ? 3 : 0;
  return formatDecimal(roundedUp(ratio, decimals), decimals, style);
}

/** The next number from here upwards that has so many decimals. */
export function roundedUp(value: number, decimals: number): number {
  const factor = 10 ** decimals;
  return Math.ceil(value * factor - roundingSlack) / factor;
}
