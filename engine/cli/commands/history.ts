import { type Command, Option } from 'commander';
import type { JsonObject } from '../../contract/common.ts';
import { DBellError } from '../../contract/errors.ts';
import { fieldInWords, fieldRank, isFigure } from '../../contract/field-names.ts';
import {
  exportFormatSchema,
  type RunDetail,
  type RunSummary,
  runKindSchema,
  runStateSchema,
  sortKeySchema,
} from '../../contract/history.ts';
import { limits } from '../../contract/limits.ts';
import { perplexityResultSchema } from '../../contract/measurement.ts';
import { plainSettings } from '../../contract/plain-settings.ts';
import { qualityResultSchema } from '../../contract/quality.ts';
import { verifyResultSchema } from '../../contract/quantization.ts';
import { verdictSentence } from '../../contract/verdict.ts';
import type { AddCommand, Run } from '../command.ts';
import {
  formatAgreement,
  formatBytes,
  formatCounted,
  formatDuration,
  formatRatio,
  formatSpeed,
  formatTyped,
  significant,
} from '../format.ts';
import {
  collect,
  filePath,
  runIdentifier,
  runIdentifiers,
  wholeNumber,
  withOutputOptions,
} from '../options.ts';
import { cut, pairs, table, wrap } from '../table.ts';
import { describeVerification } from './verify.ts';

export const historyCommand: AddCommand = (program, run) => {
  const history = program
    .command('history')
    .description('what was done before: every quantization and measurement');
  for (const add of [list, show, compare, remove, undo, annotate, exportRuns, importRuns]) add(history, run);
};

function list(history: Command, run: Run): void {
  withOutputOptions(
    history
      .command('list')
      .description('list runs, newest first; bits are those stored, PPL is the perplexity')
      .addOption(new Option('--kind <kind>', 'only these').choices(runKindSchema.options))
      .addOption(new Option('--state <state>', 'only these').choices(runStateSchema.options))
      .option('--recipe <name>')
      .option('--tag <tag>')
      .option('--text <text>', 'found in model, recipe, note or tags')
      .addOption(new Option('--sort-by <key>', 'default: createdAt').choices(sortKeySchema.options))
      .option('--ascending', 'smallest or oldest first')
      .option('--limit <count>', 'default: 50', wholeNumber(1, limits.pageRows))
      .option('--offset <count>', 'default: 0', wholeNumber(0)),
  ).action((options) =>
    run(options, async ({ client, output }) => {
      const { kind, state, recipe, tag, text, sortBy, ascending, limit, offset } = options;
      const found = await client.call('history.list', {
        kind,
        state,
        recipe,
        tag,
        text,
        sortBy,
        descending: !ascending,
        limit,
        offset,
      });
      output.result(found, () => listOf(found.runs, found.total));
    }),
  );
}

function listOf(runs: RunSummary[], total: number): string {
  if (total === 0) return 'No runs yet. A first one: dbell quantize resources/dbell-stories-7m --recipe …';
  const metric = (run: RunSummary, name: string, digits: number) => {
    const value = run.metrics[name];
    return value === undefined ? '' : significant(value, digits);
  };
  const rows = runs.map((run) => [
    run.runId.slice(0, shownIdLength),
    shownTime(run.createdAt),
    run.state === 'finished' ? run.kind : `${run.kind} ${run.state}`,
    run.modelName,
    run.recipe ?? '',
    metric(run, 'storedBitsPerWeight', 3),
    metric(run, 'perplexity', 4),
  ]);
  const text = table(
    [
      { title: 'RUN' },
      { title: 'BEGUN (UTC)' },
      { title: 'WHAT', maximumWidth: 18 },
      { title: 'MODEL', maximumWidth: 12 },
      { title: 'RECIPE', maximumWidth: 10 },
      { title: 'BITS', align: 'right' },
      { title: 'PPL', align: 'right' },
    ],
    rows,
  );
  return runs.length < total ? `${text}\n${runs.length} of ${total}` : text;
}

/** Day and minute of this year, the date of another one. */
function shownTime(time: string): string {
  const thisYear = time.startsWith(`${new Date().getUTCFullYear()}-`);
  return thisYear ? time.slice(5, 16).replace('T', ' ') : time.slice(0, 10);
}

/** Enough of an id to tell runs apart; commands accept it. */
const shownIdLength = 8;

