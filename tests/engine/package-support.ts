import path from 'node:path';
import { linearsOf } from '../../engine/model/architecture.ts';
import { openModel } from '../../engine/model/open.ts';
import type { SeededRandom } from '../../engine/model/seeded-random.ts';
import type { ModelSource } from '../../engine/model/source.ts';
import { packing } from '../../engine/native/packing.ts';
import { createPackageSink } from '../../engine/package/sink.ts';
import {
  blockCount,
  type GridResidual,
  type QuantizedLinear,
} from '../../engine/quantize/quantized-linear.ts';
import type { ActivationScales, Recipe } from '../../engine/quantize/recipe.ts';
import type { QuantizationSink, QuantizedBlock } from '../../engine/quantize/sink.ts';

export const tinyModels = path.resolve(import.meta.dirname, '../fixtures/model/tiny');

export interface LinearKind {
  layout: 'grid' | 'structured';
  levels?: number;
  offsets?: boolean;
  /** Grid: how many of the columns have a residual, at least one where it is not 0; 1 = all. */
  residualShare?: number;
  bias?: boolean;
  columnScale?: boolean;
  rowScale?: boolean;
  /** What shares a step of the inputs' rounding in the whole package; by token where it is left out. */
  activationScales?: ActivationScales;
}

/** Kinds that every device is tried on; each test adds those that matter to it. */
export const commonLinearKinds: (LinearKind & { label: string })[] = [
  ...[2, 3, 4, 8, 16, 100, 256].map((levels) => ({
    label: `${levels} levels`,
    layout: 'grid' as const,
    levels,
    columnScale: levels === 3 || levels === 16,
    bias: levels === 4,
  })),
  { label: '2 levels with offsets', layout: 'grid', levels: 2, offsets: true, bias: true },
  { label: '2 levels with residual', layout: 'grid', levels: 2, residualShare: 0.1, columnScale: true },
  {
    label: '16 levels with offsets and residual of all',
    layout: 'grid',
    levels: 16,
    offsets: true,
    residualShare: 1,
  },
  {
    label: '4 levels with offsets and both scales',
    layout: 'grid',
    levels: 4,
    offsets: true,
    rowScale: true,
    columnScale: true,
  },
  ...[2, 3, 16, 100].map((levels) => ({
    label: `${levels} levels, activation scales by block`,
    layout: 'grid' as const,
    levels,
    offsets: levels === 16,
    columnScale: levels !== 2,
    rowScale: levels === 3,
    activationScales: 'block' as const,
  })),
  { label: 'structured', layout: 'structured' },
  { label: 'structured with bias and column scale', layout: 'structured', bias: true, columnScale: true },
];

/** Uniform in [−1, 1). */
export function signedUniform(random: SeededRandom): number {
  return random.nextUint32() / 2 ** 31 - 1;
}

function randomFloats(random: SeededRandom, length: number): Float32Array {
  return Float32Array.from({ length }, () => signedUniform(random));
}

function halfsFrom(values: Float32Array): Uint16Array {
  return packing.floatsToHalfs(values).halfs;
}

/** A linear of random codes and values, every field that the kind asks for. */
export function randomLinear(
  name: string,
  outFeatures: number,
  inFeatures: number,
  kind: LinearKind,
  random: SeededRandom,
): QuantizedLinear {
  const blocks = blockCount(inFeatures);
  const base = {
    name,
    outFeatures,
    inFeatures,
    bias: kind.bias ? randomFloats(random, outFeatures) : null,
    columnScale: kind.columnScale ? randomFloats(random, inFeatures) : null,
  };
  const levels = kind.layout === 'grid' ? (kind.levels ?? 2) : 4;
  const codes = Uint8Array.from({ length: outFeatures * inFeatures }, () => random.nextUint32() % levels);
  if (kind.layout === 'structured')
    return {
      ...base,
      layout: 'structured',
      codes,
      levels: halfsFrom(randomFloats(random, outFeatures * blocks * 7)),
      salientColumns: Uint8Array.from({ length: inFeatures }, () => random.nextUint32() % 2),
    };
  return {
    ...base,
    layout: 'grid',
    levels,
    codes,
    scales: halfsFrom(randomFloats(random, outFeatures * blocks)),
    offsets: kind.offsets ? halfsFrom(randomFloats(random, outFeatures * blocks)) : null,
    ...(kind.rowScale ? { rowScale: randomFloats(random, outFeatures) } : {}),
    residual: kind.residualShare ? randomResidual(outFeatures, inFeatures, kind.residualShare, random) : null,
  };
}

