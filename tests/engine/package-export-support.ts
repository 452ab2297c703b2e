import path from 'node:path';
import { openModel } from '../../engine/model/open.ts';
import type { SeededRandom } from '../../engine/model/seeded-random.ts';
import type { ModelSource } from '../../engine/model/source.ts';
import { packing } from '../../engine/native/packing.ts';
import { createPackageSink } from '../../engine/package/sink.ts';
import { blockCount, type GridLinear } from '../../engine/quantize/quantized-linear.ts';
import type { QuantizedBlock } from '../../engine/quantize/sink.ts';
import { copyTinyModel, editJson, editTensors, float32Tensor } from './model-fixtures.ts';
import { finishOptions, signedUniform, tinyModels } from './package-support.ts';

/** Plain rounding to a grid around zero: 2 levels at the mean magnitude, more up to the largest. */
export function symmetricLinear(
  name: string,
  weight: Float32Array,
  outFeatures: number,
  inFeatures: number,
  levels: number,
  bias: Float32Array | null,
): GridLinear {
  const blocks = blockCount(inFeatures);
  const centre = (levels - 1) / 2;
  const steps = new Float32Array(outFeatures * blocks);
  for (let row = 0; row < outFeatures; row += 1)
    for (let block = 0; block < blocks; block += 1) {
      const values = weight.subarray(
        row * inFeatures + 128 * block,
        row * inFeatures + Math.min(128 * (block + 1), inFeatures),
      );
      const magnitudes = values.map(Math.abs);
      const mean = magnitudes.reduce((sum, value) => sum + value, 0) / values.length;
      steps[row * blocks + block] = levels === 2 ? 2 * mean : Math.max(...magnitudes) / centre;
    }
  const scales = packing.floatsToHalfs(steps).halfs;
  const stored = packing.halfsToFloats(scales);
  const codes = Uint8Array.from(weight, (value, index) => {
    const step = stored[Math.floor(index / inFeatures) * blocks + Math.floor((index % inFeatures) / 128)]!;
    const code = levels === 2 ? Number(value > 0) : Math.round(value / step + centre);
    return Math.min(levels - 1, Math.max(0, code || 0));
  });
  return {
    ...{ layout: 'grid', name, outFeatures, inFeatures, levels, codes, scales, bias },
    ...{ offsets: null, columnScale: null, residual: null },
  };
}

/** Packs a model with symmetric grids. */
export async function packSymmetric(
  model: string,
  out: string,
  levels: number,
  options: { embeddingBits?: 16 | 8 | 6 | 4; edit?: (block: QuantizedBlock) => void } = {},
): Promise<string> {
  const source: ModelSource = await openModel(model);
  try {
    const sink = createPackageSink({ workDirectory: `${out}.partial`, outputDirectory: out });
    for (const block of source.architecture.blocks) {
      const packed: QuantizedBlock = {
        index: block.index,
        linears: [],
        floatTensors: new Map(),
        reports: [],
      };
      for (const stage of block.stages)
        for (const { name, outFeatures, inFeatures, bias } of stage.linears) {
          const weight = source.readFloat32(`${name}.weight`);
          const biasValues = bias === null ? null : source.readFloat32(bias);
          packed.linears.push(symmetricLinear(name, weight, outFeatures, inFeatures, levels, biasValues));
          packed.reports.push({ name, relativeError: 0, weightRelativeError: 0, notes: [] });
        }
      options.edit?.(packed);
      sink.writeBlock(packed);
    }
    return (await sink.finish(finishOptions(source, options))).path;
  } finally {
    source.close();
  }
}

/** A copy of a tiny model whose MLP has a width that ggml's blocks divide. */
export function tinyModelOfWidth64(name: string, folder: string, random: SeededRandom): string {
  copyTinyModel(name, folder);
  editJson(path.join(folder, 'config.json'), (config) => {
    config.intermediate_size = 64;
  });
  editTensors(folder, (tensors) => {
    for (const [tensor, { shape }] of tensors) {
      if (!/\.mlp\./.test(tensor)) continue;
      const sizes = shape.map((size) => (size === 48 ? 64 : size));
      const length = sizes.reduce((product, size) => product * size, 1);
      const values = Float32Array.from({ length }, () => 0.3 * signedUniform(random));
      tensors.set(tensor, float32Tensor(sizes, values));
    }
  });
  return folder;
}

export const tinyModelPath = (name: string): string => path.join(tinyModels, name);
