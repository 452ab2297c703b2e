import * as shared from '../../../engine/contract/number-format.ts';
import { withoutControls } from '../../../engine/contract/plain-text.ts';

/** Numbers as a person reads them: as everywhere in the product, with blanks that do not break, in the language of the catalogue. */

const noBreak = '\u00a0';

/** Stands where a value is unknown; never an empty cell, never a zero. */
export const unknownFigure = '–';

const style = { locale: 'en', space: noBreak };

export function setLocale(next: string): void {
  style.locale = next;
}

function format(value: number, options: Intl.NumberFormatOptions): string {
  return shared.formatNumber(value, options, style);
}

type Maybe = number | null | undefined;

function known(value: Maybe): value is number {
  return value !== null && value !== undefined && Number.isFinite(value);
}

/** 12,345 */
export function count(value: Maybe): string {
  return known(value) ? shared.formatCount(value, style) : unknownFigure;
}

/** A fixed number of decimals, so that columns align. */
export function decimal(value: Maybe, decimals: number): string {
  return known(value) ? shared.formatDecimal(value, decimals, style) : unknownFigure;
}

/** Three significant digits: 0.0123, 9.22, 26,200. */
export function significant(value: Maybe, digits = 3): string {
  return known(value) ? shared.significant(value, digits, style) : unknownFigure;
}

/** 0.05, 2.5: a number as it was typed. */
export function typed(value: Maybe): string {
  return known(value) ? shared.formatTyped(value, style) : unknownFigure;
}

/** 14.7 MB; decimal units, as file managers and the engine's messages use them. */
export function bytes(value: Maybe): string {
  return known(value) ? shared.formatBytes(value, style) : unknownFigure;
}

/** 7.34 M, 1.10 B: parameters and tokens. */
export function large(value: Maybe): string {
  return known(value) ? shared.formatLarge(value, style) : unknownFigure;
}

/** 840 ms, 12.4 s, 3 min 20 s, 2 h 05 min. */
export function duration(ms: Maybe): string {
  return known(ms) ? shared.formatDuration(ms, style) : unknownFigure;
}

/** For a time that is still to come: whole seconds, so that it does not flicker. */
export function remaining(ms: Maybe): string {
  if (!known(ms)) return unknownFigure;
  return ms < 59_500 ? `${Math.max(1, Math.round(ms / 1000))}${noBreak}s` : duration(ms);
}

/**
 * 20–50 s, 2–5 min, 1.5–3 h: a time to come and how well it is known, no finer than that. Where both ends read alike they are one.
 */
export function timeSpan({ low, high }: { low: number; high: number }): string {
  const [unitMs, unit, decimals] =
    high < 59_500 ? [1000, 's', 0] : high < 100 * 60_000 ? [60_000, 'min', 0] : [3_600_000, 'h', 1];
  const step = 10 ** -(decimals as number);
  const inUnits = (ms: number, round: (value: number) => number) =>
    round(ms / (unitMs as number) / step) * step;
  const most = Math.max(step, inUnits(high, Math.ceil));
  const least = Math.min(most, inUnits(low, Math.floor));
  const written = (value: number) => format(value, { maximumFractionDigits: decimals as number });
  const span =
    least === most
      ? written(most)
      : least === 0
        ? `<${noBreak}${written(most)}`
        : `${written(least)}–${written(most)}`;
  return `${span}${noBreak}${unit}`;
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

/** Three significant digits of a ratio of perplexities; near 1 one more, where 1.0002 would be 1.01. */
const ratioDigits = 3;
const nearOne = { below: 1.1, digits: 4 };

/** 1.25×; rounded up, so that a ratio beyond a threshold never looks like the threshold. */
export function ratio(value: Maybe): string {
  if (!known(value)) return unknownFigure;
  const digitsBefore = value > 0 ? Math.floor(Math.log10(value)) + 1 : 1;
  const digits = value > 1 && value < nearOne.below ? nearOne.digits : ratioDigits;
  const up = shared.roundedUp(value, Math.max(0, digits - digitsBefore));
  return `${up >= 100 ? count(up) : significant(up, digits)}×`;
}

/** 79.1%: of the positions; rounded down, so that a share below a threshold never looks like the threshold. */
export function agreement(share: Maybe): string {
  return known(share) ? shared.formatAgreement(share, style) : unknownFigure;
}

/** Perplexities span four magnitudes. */
export function perplexity(value: Maybe): string {
  if (!known(value)) return unknownFigure;
  return value >= 1000 ? count(value) : decimal(value, value >= 100 ? 1 : 2);
}

/** 26 Nov 2026, 19:04; the year only where it is not this one. Day before month and 24 hours, as no reader takes wrongly. */
export function dateTime(iso: string | null | undefined): string {
  return shownDate(iso, true);
}

/** For a column: day and minute of this year, the date of another one. */
export function shortDateTime(iso: string | null | undefined): string {
  return shownDate(iso, false);
}

function shownDate(iso: string | null | undefined, alwaysMinutes: boolean): string {
  if (!iso) return unknownFigure;
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return unknownFigure;
  const isThisYear = date.getFullYear() === new Date().getFullYear();
  return date.toLocaleString(style.locale === 'en' ? 'en-GB' : style.locale, {
    ...(isThisYear ? {} : { year: 'numeric' }),
    month: 'short',
    day: 'numeric',
    ...(isThisYear || alwaysMinutes ? { hour: '2-digit', minute: '2-digit' } : {}),
  });
}

/** Last part of a path of any system, as it may stand among other words. */
export function baseName(path: string): string {
  return withoutControls(path.split(/[\\/]/).filter(Boolean).at(-1) ?? path);
}
