import type { JsonObject } from '../../contract/common.ts';
import { fieldInWords, fieldRank, isFigure, isYesOrNo } from '../../contract/field-names.ts';
import { flatten } from '../../contract/flatten.ts';
import type { RunDetail, RunSummary } from '../../contract/history.ts';
import { deviceBesidesCpu, perplexityResultSchema } from '../../contract/measurement.ts';
import { plainSettings, runSettings } from '../../contract/plain-settings.ts';
import { qualityResultSchema } from '../../contract/quality.ts';
import { verifyResultSchema } from '../../contract/quantization.ts';
import { hasOtherActivations } from '../../contract/standing-measurements.ts';
import { verdictSentence } from '../../contract/verdict.ts';
import {
  calibrationMark,
  formatAgreement,
  formatBytes,
  formatCount,
  formatDuration,
  formatRatio,
  formatSpeed,
  formatTyped,
  significant,
} from '../format.ts';
import { pairs, wrap } from '../table.ts';
import { conditionsOf, stabilityOf } from './benchmark-detail.ts';
import { describeVerification } from './verify.ts';

/** A run of the history as text: what `history show` prints. */

/** Enough of an id to tell runs apart; commands accept it. */
export const shownIdLength = 8;

/** Day and minute of this year, the date of another one. */
export function shownTime(time: string): string {
  const thisYear = time.startsWith(`${new Date().getUTCFullYear()}-`);
  return thisYear ? time.slice(5, 16).replace('T', ' ') : time.slice(0, 10);
}

/** Layers shown of a run: the worst ones. */
const shownLayers = 5;

export function detailOf(run: RunDetail, measurements: RunDetail[], madeBy: RunSummary | null): string {
  const worst = [...run.layers].sort((a, b) => b.relativeError - a.relativeError).slice(0, shownLayers);
  const sections = [
    pairs([
      ['run', run.runId],
      ['kind', run.kind],
      ['state', run.state],
      ['begun', wholeTime(run.createdAt)],
      ['ended', run.endedAt === null ? null : wholeTime(run.endedAt)],
      ['model', run.modelPath],
      ['recipe', run.recipe],
      ['tags', run.tags.length > 0 ? run.tags.join(', ') : null],
      ['note', run.note === '' ? null : run.note],
      ['error', run.error?.message],
      ['verdict', verdictOf(run.results)],
      ['verified', verifiedOf(run.results)],
      ['computed by', kernelsOf(run.results)],
      ['made by', madeBy === null ? null : `${madeBy.runId.slice(0, shownIdLength)} ${madeBy.recipe ?? ''}`],
      ...run.artifacts.map((artifact): [string, string] => [
        artifact.kind,
        artifact.bytes === null
          ? artifact.path
          : `${artifact.path} (${formatBytes(artifact.bytes)}, all files)`,
      ]),
    ]),
    section('metrics', plainSettings(run.metrics)),
    measurements.length > 0
      ? `measured later\n${measurements.map((measured) => measurementOf(measured, run.activationBits)).join('\n')}`
      : '',
    section('settings', runSettings(run)),
    section('conditions', conditionsOf(run.results.benchmark)),
    section('environment', plainSettings(run.environment)),
    worst.length > 0
      ? `worst layers\n${worst.map(({ name, relativeError }) => `  ${significant(relativeError, 3)}  ${name}`).join('\n')}`
      : '',
  ];
  return sections.filter((text) => text !== '').join('\n\n');
}

/**
 * A later measurement of a package made for `madeFor` activation bits: which run, when, and its figures with the text they belong to, and with other activation bits, where it
 * was measured with those.
 */
