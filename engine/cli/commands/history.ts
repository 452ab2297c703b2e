import { type Command, Option } from 'commander';
import { DBellError } from '../../contract/errors.ts';
import { fieldInWords } from '../../contract/field-names.ts';
import {
  exportFormatSchema,
  type RunSummary,
  runKindSchema,
  runStateSchema,
  sortKeySchema,
} from '../../contract/history.ts';
import { limits } from '../../contract/limits.ts';
import type { AddCommand, Run } from '../command.ts';
import { formatBytes, formatCounted, significant } from '../format.ts';
import {
  collect,
  filePath,
  runIdentifier,
  runIdentifiers,
  wholeNumber,
  withOutputOptions,
} from '../options.ts';
import { cut, table } from '../table.ts';
import { detailOf, shownIdLength, shownTime, shownValue } from './history-detail.ts';

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
