import path from 'node:path';
import type { TextSource } from '../../contract/common.ts';
import type { ComparedSubject, CompareResult } from '../../contract/compare.ts';
import { limits } from '../../contract/limits.ts';
import type { AddCommand } from '../command.ts';
import {
  formatAgreement,
  formatBytes,
  formatCount,
  formatRatio,
  formatTyped,
  significant,
} from '../format.ts';
import { filePath, textSource, wholeNumber, withOutputOptions, withWindowOptions } from '../options.ts';
import type { OutputOptions } from '../output.ts';
import { table, wrap } from '../table.ts';

interface CompareOptions extends OutputOptions {
  text?: TextSource;
  context?: number;
  windows?: number;
  documentSeparator?: number | 'none';
  layers: number;
  threads?: number;
  remember: boolean;
}

/** Layers with the largest errors of each subject that are shown. */
const defaultLayers = 3;

export const compareCommand: AddCommand = (program, run) => {
  withOutputOptions(
    withWindowOptions(
      program
        .command('compare')
        .description('put packages, and the model they were made from, side by side; what differs first')
        .argument(
          '<packages...>',
          'packages; a Hugging Face folder or .gguf file among them is what they are judged against',
          (text: string, before: string[] | undefined) => [...(before ?? []), filePath(text)],
        )
        .option('--text <text>', 'measure on this text what was not yet measured on it', textSource),
    )
      .option(
        '--layers <count>',
        `worst layers of each that are shown (default: ${defaultLayers})`,
        wholeNumber(0, 1000),
        defaultLayers,
      )
      .option('--threads <count>', '0 = all cores (default: 0)', wholeNumber(0, limits.threads))
      .option('--no-remember', 'leave measurements out of the history and the packages'),
  )
    .addHelpText(
      'after',
      `
Figures stand in one table only where text, context and number of windows are
the same. "--json" has every layer and the whole recipes.

Examples:
  dbell compare packed-3 packed-4
  dbell compare model.gguf packed-3 packed-4 --text wiki.test.txt --windows 16`,
    )
    .action((subjects: string[], options: CompareOptions) =>
      run(options, async ({ client, output, followJob }) => {
        const { text, context, windows, documentSeparator, threads, remember } = options;
        const { jobId } = await client.call('compare', {
          subjects,
          text,
          context,
          windows,
          documentSeparator,
          threads,
          remember,
        });
        const result = await followJob(jobId, 'compare');
        output.result(result, () => describeComparison(result, options.layers));
      }),
    );
};

/** Width of the first column and of all the others together. */
const titleWidth = 23;
const valuesWidth = 53;

const absent = '–';

function describeComparison(result: CompareResult, layerCount: number): string {
  const { subjects } = result;
  const names = shownNames(subjects);
  const width = Math.max(10, Math.floor(valuesWidth / subjects.length));
  const columns = (title: string, align: 'left' | 'right' = 'left') => [
    { title, maximumWidth: titleWidth },
    ...names.map((name) => ({ title: shortened(name, width), maximumWidth: width, align })),
  ];
  const rows = (from: CompareResult['differences']) =>
    from.map(({ field, values }) => [field, ...values.map((value) => shownValue(field, value))]);
  const sections = [
    result.differences.length === 0 ? '' : table(columns('DIFFERENCE'), rows(result.differences)),
    agreementText(result, columns('SETTING')),
    bytesTable(subjects, columns('BYTES', 'right')),
    ...result.groups.map((group) => groupTable(group, columns, subjects)),
    layerTable(subjects, columns('LARGEST LAYER ERRORS', 'right'), layerCount),
    result.warnings.map((warning) => wrap(`warning: ${warning}`, 78)).join('\n'),
  ];
  return sections.filter((section) => section !== '').join('\n\n');
}

/** Names of folders; where two are the same, as much of their paths as tells them apart. */
function shownNames(subjects: ComparedSubject[]): string[] {
  return subjects.map((subject) => {
    const parts = subject.path.split(path.sep);
    for (let count = 1; count < parts.length; count++) {
      const name = parts.slice(-count).join('/');
      const sameEnd = subjects.filter((other) => other.path.split(path.sep).slice(-count).join('/') === name);
      if (sameEnd.length <= 1) return name;
    }
    return subject.path;
  });
}

/** The end of a name tells packages apart more often than its beginning. */
function shortened(name: string, width: number): string {
  return name.length <= width ? name : `…${name.slice(name.length - width + 1)}`;
}

/** Of one subject alone a table, of several what needs no column each. */
function agreementText(
  { subjects, agreements }: CompareResult,
  columns: Parameters<typeof table>[0],
): string {
  if (agreements.length === 0) return '';
  if (subjects.length > 1) return sameInWords(agreements);
  return table(
    columns,
    agreements.map(({ field, values }) => [field, shownValue(field, values[0] ?? null)]),
  );
}

