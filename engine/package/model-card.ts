import { verdictSentence } from '../contract/verdict.ts';
import type { Architecture } from '../model/architecture.ts';
import type { ComparisonEntry, PackageQuality, QuantizationConfig } from './schema.ts';

/** Layers with the largest error that the card lists; quality.json has all of them. */
const listedLayers = 5;

/** README.md of a package: what it is, how large, how good, how to run it. Depends on config.json and quality.json alone. */
export function modelCard(inputs: {
  quantization: QuantizationConfig;
  quality: PackageQuality;
  architecture: Architecture;
}): string {
  const { quantization, quality, architecture } = inputs;
  const { license } = quality;
  const { recipe } = quantization;
  const { linears, total } = quality;
  const byBlock = quantization.activation_scales === 'block';
  const front = ['---', 'library_name: dbell', ...(license === null ? [] : [`license: ${yaml(license)}`])];
  front.push('tags:', '- dbell', '- quantized', '---');
  const worst = [...quality.layers]
    .sort((a, b) => b.relativeError - a.relativeError || (a.name < b.name ? -1 : 1))
    .slice(0, listedLayers);
  const nominal =
    linears.nominalBitsPerWeight === null ? '' : ` (nominal ${linears.nominalBitsPerWeight.toFixed(2)})`;
  const lines = [
    ...front,
    '',
    `# A ${architecture.modelType} model packed with DBell Studio`,
    '',
    `The linear layers of this model are stored at ${linears.storedBitsPerWeight.toFixed(3)} bits a weight${nominal}, counted from the bytes on disk with every scale, mask and padding byte. It runs with \`dbell generate\` on a CPU; other programs need a reader for the format that config.json names (\`quant_method\` "dbell").`,
    '',
    '| | |',
    '|---|---|',
    `| recipe | ${cell(recipe.name)} |`,
    `| activations | ${quantization.activation_bits === 16 ? 'not quantized' : `${quantization.activation_bits} bits${byBlock ? ', rounded by block' : ''}`} |`,
    `| embedding and head | ${tablesText(quantization, quality)} |`,
    `| parameters | ${grouped(total.parameters)} |`,
    `| weight file (model.safetensors) | ${grouped(total.modelBytes)} bytes, ${total.storedBitsPerParameter.toFixed(3)} bits a parameter |`,
    `| source | SHA-256 ${quality.sourceFingerprint} |`,
    ...computedBy(quality),
    '',
  ];
  lines.push(...comparisonLines(quality, byBlock));
  if (quality.perplexities.length > 0) {
    lines.push(
      '## Perplexity',
      '',
      '| text | perplexity | activation bits | context | windows | scored tokens |',
      '|---|---|---|---|---|---|',
    );
    for (const entry of quality.perplexities)
      lines.push(
        `| ${measuredText(entry)} | ${entry.perplexity.toFixed(4)} | ${activations(entry, byBlock)} | ${entry.context} | ${entry.windows} | ${grouped(entry.tokens)} |`,
      );
    lines.push('');
  }
  lines.push(
    '## Layers with the largest error',
    '',
    quality.calibration.windowCount === 0
      ? 'Nothing was calibrated: the relative error of the outputs weighs all inputs equally. quality.json has every layer.'
      : 'Relative error of the outputs over the calibration inputs; quality.json has every layer.',
    '',
    '| layer | output error | weight error | stored bits |',
    '|---|---|---|---|',
    ...worst.map(
      (layer) =>
        `| ${cell(layer.name)} | ${layer.relativeError.toFixed(4)} | ${layer.weightRelativeError.toFixed(4)} | ${layer.storedBitsPerWeight.toFixed(3)} |`,
    ),
    '',
  );
  return lines.join('\n');
}

/** The package beside its original, one row a measurement, a verdict below each. */
function comparisonLines(
  { comparisons = [], sourceFingerprint }: PackageQuality,
  byBlock: boolean,
): string[] {
  if (comparisons.length === 0) return [];
  const figure = (value: number | null, digits: number) =>
    value === null ? 'not finite' : value.toFixed(digits);
  const row = (entry: ComparisonEntry) =>
    `| ${measuredText(entry)} | ${figure(entry.originalPerplexity, 3)} | ${figure(entry.perplexity, 3)} | ${figure(entry.perplexityRatio, 4)} | ${(100 * entry.topTokenAgreement).toFixed(2)}% | ${entry.klDivergenceNats.mean.toFixed(5)} | ${activations(entry, byBlock)} | ${entry.context} | ${entry.windows} | ${grouped(entry.tokens)} |`;
  const note = (entry: ComparisonEntry) =>
    `- ${measuredText(entry)}, ${entry.windows} × ${entry.context} tokens, activations ${entry.activationBits} bits${entry.activationBits < 16 && byBlock ? ', rounded by block' : ''}: ${verdictSentence(entry)}${entry.originalFingerprint === sourceFingerprint ? '' : ' (compared with another model than the source)'}`;
  return [
    '## Beside the original',
    '',
    'Both models on the same tokens: perplexities and their ratio, share of positions with the same top token, Kullback-Leibler divergence of the package from the original in nats per token.',
    '',
    '| text | original | package | ratio | same top token | KL | activation bits | context | windows | scored tokens |',
    '|---|---|---|---|---|---|---|---|---|---|',
    ...comparisons.map(row),
    '',
    ...comparisons.map(note),
    '',
  ];
}

/** The text's name, marked where the figures flatter the package. */
function measuredText(entry: { textName: string; isCalibrationText?: true | undefined }): string {
  return `${cell(entry.textName)}${entry.isCalibrationText ? ' (its calibration text)' : ''}`;
}

/** Bits of a measurement, and whether their steps were by block. By token goes without saying. */
function activations({ activationBits }: { activationBits: number }, byBlock: boolean): string {
  return `${activationBits}${byBlock && activationBits < 16 ? ' by block' : ''}`;
}

/** Bits of the tables by name and as stored, and what they take. */
function tablesText(
  { embedding_bits: bits, tied_head: tied }: QuantizationConfig,
  { tables = [] }: PackageQuality,
): string {
  const shared = tied ? ', one shared table' : '';
  const bytes = tables.reduce((sum, table) => sum + table.storedBytes, 0);
  const weights = tables.reduce((sum, table) => sum + table.weights, 0);
  if (weights === 0) return `${bits} bits${shared}`;
  const fitted = tables.some((table) => table.method === 'compensated') ? ', errors compensated' : '';
  return `${bits} bits (${((8 * bytes) / weights).toFixed(3)} stored)${shared}${fitted}; ${grouped(bytes)} bytes`;
}

function grouped(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+(?!\d))/g, ',');
}

/** Text from a file within a table: no new column, line or markup. */
function cell(text: string): string {
  return text.replace(/[\r\n]+/g, ' ').replace(/[\\|`<>[\]*_]/g, (character) => `\\${character}`);
}

function yaml(text: string): string {
  return JSON.stringify(text);
}

/** A row of the table where the calibration was not computed by the processor. */
function computedBy({ calibration }: PackageQuality): string[] {
  const by = calibration.computedBy;
  return typeof by === 'string' ? [`| calibration computed by | ${cell(by)} |`] : [];
}
