/** Names of figures and settings in words, for what is shown to people without a catalogue: the terminal and warnings. */

const known: Readonly<Record<string, string>> = {
  storedBitsPerWeight: 'stored bits per weight',
  bytes: 'package, all files',
  modelBytes: 'weight file',
  sourceBytes: 'original, weight files',
  meanRelativeError: 'mean layer error',
  durationMs: 'work time',
  peakRssBytes: 'peak memory, quantizing',
  runtimePeakRssBytes: 'peak memory, running',
  resumedTimes: 'times resumed',
  perplexity: 'perplexity',
  originalPerplexity: 'perplexity of the original',
  perplexityRatio: 'perplexity ratio',
  perplexityTokens: 'scored tokens',
  perplexityContext: 'scored window, tokens',
  topTokenAgreement: 'same top token, share',
  klDivergenceNats: 'KL divergence, nats',
  prefillTokensPerSecond: 'prefill, tokens/s',
  decodeTokensPerSecond: 'decode, tokens/s',
  timeToFirstTokenMs: 'first token',
  tokenLatencyP50Ms: 'token p50',
  tokenLatencyP95Ms: 'token p95',
  tokenLatencyP99Ms: 'token p99',
  loadMs: 'load',
  bytesReadPerToken: 'read per token',
  memoryBandwidthBytesPerSecond: 'memory bandwidth, bytes/s',
  memoryBandwidthShare: 'share of the memory bandwidth',
  baselineDecodeTokensPerSecond: 'baseline decode, tokens/s',
  baselinePeakRssBytes: 'baseline peak memory',
};

/** Words of names that are written in another way. */
const words: ReadonlyMap<string, string> = new Map([
  ['cpu', 'CPU'],
  ['rss', 'RSS'],
  ['followup', 'follow-up'],
]);

/**
 * `followUp.quality.text.bundled` → `follow-up quality text bundled`; a figure by its own words. Units that the value brings along are left out of the name.
 */
export function fieldInWords(field: string): string {
  const own = Object.hasOwn(known, field) ? known[field] : undefined;
  return own ?? field.split('.').map(partInWords).join(' ');
}

function partInWords(part: string): string {
  const name = part.replace(/(?<=[a-z])(Ms|Bytes)$/, '');
  const whole = words.get(name.toLowerCase());
  if (whole !== undefined) return whole;
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .split(' ')
    .map((word) => words.get(word.toLowerCase()) ?? (/^[A-Z][a-z]/.test(word) ? word.toLowerCase() : word))
    .join(' ');
}
