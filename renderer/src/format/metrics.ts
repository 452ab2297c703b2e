import { isUnstable, isYesOrNo } from '../../../engine/contract/field-names.ts';
import { strings } from '../strings/index.ts';
import {
  agreement,
  bitsPerWeight,
  bytes,
  count,
  duration,
  percent,
  perplexity,
  ratio,
  significant,
  tokensPerSecond,
} from './numbers.ts';

/** How a metric of the history is written, by the unit that its name ends in. */
const special: Record<string, (value: number) => string> = {
  perplexity,
  originalPerplexity: perplexity,
  perplexityRatio: ratio,
  topTokenAgreement: agreement,
  bytesReadPerToken: bytes,
  memoryBandwidthBytesPerSecond: (value) => `${bytes(value)}/s`,
  memoryBandwidthShare: (value) => percent(value),
  meanRelativeError: (value) => percent(value, 2),
  storedBitsPerWeight: (value) => bitsPerWeight(value),
  klDivergenceNats: (value) => `${significant(value)} nat`,
};

export function metricText(name: string, value: number | undefined): string {
  if (value === undefined) return '–';
  if (isYesOrNo(name)) return value === 0 ? strings.compare.no : strings.compare.yes;
  const own = special[name];
  if (own) return own(value);
  if (/bytes$/i.test(name)) return bytes(value);
  if (/Ms$/.test(name)) return duration(value);
  if (/TokensPerSecond$/.test(name)) return tokensPerSecond(value);
  return Number.isInteger(value) ? count(value) : significant(value, 4);
}

/** For the heading of a column of plain numbers. */
export function metricUnit(name: string): string {
  if (/bytes$/i.test(name)) return 'B';
  if (/Ms$/.test(name)) return 'ms';
  if (/TokensPerSecond$/.test(name)) return 'tok/s';
  if (name === 'storedBitsPerWeight') return 'bits';
  if (name === 'klDivergenceNats') return 'nat';
  return '';
}

/** Before a speed that was measured while the machine was busy, or whose repetitions disagree. */
export const unstableMark = '≈';

/** A metric of a run, marked where it cannot be relied on. */
export function metricOf(name: string, figures: Readonly<Record<string, number>>): string {
  const text = metricText(name, figures[name]);
  return isUnstable(name, figures) ? `${unstableMark}${text}` : text;
}

/** What a mark at that metric means; undefined where it has none. */
export function markTip(name: string, figures: Readonly<Record<string, number>>): string | undefined {
  return isUnstable(name, figures) ? strings.tips.unstable : undefined;
}
