import type { ActivationScales } from '../../quantize/recipe.ts';
import {
  gatherFloatsKernel,
  gatherQuantizedKernel,
  padKernel,
  quantizeBlocksKernel,
  quantizeKernel,
} from './kernels/activations.ts';
import type { Kernel, Rows } from './kernels/kernel.ts';
import { gridKernel, type LinearVariant, structuredKernel } from './kernels/linear.ts';
import { gridTileKernel, hasLinearTile, linearTile } from './kernels/linear-tile.ts';
import { normKernel } from './kernels/norm.ts';
import { lookupKernel, productKernel, rowsOfProduct } from './kernels/table.ts';
import { gpuLimits } from './limits.ts';
import type { Extent, StepDescription, TiledKernel } from './program.ts';
import type { GpuLinear, GpuNorm, GpuTable } from './weights.ts';

// Dispatches of the parts that a model is made of.

const across = (values: number) => Math.ceil(values / gpuLimits.workgroupSize);
/** One workgroup a row. */
const byRow = (rows: number): Extent => [rows, 1, 1];
/** A thread a value, a line of workgroups a row. */
export const byValue =
  (values: number) =>
  (rows: number): Extent => [across(values), rows, 1];

/** Rows of float32 that a linear's stage reads. */
export interface RowBuffer {
  buffer: GPUBuffer;
  /** Values from one row to the next. */
  stride: number;
}

/** Buffers of a stage's input in the form in which the kernels take it. */
export interface InputBuffers {
  /** x̂ and its side, or float input; the same for gathered residual columns. */
  quantized: GPUBuffer;
  side: GPUBuffer;
  floats: GPUBuffer;
  gatheredQuantized: GPUBuffer;
  gatheredSide: GPUBuffer;
  gatheredFloats: GPUBuffer;
  status: GPUBuffer;
}

export interface StageOptions {
  activationBits: 16 | 8 | 6 | 4;
  /** Of the linears' inputs; with steps by block there are neither residual columns nor structured linears. */
  activationScales: ActivationScales;
  packedDot: boolean;
  /** The device's fma rounds once. */
  fusedMultiply: boolean;
  /** For checks: where the integers of the linear, or of its residual, go. */
  record?: { integers: GPUBuffer; of: 'linear' | 'residual' };
}

/** The quantized or padded form of a stage's input. */
export function inputSteps(
  linear: GpuLinear,
  x: RowBuffer,
  inputs: InputBuffers,
  { activationBits, activationScales, packedDot }: StageOptions,
): StepDescription[] {
  const { inFeatures: columns, blocks, columnScale } = linear;
  const scales = columnScale ? [columnScale] : [];
  if (activationBits === 16)
    return [
      {
        one: padKernel(columnScale !== null),
        parameters: { columns, width: 128 * blocks, stride: x.stride },
        buffers: [x.buffer, ...scales, inputs.floats],
        extent: byValue(128 * blocks),
      },
    ];
  const isScaled = columnScale !== null;
  const parameters = { columns, groups: blocks, stride: x.stride, limit: 2 ** (activationBits - 1) - 1 };
  const buffers = [x.buffer, ...scales, inputs.quantized, inputs.side, inputs.status];
  if (activationScales === 'block')
    return [
      {
        one: quantizeBlocksKernel({ columnScale: isScaled, packedDot }),
        parameters,
        buffers,
        extent: (rows) => [rows, blocks, 1],
      },
    ];
  return [
    {
      one: quantizeKernel({ columnScale: isScaled, rows: 'tokens', packedDot }),
      parameters: { ...parameters, words: 32 },
      buffers,
      extent: byRow,
    },
  ];
}

