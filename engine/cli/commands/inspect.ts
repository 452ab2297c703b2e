import type { Problem } from '../../contract/common.ts';
import type { ModelDescription } from '../../contract/models.ts';
import type { AddCommand } from '../command.ts';
import { exitCodes } from '../exit-codes.ts';
import {
  calibrationMark,
  formatActivations,
  formatBytes,
  formatCount,
  formatCounted,
  formatParameters,
  formatPerplexity,
  significant,
  tableLines,
} from '../format.ts';
import { filePath, withOutputOptions } from '../options.ts';
import { CommandEnd } from '../session.ts';
import { pairs } from '../table.ts';
import { qualityPairs } from './quality.ts';

export const inspectCommand: AddCommand = (program, run) => {
  withOutputOptions(
    program
      .command('inspect')
      .description('show what a model is, from its headers alone, and everything wrong with it')
      .argument('<model>', 'Hugging Face folder, .gguf file or package', filePath),
  )
    .addHelpText(
      'after',
      `
Exit code 1 if the model cannot be used.

Examples:
  dbell inspect resources/dbell-stories-7m
  dbell inspect model.gguf --json`,
    )
    .action((model: string, options) =>
      run(options, async ({ client, output }) => {
        const description = await client.call('inspect', { model });
        output.result(description, () => describe(description));
        if (!description.usable) throw new CommandEnd(exitCodes.failure);
      }),
    );
};

function describe(model: ModelDescription): string {
  const { architecture } = model;
  const types = Object.entries(model.storedTypes).map(
    ([type, { tensors, bytes }]) => `${type}: ${formatCounted(tensors, 'tensor')}, ${formatBytes(bytes)}`,
  );
  const grouped =
    architecture && architecture.keyValueHeads !== architecture.heads
      ? `, ${architecture.keyValueHeads} for keys and values`
      : '';
  const text = pairs([
    ['path', model.path],
    ['format', model.format],
    ['family', model.family && `${model.family} (model_type ${model.modelType})`],
    ['parameters', model.parameters === null ? null : formatCount(model.parameters)],
    [
      model.package ? 'quantized' : 'to quantize',
      model.quantizableParameters === null || model.parameters === null
        ? null
        : `${formatParameters(model.quantizableParameters)} in the linears of the blocks (${percentOf(model.quantizableParameters, model.parameters)})`,
    ],
    ['weight files', model.fileBytes === null ? null : formatBytes(model.fileBytes)],
    ['stored as', types.length > 0 ? types.join('\n') : null],
    ['levels', lowBitLine(model)],
    ['blocks', architecture && formatCount(architecture.blocks)],
    ['hidden size', architecture && formatCount(architecture.hiddenSize)],
    ['attention', architecture && `${architecture.heads} heads of ${architecture.headDimension}${grouped}`],
    [
      'MLP',
      architecture &&
        `${formatCount(architecture.intermediateSize)}, ${architecture.mlp}, ${architecture.activation}`,
    ],
    ['norm', architecture?.norm],
    ['position', architecture?.position],
    ['context', architecture && `${formatCount(architecture.contextLength)} tokens`],
    [
      'vocabulary',
      architecture &&
        `${formatCount(architecture.vocabularySize)} tokens, head ${architecture.tiedHead ? 'tied to the embedding' : 'of its own'}`,
    ],
    [
      'linears',
      model.linears.length > 0
        ? inLines(model.linears.map((l) => `${l.role} ${l.outFeatures}×${l.inFeatures}`))
        : null,
    ],
    ['chat template', architecture && (model.hasChatTemplate ? 'yes' : 'none')],
    ['licence', model.license],
    ...packageLines(model),
  ]);
  return [text, ...problemLines(model.problems)].join('\n');
}

function lowBitLine({ lowBit }: ModelDescription): string | null {
  if (lowBit === null) return null;
  const levels = lowBit.levels === 2 ? 'binary' : 'ternary';
  return `${levels} weights in all linears${lowBit.isStored ? '' : ', by the rows looked at'}; recipe as-is keeps them exactly`;
}

type PackageDescription = NonNullable<ModelDescription['package']>;

function packageLines({ package: packed }: ModelDescription): [string, string | null][] {
  if (packed === null) return [];
  const nominal = packed.nominalBitsPerWeight === null ? '' : ` (nominal: ${packed.nominalBitsPerWeight})`;
  return [
    ['all files', `${formatBytes(packed.bytes)}, with tokenizer, config, quality and card`],
    ['recipe', packed.recipe],
    ['stored', `${significant(packed.storedBitsPerWeight, 4)} bits per weight${nominal}`],
    ['made for', `${formatActivations(packed)}; embedding ${packed.embeddingBits} bits`],
    ['tables', tableLines(packed.tables)],
    ...qualityLines(packed),
  ];
}

/** What was measured of its quality, each figure with its text, tokens and context; that nothing was is said too. */
function qualityLines({ comparisons, perplexities }: PackageDescription): [string, string | null][] {
  return [
    ...comparisons.flatMap((figures) => [
      ...qualityPairs(figures),
      ['with', withWords(figures)] satisfies [string, string],
    ]),
    ...(comparisons.length === 0 ? [notJudged] : []),
    ...perplexities.map((entry): [string, string] => [
      'perplexity',
      `${formatPerplexity(entry)}\n${formatActivations(entry)}\n${entry.textName}${calibrationMark(entry)}`,
    ]),
  ];
}

const notJudged: [string, string] = [
  'verdict',
  'not judged yet; this does it:\ndbell quality PACKAGE --against MODEL --text HELD-OUT-TEXT',
];

function withWords(figures: PackageDescription['comparisons'][number]): string {
  return `${formatActivations(figures)}${figures.isAgainstSource ? '' : '; compared with another model than it was made from'}`;
}

/** Four to a line: a line of seven linears would be too long for 80 columns. */
function inLines(items: string[]): string {
  const lines: string[] = [];
  for (let index = 0; index < items.length; index += 4) lines.push(items.slice(index, index + 4).join('  '));
  return lines.join('\n');
}

function percentOf(part: number, whole: number): string {
  return `${((100 * part) / whole).toFixed(1)}%`;
}

export function problemLines(problems: Problem[]): string[] {
  return problems.map(({ severity, message }) => `${severity}: ${message}`);
}