/** Random codes and scales over random columns. */
export function randomResidual(
  outFeatures: number,
  inFeatures: number,
  share: number,
  random: SeededRandom,
): GridResidual {
  const count = Math.max(1, Math.round(share * inFeatures));
  const order = Float64Array.from({ length: inFeatures }, () => random.nextUint32());
  const columns = [...order.keys()].sort((a, b) => order[a]! - order[b]! || a - b).slice(0, count);
  return {
    columns: Int32Array.from(columns).sort(),
    levels: 2,
    codes: Uint8Array.from({ length: outFeatures * count }, () => random.nextUint32() % 2),
    scales: halfsFrom(randomFloats(random, outFeatures * blockCount(count))),
  };
}

/** Plain rounding of a weight to `levels` per row and block; the plainest thing that is a real quantization. */
export function roundedLinear(
  name: string,
  weight: Float32Array,
  outFeatures: number,
  inFeatures: number,
  levels: number,
  residualShare = 0,
): { linear: QuantizedLinear & { layout: 'grid' }; dequantized: Float32Array } {
  const blocks = blockCount(inFeatures);
  const scales = new Float32Array(outFeatures * blocks);
  const offsets = new Float32Array(outFeatures * blocks);
  const blockOf = (row: number, column: number) => row * blocks + Math.floor(column / 128);
  for (let row = 0; row < outFeatures; row += 1)
    for (let block = 0; block < blocks; block += 1) {
      const begin = row * inFeatures + block * 128;
      const values = weight.subarray(begin, Math.min(begin + 128, (row + 1) * inFeatures));
      const low = Math.min(...values);
      const high = Math.max(...values);
      scales[row * blocks + block] = (high - low) / (levels - 1);
      offsets[row * blocks + block] = (high + low) / 2;
    }
  const scaleBits = halfsFrom(scales);
  const offsetBits = halfsFrom(offsets);
  const r = packing.halfsToFloats(scaleBits);
  const m = packing.halfsToFloats(offsetBits);
  const codes = new Uint8Array(weight.length);
  const dequantized = new Float32Array(weight.length);
  const centre = (levels - 1) / 2;
  for (let index = 0; index < weight.length; index += 1) {
    const at = blockOf(Math.floor(index / inFeatures), index % inFeatures);
    const code = r[at] === 0 ? 0 : Math.round(((weight[index] ?? 0) - m[at]!) / r[at]! + centre);
    codes[index] = Math.min(levels - 1, Math.max(0, code));
    dequantized[index] = Math.fround(Math.fround(r[at]! * (codes[index]! - centre)) + m[at]!);
  }
  const residual =
    residualShare === 0
      ? null
      : roundedResidual(weight, dequantized, outFeatures, inFeatures, Math.ceil(residualShare * inFeatures));
  const linear = {
    ...{ name, outFeatures, inFeatures, bias: null, columnScale: null },
    ...{ layout: 'grid' as const, levels, codes, scales: scaleBits, offsets: offsetBits, residual },
  };
  return { linear, dequantized };
}

/** Signs of what is left over in `count` columns, spread evenly, and its mean size in each row and 128 of them; `dequantized` gets it added. */
function roundedResidual(
  weight: Float32Array,
  dequantized: Float32Array,
  outFeatures: number,
  inFeatures: number,
  count: number,
): GridResidual {
  const columns = Int32Array.from({ length: count }, (_, k) => Math.floor((k * inFeatures) / count));
  const blocks = blockCount(count);
  const codes = new Uint8Array(outFeatures * count);
  const scales = new Uint16Array(outFeatures * blocks);
  for (let row = 0; row < outFeatures; row += 1)
    for (let block = 0; block < blocks; block += 1) {
      const part = columns.subarray(128 * block, 128 * (block + 1));
      const indices = Array.from(part, (column) => row * inFeatures + column);
      const rest = indices.map((index) => weight[index]! - dequantized[index]!);
      const size = rest.reduce((sum, value) => sum + Math.abs(value), 0) / rest.length;
      const scale = halfsFrom(Float32Array.of(2 * size));
      scales[row * blocks + block] = scale[0]!;
      const half = packing.halfsToFloats(scale)[0]! / 2;
      indices.forEach((index, k) => {
        codes[row * count + 128 * block + k] = rest[k]! > 0 ? 1 : 0;
        dequantized[index]! += rest[k]! > 0 ? half : -half;
      });
    }
  return { columns, levels: 2, codes, scales };
}