/** y of a linear whose input `inputSteps` made, residual columns included. */
export function linearSteps(
  linear: GpuLinear,
  inputs: InputBuffers,
  y: RowBuffer,
  options: StageOptions,
): StepDescription[] {
  const isFloat = options.activationBits === 16;
  const { record } = options;
  const steps = productSteps(linear, isFloat ? [inputs.floats] : [inputs.quantized, inputs.side], y, {
    ...options,
    accumulate: false,
    integers: record?.of === 'linear' ? record.integers : null,
  });
  const { residual } = linear;
  if (!residual) return steps;
  const { count, columns, linear: leftOver } = residual;
  const gather: StepDescription = isFloat
    ? {
        one: gatherFloatsKernel(),
        parameters: { count, width: 128 * leftOver.blocks, source_width: 128 * linear.blocks },
        buffers: [inputs.floats, columns, inputs.gatheredFloats],
        extent: byValue(128 * leftOver.blocks),
      }
    : {
        one: gatherQuantizedKernel(options.packedDot),
        parameters: {
          count,
          groups: leftOver.blocks,
          words: 32,
          source_words: 32 * linear.blocks,
          source_groups: linear.blocks,
        },
        buffers: [inputs.quantized, inputs.side, columns, inputs.gatheredQuantized, inputs.gatheredSide],
        extent: byRow,
      };
  const gathered = isFloat ? [inputs.gatheredFloats] : [inputs.gatheredQuantized, inputs.gatheredSide];
  const added = productSteps(leftOver, gathered, y, {
    ...options,
    accumulate: true,
    integers: record?.of === 'residual' ? record.integers : null,
  });
  return [...steps, gather, ...added];
}

function productSteps(
  linear: GpuLinear,
  x: GPUBuffer[],
  y: RowBuffer,
  options: StageOptions & { accumulate: boolean; integers: GPUBuffer | null },
): StepDescription[] {
  const variant: LinearVariant = {
    path: options.activationBits === 16 ? 'float' : 'integer',
    tokensPerTile: 1,
    slices: Math.min(gpuLimits.maximumSlices, 2 ** Math.floor(Math.log2(linear.blocks))),
    packedDot: options.packedDot,
    accumulate: options.accumulate,
    record: options.integers !== null,
  };
  const kernels =
    linear.layout === 'grid' ? gridKernels(linear, variant, options) : structuredKernels(variant);
  return linear.parts.map((part) => ({
    ...kernels,
    parameters: {
      columns: linear.inFeatures,
      blocks: linear.blocks,
      lines: linear.lines,
      row_bytes: linear.codes.kind === 'base-3' ? linear.codes.rowBytes : 0,
      levels_less_one: linear.levels - 1,
      scales_at: part.scalesAt,
      offsets_at: part.offsetsAt,
      mask_at: part.maskAt,
      first_row: part.firstRow,
      stride: y.stride,
      row_scale_at: 16 * linear.rowGroups,
      row_groups: part.rowGroups,
    },
    buffers: [...x, part.buffer, linear.vectors, y.buffer, ...(options.integers ? [options.integers] : [])],
    extent: (tiles): Extent => [part.rowGroups, tiles, 1],
    tiled: kernels.tiled.map((way) => ({
      ...way,
      extent: (tiles): Extent => [Math.ceil(part.rowGroups / way.rowGroups), tiles, 1],
    })),
  }));
}

/** Kernels of a linear; a tile has so many row groups. */
interface LinearKernels {
  one: Kernel;
  tiled: (Omit<TiledKernel, 'extent'> & { rowGroups: number })[];
}

function gridKernels(
  linear: GpuLinear,
  variant: LinearVariant,
  { activationScales }: StageOptions,
): LinearKernels {
  const { codes, hasOffsets: offsets, hasRowScale: rowScale } = linear;
  const make = (tokensPerTile: number) =>
    gridKernel({ ...variant, tokensPerTile, codes, offsets, rowScale, activationScales });
  const few = gpuLimits.tokensPerTile;
  const tiled: LinearKernels['tiled'] = [{ kernel: make(few), fromRows: 2, tile: few, rowGroups: 1 }];
  if (hasLinearTile({ path: variant.path, codes }))
    tiled.push({
      kernel: gridTileKernel({ ...variant, codes, offsets, rowScale, activationScales }),
      fromRows: gpuLimits.rowsOfLinearTile,
      tile: linearTile.tokens,
      rowGroups: linearTile.rowGroups,
    });
  return { one: make(1), tiled };
}

