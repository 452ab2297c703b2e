/**
 * Names of figures and settings in words, the same in the terminal and in the studio. They carry no unit: what is written of a value does.
 */

/** Figures in the order in which results show them. */
const figures: Readonly<Record<string, string>> = {
  modelBytes: 'weight file',
  sourceBytes: 'original’s weight files',
  bytes: 'package, all files',
  storedBitsPerWeight: 'stored bits',
  perplexity: 'perplexity',
  originalPerplexity: 'original’s perplexity',
  perplexityRatio: 'perplexity ratio',
  topTokenAgreement: 'same next token',
  klDivergenceNats: 'KL divergence per token',
  perplexityTokens: 'scored tokens',
  perplexityContext: 'scored window',
  decodeTokensPerSecond: 'decode',
  baselineDecodeTokensPerSecond: 'baseline’s decode',
  prefillTokensPerSecond: 'prefill',
  timeToFirstTokenMs: 'time to first token',
  tokenLatencyP50Ms: 'token latency p50',
  tokenLatencyP95Ms: 'token latency p95',
  tokenLatencyP99Ms: 'token latency p99',
  loadMs: 'load',
  benchmarkStable: 'benchmark was stable',
  baselineStable: 'baseline’s benchmark was stable',
  runtimePeakRssBytes: 'peak memory, running',
  baselinePeakRssBytes: 'baseline’s peak memory',
  bytesReadPerToken: 'read per token',
  memoryBandwidthBytesPerSecond: 'memory bandwidth',
  memoryBandwidthShare: 'share of the memory’s bandwidth',
  meanRelativeError: 'mean layer error',
  durationMs: 'work time',
  peakRssBytes: 'peak memory, quantizing',
  resumedTimes: 'times resumed',
};

/** What was asked for, by its path. */
const settings: Readonly<Record<string, string>> = {
  recipe: 'recipe',
  set: 'changed fields of the recipe',
  activationBits: 'activation bits',
  keyValueCache: 'cache of keys and values',
  activationScales: 'activation scales',
  embeddingBits: 'embedding bits',
  calibration: 'calibration text',
  'calibration.self.temperature': 'self-written calibration, temperature',
  'calibration.self.topP': 'self-written calibration, top-p',
  windows: 'windows',
  context: 'window length',
  seed: 'seed',
  text: 'measured on',
  against: 'compared with',
  baseline: 'beside it',
  kernelPath: 'computed by',
  measuredPromptTokens: 'measured prompts, tokens',
  measuredDepths: 'measured depths, tokens',
  promptTokens: 'prompt lengths',
  decodeDepths: 'depths of decoding',
  generateTokens: 'decoded tokens',
  documentSeparator: 'document separator',
  samples: 'sample texts',
  'samples.prompts': 'sample texts, prompts',
  'samples.tokens': 'sample texts, tokens',
  'samples.sampling': 'sample texts, sampling',
  remember: 'kept in the history',
  'followUp.verify': 'verified afterwards',
  'followUp.perplexity.text': 'perplexity measured on',
  'followUp.perplexity.windows': 'perplexity, windows',
  'followUp.perplexity.context': 'perplexity, window length',
  'followUp.quality.text': 'judged on',
  'followUp.quality.windows': 'judged on, windows',
  'followUp.quality.context': 'judged on, window length',
  'followUp.quality.samples': 'sample texts',
  'followUp.quality.samples.prompts': 'sample texts, prompts',
  'followUp.quality.samples.tokens': 'sample texts, tokens',
  'followUp.quality.samples.sampling': 'sample texts, sampling',
  'followUp.benchmark': 'benchmarked afterwards',
  'followUp.benchmarkOriginal': 'original benchmarked beside it',
};

/** What a benchmark was measured under, of what the history shows in words. */
const conditions: Readonly<Record<string, string>> = {
  othersBusyShareBefore: 'other programs before',
  stolenShare: 'taken by the host',
  'baseline.othersBusyShareBefore': 'baseline: other programs before',
  'baseline.stolenShare': 'baseline: taken by the host',
};

const known: Readonly<Record<string, string>> = { ...settings, ...conditions, ...figures };

const ranks = new Map([...Object.keys(settings), ...Object.keys(figures)].map((name, rank) => [name, rank]));

/** Where a field stands among others; what is not known comes last. */
export function fieldRank(field: string): number {
  return ranks.get(field) ?? ranks.size;
}

/** Whether this is a figure of a result, not something that was asked for. */
export function isFigure(field: string): boolean {
  return Object.hasOwn(figures, field);
}

/** Figures that say yes (1) or no (0). */
const yesOrNo: ReadonlySet<string> = new Set(['benchmarkStable', 'baselineStable']);

export function isYesOrNo(figure: string): boolean {
  return yesOrNo.has(figure);
}

const speedOfBenchmark = /TokensPerSecond$|^timeToFirstTokenMs$|^tokenLatencyP\d+Ms$/;

/**
 * Whether a figure is of a benchmark that was unstable: its repetitions disagree or the machine was busy, and it is to be shown with a mark. Measurements by older
 * versions do not say, and are taken for stable.
 */
export function isUnstable(figure: string, figures: Readonly<Record<string, number>>): boolean {
  if (!speedOfBenchmark.test(figure)) return false;
  return figures[figure.startsWith('baseline') ? 'baselineStable' : 'benchmarkStable'] === 0;
}

/** Words of names that are written in another way. */
const words: ReadonlyMap<string, string> = new Map([
  ['cpu', 'CPU'],
  ['rss', 'RSS'],
  ['followup', 'follow-up'],
]);

/**
 * `cpuModel` → `CPU model`; a figure or setting by its own words. Units that the value brings along are left out of the name.
 */
export function fieldInWords(field: string): string {
  const own = Object.hasOwn(known, field) ? known[field] : undefined;
  return own ?? field.split('.').map(partInWords).join(' ');
}

/** The same as a title: `CPU model`, `Weight file`. */
export function fieldTitle(field: string): string {
  const text = fieldInWords(field);
  return text.charAt(0).toUpperCase() + text.slice(1);
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