function sameInWords(rows: CompareResult['agreements']): string {
  const text = rows
    .map(
      ({ field, values }) => `${field} ${shownValue(field, values.find((value) => value !== null) ?? null)}`,
    )
    .join(', ');
  return wrap(`the same in all: ${text}`, 76).replaceAll('\n', '\n  ');
}

/** Figures among the settings: what was typed has no digits to be kept or cut. */
const measuredFields = new Set(['stored bits', 'bits per parameter', 'mean layer error']);

function shownValue(field: string, value: CompareResult['differences'][number]['values'][number]): string {
  if (value === null) return absent;
  if (typeof value === 'number') {
    if (field === 'weight files' || field === 'all files') return formatBytes(value);
    return measuredFields.has(field) ? significant(value, 4) : formatTyped(value);
  }
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function bytesTable(subjects: ComparedSubject[], columns: Parameters<typeof table>[0]): string {
  const packed = subjects.filter(({ isPackage }) => isPackage);
  if (packed.length === 0) return '';
  // All lists are in one order; a part that a list before did not have follows its neighbour.
  const parts: string[] = [];
  for (const { bytesByPart } of packed)
    for (const [index, { name }] of bytesByPart.entries())
      if (!parts.includes(name)) parts.splice(parts.indexOf(bytesByPart[index - 1]?.name ?? '') + 1, 0, name);
  const of = (subject: ComparedSubject, part: string) => {
    const bytes = subject.bytesByPart.find(({ name }) => name === part)?.bytes;
    return bytes === undefined ? absent : formatBytes(bytes);
  };
  return table(columns, [
    ...parts.map((part) => [part, ...subjects.map((subject) => of(subject, part))]),
    ['weight files', ...subjects.map(({ modelBytes }) => formatBytes(modelBytes))],
    ['all files', ...subjects.map(({ bytes }) => (bytes === null ? absent : formatBytes(bytes)))],
  ]);
}

function groupTable(
  group: CompareResult['groups'][number],
  columns: (title: string, align: 'right') => Parameters<typeof table>[0],
  subjects: ComparedSubject[],
): string {
  const { values, textName, windows, context, tokens } = group;
  const subjectCount = subjects.length;
  const originals = subjects.filter(({ isPackage }) => !isPackage);
  const row = (title: string, show: (value: NonNullable<(typeof values)[number]>) => string | null) => [
    title,
    ...values.map((value) => (value === null ? absent : (show(value) ?? absent))),
  ];
  const rows = [
    row('perplexity', ({ perplexity }) => (perplexity === null ? 'not finite' : significant(perplexity, 5))),
    row('ratio', ({ perplexityRatio }) => (perplexityRatio === null ? null : formatRatio(perplexityRatio))),
    row('same top token', ({ topTokenAgreement }) =>
      topTokenAgreement === null ? null : formatAgreement(topTokenAgreement),
    ),
    row('KL, nats per token', ({ klDivergenceNats }) =>
      klDivergenceNats === null ? null : significant(klDivergenceNats, 3),
    ),
    row('verdict', ({ verdict }) => verdict),
    row('compared with', ({ originalFingerprint }) =>
      originals.length < 2
        ? null
        : (originals.find(({ sourceFingerprint }) => sourceFingerprint === originalFingerprint)?.name ??
          null),
    ),
    row('activation bits', ({ activationBits }) => String(activationBits)),
    row('activation scales', ({ activationScales }) => activationScales ?? null),
  ].filter((cells, index) => index === 0 || cells.slice(1).some((cell) => cell !== absent));
  const covered = values.filter((value) => value !== null).length;
  const note = covered < subjectCount && subjectCount > 1 ? ` (${covered} of ${subjectCount} measured)` : '';
  const heading = `${textName}, ${formatCount(windows)} × ${formatCount(context)} tokens, ${formatCount(tokens)} scored${note}`;
  return `${heading}\n${table(columns('MEASURED', 'right'), rows)}`;
}

function layerTable(
  subjects: ComparedSubject[],
  columns: Parameters<typeof table>[0],
  count: number,
): string {
  const errors = subjects.map(
    ({ layers }) => new Map(layers.map((layer) => [layer.name, layer.relativeError])),
  );
  const worst = new Map<string, number>();
  for (const { layers } of subjects)
    for (const { name, relativeError } of [...layers]
      .sort((a, b) => b.relativeError - a.relativeError)
      .slice(0, count))
      worst.set(name, Math.max(worst.get(name) ?? 0, relativeError));
  if (worst.size === 0) return '';
  const shown = (error: number | undefined) => (error === undefined ? absent : significant(error, 3));
  return table(
    columns,
    [...worst]
      .sort(([, a], [, b]) => b - a)
      .map(([name]) => [shortLayer(name), ...errors.map((of) => shown(of.get(name)))]),
  );
}

/** `model.layers.3.mlp.down_proj` → `3.mlp.down_proj`. */
function shortLayer(name: string): string {
  return name.replace(/^.*?layers\./, '');
}