function show(history: Command, run: Run): void {
  withOutputOptions(
    history
      .command('show')
      .description('show all that is known of a run')
      .argument('<run>', 'its id, or the first characters of it', runIdentifier),
  ).action((runId: string, options) =>
    run(options, async ({ client, output }) => {
      const { run: found, measurements, madeBy } = await client.call('history.show', { runId });
      output.result({ ...found, measurements, madeBy }, () => detailOf(found, measurements, madeBy));
    }),
  );
}

/** Layers shown of a run: the worst ones. */
const shownLayers = 5;

function detailOf(run: RunDetail, measurements: RunDetail[], madeBy: RunSummary | null): string {
  const worst = [...run.layers].sort((a, b) => b.relativeError - a.relativeError).slice(0, shownLayers);
  const sections = [
    pairs([
      ['run', run.runId],
      ['kind', run.kind],
      ['state', run.state],
      ['begun', run.createdAt],
      ['ended', run.endedAt],
      ['model', run.modelPath],
      ['recipe', run.recipe],
      ['tags', run.tags.length > 0 ? run.tags.join(', ') : null],
      ['note', run.note === '' ? null : run.note],
      ['error', run.error?.message],
      ['verdict', verdictOf(run.results)],
      ['verified', verifiedOf(run.results)],
      ['made by', madeBy === null ? null : `${madeBy.runId.slice(0, shownIdLength)} ${madeBy.recipe ?? ''}`],
      ...run.artifacts.map((artifact): [string, string] => [
        artifact.kind,
        artifact.bytes === null
          ? artifact.path
          : `${artifact.path} (${formatBytes(artifact.bytes)}, all files)`,
      ]),
    ]),
    section('metrics', run.metrics),
    measurements.length > 0
      ? `measured later\n${measurements.map((measured) => `  ${measurementOf(measured)}`).join('\n')}`
      : '',
    section('settings', run.settings),
    section('environment', run.environment),
    worst.length > 0
      ? `worst layers\n${worst.map(({ name, relativeError }) => `  ${significant(relativeError, 3)}  ${name}`).join('\n')}`
      : '',
  ];
  return sections.filter((text) => text !== '').join('\n\n');
}