/** Quantizes every linear of a source by plain rounding, with T = 2^±1 folded into norms or kept as column scale where asked for. */
export function roundedBlocks(
  source: ModelSource,
  options: { levels?: number; transform?: boolean; residualShare?: number } = {},
): QuantizedBlock[] {
  const { levels = 16, transform = false, residualShare = 0 } = options;
  return source.architecture.blocks.map((block) => {
    const result: QuantizedBlock = { index: block.index, linears: [], floatTensors: new Map(), reports: [] };
    for (const stage of block.stages) {
      const width = stage.linears[0]!.inFeatures;
      const scale = Float32Array.from({ length: width }, (_, column) =>
        transform ? (column % 2 ? 2 : -0.5) : 1,
      );
      const norm = stage.foldableNorm;
      if (transform && norm?.weight)
        for (const name of [norm.weight, norm.bias])
          if (name !== null)
            result.floatTensors.set(name, {
              shape: [width],
              values: source.readFloat32(name).map((value, column) => value / scale[column]!),
            });
      for (const { name, outFeatures, inFeatures, bias } of stage.linears) {
        const original = source.readFloat32(`${name}.weight`);
        const transformed = original.map((value, index) => value * scale[index % inFeatures]!);
        const { linear, dequantized } = roundedLinear(
          name,
          transformed,
          outFeatures,
          inFeatures,
          levels,
          residualShare,
        );
        let error = 0;
        let norm2 = 0;
        original.forEach((value, index) => {
          error += (value - dequantized[index]! / scale[index % inFeatures]!) ** 2;
          norm2 += value ** 2;
        });
        result.linears.push({
          ...linear,
          bias: bias === null ? null : source.readFloat32(bias),
          columnScale: transform && !norm?.weight ? scale.map((value) => 1 / value) : null,
        });
        result.reports.push({
          name,
          relativeError: error / norm2,
          weightRelativeError: error / norm2,
          notes: [],
        });
      }
    }
    return result;
  });
}

export const testRecipe: Recipe = {
  name: 'rtn-4',
  transform: { kind: 'none' },
  binarizer: { kind: 'uniform', bits: 4 },
  compensation: { kind: 'none', damping: 0.01, hessian: 'per-stage' },
  activationBits: 8,
  blockSize: 128,
  nominalBitsPerWeight: 4,
};

export const testCalibration = { windowCount: 2, context: 64, fingerprint: 'a'.repeat(64) };

export interface PackOptions {
  levels?: number;
  transform?: boolean;
  /** Share of the columns that get a residual. */
  residualShare?: number;
  embeddingBits?: 16 | 8 | 6 | 4;
  activationScales?: ActivationScales | undefined;
  /** Called with each block before it is written. */
  edit?: (block: QuantizedBlock) => void;
}

/** Writes all blocks into `${out}.partial`. */
export function writeBlocks(source: ModelSource, out: string, options: PackOptions = {}): QuantizationSink {
  const sink = createPackageSink({ workDirectory: `${out}.partial`, outputDirectory: out });
  for (const block of roundedBlocks(source, options)) {
    options.edit?.(block);
    sink.writeBlock(block);
  }
  return sink;
}

export function finishOptions(source: ModelSource, options: PackOptions = {}) {
  return {
    source,
    recipe: {
      ...testRecipe,
      ...(options.activationScales && { activationScales: options.activationScales }),
    },
    embeddingBits: options.embeddingBits ?? (16 as const),
    tableMetric: null,
    calibration: testCalibration,
  };
}

/** Packs a tiny model by its name, or another by its absolute path; returns the package's path. */
export async function packTinyModel(model: string, out: string, options: PackOptions = {}): Promise<string> {
  const source = await openModel(path.resolve(tinyModels, model));
  try {
    const sink = writeBlocks(source, out, options);
    return (await sink.finish(finishOptions(source, options))).path;
  } finally {
    source.close();
  }
}

/** Names of all quantized linears of a model. */
export function linearNames(source: ModelSource): string[] {
  return source.architecture.blocks.flatMap((block) => linearsOf(block).map((linear) => linear.name));
}
