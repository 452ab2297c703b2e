import type { EmbeddingBits } from '../contract/common.ts';
import { DBellError } from '../contract/errors.ts';
import { linearsOf } from '../model/architecture.ts';
import { ggufName } from '../model/gguf/names.ts';
import type { ModelSource } from '../model/source.ts';
import type { Recipe } from '../quantize/recipe.ts';
import { storesColumnScale } from '../quantize/resolve-recipe.ts';
import {
  alignedBytes,
  cannotBeExported,
  exportBytes,
  exportedNorms,
  exportTypes,
  type GgufExportType,
  type GgufTensorPlan,
  ggufHeader,
  tableExportType,
} from './export-gguf-file.ts';
import { modelMetadata, ropeFactors } from './export-gguf-metadata.ts';
import { tokenizerMetadata } from './export-gguf-tokenizer.ts';

/** What can be said of an export before there is a package. Both null where it depends on the values that the quantization will find. */
export interface GgufPrediction {
  /** Of the file, tokenizer included; exact up to the length of its name. */
  bytes: number | null;
  /** Why there can be none that holds the package's codes and scales, in words. */
  problem: string | null;
  /** Whether there can be one of the dequantized weights in 16 bits. */
  asHalf: boolean;
}

/** Of a recipe that stores what multiplies the columns: other settings of it may be exported. */
export const columnScalesProblem = 'GGUF has no place for the scales of single columns';

/** Most levels that a block of ggml holds in the types that exports use. */
const mostLevels = 16;

/** The GGUF file that a package of this recipe would be exported as (export-gguf.ts), from headers alone. */
export function predictGguf(
  source: ModelSource,
  recipe: Recipe,
  embeddingBits: EmbeddingBits,
): GgufPrediction {
  try {
    const metadata = new Map([
      ...modelMetadata({ architecture: source.architecture, quality: { license: source.license } }, '')
        .metadata,
      ...tokenizerMetadata(source),
    ]);
    const problem = layoutProblem(source, recipe);
    // Which type holds a grid without offsets follows from the scales that are found.
    if (problem !== null || recipe.binarizer.kind !== 'uniform')
      return { bytes: null, problem, asHalf: true };
    const tensors = tensorsOf(source, embeddingBits);
    const data = tensors.reduce((sum, { bytes }) => sum + alignedBytes(bytes), 0);
    return { bytes: ggufHeader(metadata, tensors).length + data, problem: null, asHalf: true };
  } catch (error) {
    if (!(error instanceof DBellError)) throw error;
    return { bytes: null, problem: error.message.replace(cannotBeExported, ''), asHalf: false };
  }
}

function layoutProblem({ architecture }: ModelSource, recipe: Recipe): string | null {
  const { binarizer } = recipe;
  if (binarizer.kind === 'structured')
    return 'GGUF has no counterpart of its structured layout (two groups and salient columns)';
  if (binarizer.kind === 'grid' && binarizer.residualPercent > 0)
    return 'GGUF has no counterpart of residual columns';
  const levels = binarizer.kind === 'uniform' ? 2 ** binarizer.bits : 0;
  if (levels > mostLevels)
    return `its ${levels} levels are more than the ${mostLevels} of GGUF’s four-bit blocks`;
  const { elements } = exportTypes.Q4_1;
  for (const { inFeatures } of architecture.blocks.flatMap(linearsOf))
    if (inFeatures % elements !== 0)
      return `layers of ${inFeatures} columns, no multiple of ${elements}, do not fill GGUF’s blocks`;
  // Last, since it can be mended by a setting.
  const hasColumnScales = architecture.blocks.some(({ stages }) =>
    stages.some((stage) => storesColumnScale(recipe, stage)),
  );
  return hasColumnScales ? columnScalesProblem : null;
}

/** In the order of the file; types as `mapLinear` finds them for grids with offsets. */
function tensorsOf({ architecture }: ModelSource, embeddingBits: EmbeddingBits): GgufTensorPlan[] {
  const { blocks, embedding, finalNorm, head, headDimension, hiddenSize, position, vocabularySize } =
    architecture;
  const tensors: GgufTensorPlan[] = [];
  const add = (name: string, type: GgufExportType, shape: number[]) =>
    tensors.push({ name, type, shape, bytes: exportBytes(type, shape) });
  const float = (name: string | null | undefined, size: number) => {
    if (typeof name === 'string') add(ggufName(name) ?? name, 'F32', [size]);
  };
  const table = (name: string) => {
    const columns = embedding.embeddingSize;
    add(name, tableExportType(embeddingBits, columns), [vocabularySize, columns]);
  };
  table('token_embd.weight');
  float(finalNorm?.weight, hiddenSize);
  if (!head.tied) table('output.weight');
  const factors = ropeFactors(position);
  if (factors !== null) add('rope_freqs.weight', 'F32', [factors.length]);
  for (const block of blocks) {
    for (const norm of exportedNorms(block))
      float(norm.weight, norm === block.queryNorm || norm === block.keyNorm ? headDimension : hiddenSize);
    for (const { name, outFeatures, inFeatures, bias } of linearsOf(block)) {
      add(ggufName(`${name}.weight`) ?? name, 'Q4_1', [outFeatures, inFeatures]);
      if (bias !== null) float(`${name}.bias`, outFeatures);
    }
  }
  return tensors;
}
