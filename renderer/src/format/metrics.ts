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
