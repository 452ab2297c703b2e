/** Numbers as a person reads them: always with their unit, in the language of the catalogue. */

const byteUnits = ['B', 'kB', 'MB', 'GB', 'TB'] as const;
const noBreak = '\u00a0';

/** Stands where a value is unknown; never an empty cell, never a zero. */
export const unknownFigure = '–';

let locale = 'en';
const formats = new Map<string, Intl.NumberFormat>();

export function setLocale(next: string): void {
  locale = next;
  formats.clear();
}

function format(value: number, options: Intl.NumberFormatOptions): string {
  const key = JSON.stringify(options);
  let found = formats.get(key);
  if (!found) {
    found = new Intl.NumberFormat(locale, options);
    formats.set(key, found);
  }
  return found.format(value);
}

type Maybe = number | null | undefined;

function known(value: Maybe): value is number {
  return value !== null && value !== undefined && Number.isFinite(value);
}

/** 12,345 */
export function count(value: Maybe): string {
  return known(value) ? format(value, { maximumFractionDigits: 0 }) : unknownFigure;
}

/** A fixed number of decimals, so that columns align. */
export function decimal(value: Maybe, decimals: number): string {
  return known(value)
    ? format(value, { minimumFractionDigits: decimals, maximumFractionDigits: decimals })
    : unknownFigure;
}

/** Three significant digits: 0.0123, 9.22, 26,200. */
export function significant(value: Maybe, digits = 3): string {
  if (!known(value)) return unknownFigure;
  if (value !== 0 && Math.abs(value) < 1e-4) return value.toExponential(digits - 1);
  return format(value, {
    maximumSignificantDigits:
      Math.abs(value) >= 10 ** digits ? Math.ceil(Math.log10(Math.abs(value) + 1)) : digits,
    minimumSignificantDigits: Math.abs(value) >= 10 ** digits ? 1 : digits,
  });
}

/** 14.7 MB; decimal units, as file managers and the engine's messages use them. */
export function bytes(value: Maybe): string {
  if (!known(value)) return unknownFigure;
  let unit = 0;
  let scaled = value;
  while (Math.abs(scaled) >= 999.5 && unit < byteUnits.length - 1) {
    scaled /= 1000;
    unit++;
  }
  const decimals = unit === 0 || scaled >= 100 ? 0 : scaled >= 10 ? 1 : 2;
  return `${decimal(scaled, decimals)}${noBreak}${byteUnits[unit]}`;
}

/** 7.34 M, 1.1 B: parameters and tokens. */
export function large(value: Maybe): string {
  if (!known(value)) return unknownFigure;
  if (Math.abs(value) < 10_000) return count(value);
  const [scaled, unit] =
    Math.abs(value) < 999_500
      ? [value / 1e3, 'k']
      : Math.abs(value) < 999.5e6
        ? [value / 1e6, 'M']
        : [value / 1e9, 'B'];
  return `${significant(scaled)}${noBreak}${unit}`;
}

/** 840 ms, 12.4 s, 3 min 20 s, 2 h 5 min. */
export function duration(ms: Maybe): string {
  if (!known(ms)) return unknownFigure;
  if (ms < 1) return `${significant(ms)}${noBreak}ms`;
  if (ms < 999.5) return `${decimal(ms, ms < 10 ? 2 : ms < 100 ? 1 : 0)}${noBreak}ms`;
  const seconds = ms / 1000;
  if (seconds < 59.95) return `${decimal(seconds, 1)}${noBreak}s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)}${noBreak}min ${whole % 60}${noBreak}s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)}${noBreak}h ${minutes % 60}${noBreak}min`;
}

/** For a time that is still to come: whole seconds, so that it does not flicker. */
export function remaining(ms: Maybe): string {
  if (!known(ms)) return unknownFigure;
  return ms < 59_500 ? `${Math.max(1, Math.round(ms / 1000))}${noBreak}s` : duration(ms);
}

export function percent(share: Maybe, decimals = 0): string {
  return known(share)
    ? format(share, { style: 'percent', minimumFractionDigits: decimals, maximumFractionDigits: decimals })
    : unknownFigure;
}

export function bitsPerWeight(value: Maybe, decimals = 2): string {
  return known(value) ? `${decimal(value, decimals)}${noBreak}bits` : unknownFigure;
}

export function tokensPerSecond(value: Maybe): string {
  if (!known(value)) return unknownFigure;
  return `${value >= 1000 ? count(value) : significant(value)}${noBreak}tok/s`;
}

/** 1.25×. */
export function ratio(value: Maybe): string {
  if (!known(value)) return unknownFigure;
  return `${value >= 100 ? count(value) : significant(value)}×`;
}

/** Perplexities span four magnitudes. */
export function perplexity(value: Maybe): string {
  if (!known(value)) return unknownFigure;
  return value >= 1000 ? count(value) : decimal(value, value >= 100 ? 1 : 2);
}

/** 26 Nov 2026, 19:04; the year only where it is not this one. Day before month and 24 hours, as no reader takes wrongly. */
export function dateTime(iso: string | null | undefined): string {
  if (!iso) return unknownFigure;
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return unknownFigure;
  const isThisYear = date.getFullYear() === new Date().getFullYear();
  return date.toLocaleString(locale === 'en' ? 'en-GB' : locale, {
    ...(isThisYear ? {} : { year: 'numeric' }),
    month: 'short',
    day: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
  });
}

/** Last part of a path of any system. */
export function baseName(path: string): string {
  return path.split(/[\\/]/).filter(Boolean).at(-1) ?? path;
}
