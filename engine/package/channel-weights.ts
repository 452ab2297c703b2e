import type { z } from 'zod';
import { DBellError } from '../contract/errors.ts';
import type { channelWeightsSchema } from '../contract/packages.ts';
import type { ModelSource } from '../model/source.ts';
import { dequantize } from '../quantize/dequantize.ts';
import { hiddenScale } from '../quantize/folding.ts';
import { rangeOf, weightHistogram } from '../quantize/histogram.ts';
import { histogramBins } from '../quantize/limits.ts';
import { scaleColumns } from '../quantize/scaled-columns.ts';
import { effectiveScale, normScale } from './source-scale.ts';
import type { PackageSource } from './types.ts';

export interface Channel {
  layer: string;
  /** A row is one output's weights, a column one input's. */
  axis: 'row' | 'column';
  index: number;
}

/** Fewer values get fewer bins, or most would be empty. */
const leastBins = 16;

/**
 * Weights of one row or column of a linear in the original and in the package, as histograms over one range. The package's are brought into the original's
 * space: column scales, also those folded into the norm in front, are multiplied in; factors that a recipe folded into other linears are fitted (least squares),
 * and `isFitted` says so. Throws DBellError `invalid-input` where the original is another model or there is no such channel.
 */
export function channelWeights(
  opened: PackageSource,
  source: ModelSource,
  { layer, axis, index }: Channel,
): z.infer<typeof channelWeightsSchema> {
  if (JSON.stringify(opened.architecture) !== JSON.stringify(source.architecture))
    throw new DBellError(
      'invalid-input',
      `${opened.path} was not made from ${source.path}: their architectures differ; give the model that the package was made from`,
    );
  const { stage, block, described } = find(opened, layer);
  const { inFeatures, outFeatures } = described;
  const count = axis === 'row' ? outFeatures : inFeatures;
  if (index >= count)
    throw new DBellError(
      'invalid-input',
      `${layer} has ${count} ${axis}s; there is no ${axis} ${index} (they count from 0)`,
    );
  const weight = source.readFloat32(`${layer}.weight`);
  const linear = opened.readLinear(layer);
  const quantized = dequantize(linear);
  const hidden = hiddenScale(opened.quantization.recipe, opened.architecture, block, stage, described);
  const unknown = hidden === 'columns' ? new Float64Array(inFeatures).fill(Number.NaN) : null;
  const { scale, fitted } = effectiveScale(
    unknown === null ? linear.columnScale : null,
    unknown ?? normScale(opened, source, stage),
    weight,
    quantized,
    inFeatures,
  );
  const packed = scaleColumns(quantized, scale);
  if (hidden === 'rows') fitRows(packed, weight, inFeatures);
  const slice = (values: Float32Array) =>
    axis === 'row'
      ? values.slice(index * inFeatures, (index + 1) * inFeatures)
      : Float32Array.from({ length: outFeatures }, (_, row) => values[row * inFeatures + index] ?? 0);
  const [before, after] = [slice(weight), slice(packed)];
  const [low, high] = [rangeOf(before), rangeOf(after)];
  const range: [number, number] = [Math.min(low[0], high[0]), Math.max(low[1], high[1])];
  const bins = Math.min(histogramBins, Math.max(leastBins, Math.ceil(Math.sqrt(before.length))));
  return {
    ...{ layer, axis, index, outFeatures, inFeatures },
    original: weightHistogram(before, range, bins),
    packed: weightHistogram(after, range, bins),
    relativeError: relativeError(before, after),
    isFitted: fitted || hidden === 'rows',
  };
}

function find(opened: PackageSource, layer: string) {
  for (const block of opened.architecture.blocks)
    for (const stage of block.stages)
      for (const described of stage.linears) if (described.name === layer) return { block, stage, described };
  throw new DBellError('invalid-input', `${opened.path} has no quantized layer ${layer}`);
}

/** Each row times the factor that brings it nearest to the original's. */
function fitRows(packed: Float32Array, weight: Float32Array, columns: number): void {
  for (let begin = 0; begin < packed.length; begin += columns) {
    let product = 0;
    let square = 0;
    for (let at = begin; at < begin + columns; at += 1) {
      product += (weight[at] ?? 0) * (packed[at] ?? 0);
      square += (packed[at] ?? 0) ** 2;
    }
    const factor = square === 0 ? 0 : product / square;
    for (let at = begin; at < begin + columns; at += 1) packed[at] = (packed[at] ?? 0) * factor;
  }
}

/** ‖w − ŵ‖² / ‖w‖²; of zeros 0 where they came back so, else 1. */
function relativeError(before: Float32Array, after: Float32Array): number {
  let error = 0;
  let norm = 0;
  for (const [index, value] of before.entries()) {
    error += (value - (after[index] ?? 0)) ** 2;
    norm += value * value;
  }
  return norm > 0 ? error / norm : Number(error > 0);
}