/** A later measurement of the package in one line: which run, when, and its figures with the text they belong to. */
function measurementOf({ runId, kind, createdAt, metrics, results }: RunDetail): string {
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
  const measuredOn = text ? ` (${text.textName}, ${text.tokens} tokens, context ${text.context})` : '';
  return `${runId.slice(0, shownIdLength)}  ${shownTime(createdAt)}  ${kind}  ${figures}${measuredOn}`;
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

function stabilityOf(benchmark: JsonObject[string] | undefined): string | null {
  if (typeof benchmark !== 'object' || benchmark === null || Array.isArray(benchmark)) return null;
  const { stable, stabilityNotes } = benchmark;
  if (typeof stable !== 'boolean') return null;
  if (stable) return 'stable';
  return ['unstable', ...(Array.isArray(stabilityNotes) ? stabilityNotes.map(String) : [])].join('\n');
}

function section(title: string, values: JsonObject): string {
  const lines = pairs(
    Object.entries(plainSettings(values))
      .sort(([a], [b]) => fieldRank(a) - fieldRank(b))
      .map(([name, value]) => [`  ${fieldInWords(name)}`, shownValue(name, value)]),
  );
  return lines === '' ? '' : `${title}\n${lines}`;
}

/** Units from the name, where a bare number travels. */
function shownValue(name: string, value: unknown): string {
  if (typeof value === 'number' && /^bytes|bytes$/i.test(name)) return formatBytes(value);
  if (typeof value === 'number' && name.endsWith('BytesPerSecond')) return `${formatBytes(value)}/s`;
  if (typeof value === 'number' && name.endsWith('TokensPerSecond')) return formatSpeed(value);
  if (typeof value === 'number' && name.endsWith('Nats')) return `${significant(value, 3)} nats`;
  if (typeof value === 'number' && /Ms$/.test(name)) return formatDuration(value);
  if (typeof value === 'number' && name === 'topTokenAgreement') return formatAgreement(value);
  if (typeof value === 'number' && name === 'perplexityRatio') return formatRatio(value);
  if (typeof value === 'number')
    return Number.isInteger(value) || !isFigure(name) ? formatTyped(value) : significant(value, 5);
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function compare(history: Command, run: Run): void {
  withOutputOptions(
    history
      .command('compare')
      .description('put runs side by side, what differs first')
      .argument('<runs...>', 'two ids or more, or their first characters', runIdentifiers),
  ).action((runIds: string[], options) =>
    run(options, async ({ client, output }) => {
      if (runIds.length < 2) throw new DBellError('invalid-input', 'give two runs or more to compare');
      const found = await client.call('history.compare', { runIds });
      output.result(found, () => {
        const width = Math.max(10, Math.floor(52 / found.runs.length));
        const rows = found.differences.map(({ field, values }) => [
          fieldInWords(field),
          ...values.map((value) => (value === null ? '–' : shownValue(field, value))),
        ]);
        rows.unshift(
          ['kind', ...found.runs.map(({ kind }) => kind)],
          ['model', ...found.runs.map(({ modelName }) => modelName)],
        );
        return [
          table(
            [
              { title: 'DIFFERENCE', maximumWidth: 24 },
              ...found.runs.map(({ runId }) => ({
                title: runId.slice(0, shownIdLength),
                maximumWidth: width,
              })),
            ],
            rows,
          ),
          ...found.warnings.map((warning) => `warning: ${warning}`),
        ].join('\n');
      });
    }),
  );
}

function remove(history: Command, run: Run): void {
  withOutputOptions(
    history
      .command('delete')
      .description('delete runs from the history (packages stay); "history undo" takes it back')
      .argument('<runs...>', 'ids', runIdentifiers),
  ).action((runIds: string[], options) =>
    run(options, async ({ client, output }) => {
      const result = await client.call('history.delete', { runIds });
      output.result(
        result,
        () => `${formatCounted(result.deleted, 'run')} deleted; "dbell history undo" takes it back`,
      );
    }),
  );
}

function undo(history: Command, run: Run): void {
  withOutputOptions(history.command('undo').description('take back the last deletion')).action((options) =>
    run(options, async ({ client, output }) => {
      const result = await client.call('history.undo', {});
      output.result(result, () =>
        result.restored.length === 0 ? 'nothing to take back' : `back: ${result.restored.join(', ')}`,
      );
    }),
  );
}

function annotate(history: Command, run: Run): void {
  withOutputOptions(
    history
      .command('annotate')
      .description('give a run a note or tags')
      .argument('<run>', 'its id', runIdentifier)
      .option('--note <text>')
      .option('--tag <tag>', 'replaces the tags there were; may be repeated', collect),
  ).action((runId: string, options) =>
    run(options, async ({ client, output }) => {
      if (options.note === undefined && options.tag === undefined)
        throw new DBellError('invalid-input', 'nothing to change: give --note, --tag or both');
      const { run: changed } = await client.call('history.annotate', {
        runId,
        note: options.note,
        tags: options.tag,
      });
      output.result(changed, () => cut(`${changed.runId}: ${changed.tags.join(', ')} ${changed.note}`, 78));
    }),
  );
}

function exportRuns(history: Command, run: Run): void {
  withOutputOptions(
    history
      .command('export')
      .description('write runs to a file: json (can be imported again), markdown or html')
      .argument('[runs...]', 'ids (default: all)', runIdentifiers)
      .requiredOption('--out <file>', 'must not exist yet', filePath)
      .addOption(new Option('--format <format>', 'default: json').choices(exportFormatSchema.options)),
  ).action((runIds: string[] | undefined, options) =>
    run(options, async ({ client, output }) => {
      const result = await client.call('history.export', {
        path: options.out,
        format: options.format,
        runIds: runIds !== undefined && runIds.length > 0 ? runIds : undefined,
      });
      output.result(
        result,
        () => `${formatCounted(result.runs, 'run')} written to ${result.path} (${formatBytes(result.bytes)})`,
      );
    }),
  );
}

function importRuns(history: Command, run: Run): void {
  withOutputOptions(
    history
      .command('import')
      .description('add the runs of an exported JSON file')
      .argument('<file>', 'what export wrote', filePath),
  ).action((file: string, options) =>
    run(options, async ({ client, output }) => {
      const result = await client.call('history.import', { path: file });
      output.result(result, () =>
        [
          `${formatCounted(result.imported, 'run')} added, ${result.known} known already, ${result.refused} refused`,
          ...result.refusals.map(({ runId, reason }) => `  ${runId}: ${reason}`),
        ].join('\n'),
      );
    }),
  );
}