function measurementOf(
  { runId, kind, createdAt, metrics, results, activationBits }: RunDetail,
  madeFor: number | null,
): string {
  const of = (name: string, digits: number) =>
    metrics[name] === undefined ? '' : significant(metrics[name], digits);
  const quality = qualityResultSchema.safeParse(results.quality).data;
  const plain = perplexityResultSchema.safeParse(results.perplexity).data;
  const text = quality ?? plain;
  const verified = verifyResultSchema.safeParse(results.verify).data;
  const figures = verified
    ? verified.ok
      ? 'ok'
      : `NOT ok: ${verified.problems[0]?.message ?? ''}`
    : kind === 'benchmark'
      ? `decode ${of('decodeTokensPerSecond', 4)} tokens/s`
      : `perplexity ${of('perplexity', 5)}${quality ? `, ${quality.perplexityRatio === null ? 'not finite' : formatRatio(quality.perplexityRatio)} × the original's: ${quality.verdict}` : ''}`;
  const measuredOn = text
    ? `\n    on ${text.textName}, ${formatCount(text.tokens)} tokens, context ${formatCount(text.context)}${calibrationMark(text)}`
    : '';
  const activations = hasOtherActivations(activationBits, madeFor)
    ? `\n    with activations of ${activationBits} bits; made for ${madeFor}`
    : '';
  const device = deviceBesidesCpu(results[kind]);
  const where = device === null ? '' : `\n    computed on ${device}`;
  return `  ${runId.slice(0, shownIdLength)}  ${shownTime(createdAt)}  ${kind}  ${figures}${measuredOn}${activations}${where}`;
}

/** What was found of a package's quality, and whether the speeds of a benchmark can be relied on; null for other runs. */
function verdictOf({ benchmark, quality }: JsonObject): string | null {
  const judged = qualityResultSchema.safeParse(quality);
  const sentence = judged.success ? wrap(verdictSentence(judged.data), 62) : null;
  const stability = stabilityOf(benchmark);
  return sentence === null || stability === null ? (sentence ?? stability) : `${sentence}\n${stability}`;
}

/** Whether the package is whole, and what was checked for it. */
function verifiedOf({ verify }: JsonObject): string | null {
  const found = verifyResultSchema.safeParse(verify).data;
  return found ? describeVerification(found) : null;
}

/** The kernels that a run's measurements were computed by. */
function kernelsOf(results: JsonObject): string | null {
  const flat = flatten(results);
  const kernels = ['perplexity', 'quality', 'benchmark'].map((kind) => flat.get(`${kind}.kernelPath`));
  const named = new Set(kernels.filter((name) => typeof name === 'string'));
  return named.size === 0 ? null : [...named].join(', ');
}

/** One value a line, those of nested objects by their path; what is not known or was not asked for is left out. */
function section(title: string, values: JsonObject): string {
  const lines = pairs(
    [...flatten(values)]
      .filter(([, value]) => value !== null && !(Array.isArray(value) && value.length === 0))
      .sort(([a], [b]) => fieldRank(a) - fieldRank(b))
      .map(([name, value]) => [
        `  ${fieldInWords(name)}`,
        Array.isArray(value) ? wrap(shownValue(name, value), valueWidth) : shownValue(name, value),
      ]),
  );
  return lines === '' ? '' : `${title}\n${lines}`;
}

/** Lists are broken so that they end within 80 columns behind the longest common names. */
const valueWidth = 44;

/** Of the processors' time, of the memory's bandwidth. */
const shareInPercent = /(^|\.)(othersBusyShareBefore|stolenShare|memoryBandwidthShare(\.\d+)?)$/;

/** Units from the name, where a bare number travels. */
export function shownValue(name: string, value: unknown): string {
  if (typeof value === 'number' && isYesOrNo(name)) return value === 0 ? 'no' : 'yes';
  if (typeof value === 'number' && shareInPercent.test(name)) return `${(100 * value).toFixed(1)}%`;
  if (typeof value === 'number' && /^bytes|bytes$/i.test(name)) return formatBytes(value);
  if (typeof value === 'number' && name.endsWith('BytesPerSecond')) return `${formatBytes(value)}/s`;
  if (typeof value === 'number' && name.endsWith('TokensPerSecond')) return formatSpeed(value);
  if (typeof value === 'number' && name.endsWith('Nats')) return `${significant(value, 3)} nats`;
  if (typeof value === 'number' && /Ms$/.test(name)) return formatDuration(value);
  if (typeof value === 'number' && name === 'topTokenAgreement') return formatAgreement(value);
  if (typeof value === 'number' && name === 'perplexityRatio') return formatRatio(value);
  if (typeof value === 'number')
    return Number.isInteger(value) || !isFigure(name) ? formatTyped(value) : significant(value, 5);
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (Array.isArray(value))
    return value
      .map((each) => (typeof each === 'object' ? JSON.stringify(each) : shownValue(name, each)))
      .join(', ');
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** `2026-11-27 06:50:49 UTC`. */
function wholeTime(time: string): string {
  return `${time.slice(0, 19).replace('T', ' ')} UTC`;
}