function structuredKernels(variant: LinearVariant): LinearKernels {
  const tile = gpuLimits.tokensPerStructuredTile;
  const slices = Math.min(variant.slices, gpuLimits.slicesOfStructuredTile);
  return {
    one: structuredKernel(variant),
    tiled: [
      {
        kernel: structuredKernel({ ...variant, tokensPerTile: tile, slices }),
        fromRows: 2,
        tile,
        rowGroups: 1,
      },
    ],
  };
}

/** A norm of `parts` stretches of each row, in place or to `out`. */
export function normStep(
  norm: GpuNorm,
  x: RowBuffer,
  out: RowBuffer | null,
  rows: Rows = 'tokens',
  parts = 1,
): StepDescription {
  return {
    one: normKernel({ inPlace: out === null, rows }),
    parameters: {
      size: norm.size,
      stride: x.stride,
      is_layer: norm.kind === 'layer' ? 1 : 0,
      has_weight: norm.hasWeight ? 1 : 0,
      has_bias: norm.hasBias ? 1 : 0,
      bias_at: norm.size,
      epsilon: norm.epsilon,
    },
    buffers: out ? [x.buffer, norm.vectors, out.buffer] : [norm.vectors, x.buffer],
    extent: (count) => [parts, count, 1],
  };
}

/** Rows of a table to `out`, by the chunk's ids, or added by its positions. */
export function lookupSteps(
  table: GpuTable,
  ids: GPUBuffer | null,
  offset: number,
  out: RowBuffer,
): StepDescription[] {
  return table.parts.map((part) => ({
    one: lookupKernel(table.type, ids === null),
    parameters: {
      columns: table.columns,
      groups: table.groups,
      scales_at: part.scalesAt,
      first_row: part.firstRow,
      rows: part.rows,
      stride: out.stride,
      offset,
    },
    buffers: [...(ids ? [ids] : []), part.buffer, out.buffer],
    extent: byValue(table.columns),
  }));
}

/** Input of a table of 8, 6 or 4 bits: x̂ of 8 bits in groups of 32. */
export function quantizeForTable(
  table: GpuTable,
  x: RowBuffer,
  inputs: Pick<InputBuffers, 'quantized' | 'side' | 'status'>,
  packedDot: boolean,
): StepDescription {
  return {
    one: quantizeKernel({ columnScale: false, rows: 'head_rows', packedDot }),
    parameters: { columns: table.columns, groups: table.groups, words: 8, stride: x.stride, limit: 127 },
    buffers: [x.buffer, inputs.quantized, inputs.side, inputs.status],
    extent: byRow,
  };
}

/** y = x Wᵀ [+ bias] for a table; `x` is one float buffer, or x̂ and its side. */
export function tableSteps(
  table: GpuTable,
  x: readonly GPUBuffer[],
  xStride: number,
  y: RowBuffer,
  options: { rows: Rows; packedDot: boolean; bias: GPUBuffer | null },
): StepDescription[] {
  const { rows, packedDot, bias } = options;
  const make = (tokensPerTile: number) =>
    productKernel({ type: table.type, rows, tokensPerTile, packedDot, bias: bias !== null });
  const most = gpuLimits.workgroupsPerDimension;
  return table.parts.map((part) => {
    const workgroups = Math.ceil(part.rows / rowsOfProduct(table.type));
    return {
      one: make(1),
      tiled: [{ kernel: make(gpuLimits.tokensPerTile), fromRows: 2, tile: gpuLimits.tokensPerTile }],
      parameters: {
        columns: table.columns,
        groups: table.groups,
        scales_at: part.scalesAt,
        first_row: part.firstRow,
        rows: part.firstRow + part.rows,
        stride: y.stride,
        x_stride: xStride,
      },
      buffers: [...x, part.buffer, ...(bias ? [bias] : []), y.buffer],
      extent: (tiles): Extent => [Math.min(workgroups, most), tiles, Math.ceil(workgroups / most)],
    };
  });
}
