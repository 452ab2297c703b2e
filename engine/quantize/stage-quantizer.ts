import type { BlockWeights, ColumnScales } from '../float/types.ts';
import {
  type Architecture,
  type Block,
  type Linear,
  linearsOf,
  type Stage,
  type StageName,
} from '../model/architecture.ts';
import type { ActivationSample } from './activation-sample.ts';
import { quantizeOperations } from './cost-model.ts';
import { dequantize } from './dequantize.ts';
import {
  type FoldSource,
  foldSource,
  hiddenScale,
  relativeErrorUpToScale,
  scaleOfRows,
  scaleRows,
} from './folding.ts';
import { fitGridStage } from './grid-stage.ts';
import { channelMaxima, weightHistogram } from './histogram.ts';
import {
  hessianFactor,
  type QuantizedLayer,
  quantizeLayer,
  relativeErrors,
  type StageHessian,
} from './layer.ts';
import type { ChannelMaxima, WeightHistogram } from './progress.ts';
import { type ProgressReporter, plainEvent } from './progress-reporter.ts';
import type { QuantizedLinear } from './quantized-linear.ts';
import type { Recipe } from './recipe.ts';
import { divideColumns, scaleColumns } from './scaled-columns.ts';
import type { LayerReport, QuantizedBlock } from './sink.ts';
import type { StageTargets } from './targets.ts';
import { applyTransform, type StageTransform, weightOf } from './transform.ts';

/** What a stage's quantization starts from, once all windows have reached the stage. */
export interface StageInputs {
  /** Null for recipes that use no Hessians. */
  hessian: StageHessian | null;
  /** Calibration tokens that went into the Hessian. */
  tokens: number;
  /** Null where the weights are fitted to themselves. */
  targets: StageTargets | null;
  /** Null where the stage's inputs are not rounded, or nothing can be made of it. */
  sample: ActivationSample | null;
}

/**
 * Turns the linears of one block, stage by stage, into codes and scales. `weights` and `columnScales` are those that the block runs with: float at
 * first, and after each stage what its stored bits stand for.
 */
export class StageQuantizer {
  readonly weights: BlockWeights;
  readonly columnScales: ColumnScales = {};
  private readonly architecture: Architecture;
  private readonly block: Block;
  private readonly recipe: Recipe;
  private readonly reporter: ProgressReporter;
  private readonly windowCount: number;
  private readonly collectHistograms: boolean;
  private readonly absMax: Partial<Record<StageName, Float32Array>> = {};
  private readonly transforms = new Map<StageName, StageTransform>();
  private readonly originalHistograms = new Map<string, WeightHistogram>();
  /** Norm tensors that a scale was folded into, as they are to be stored. */
  private readonly foldedNorms = new Map<string, Float32Array>();
  private readonly linears: QuantizedLinear[] = [];
  private readonly reports: LayerReport[] = [];

  constructor(settings: {
    architecture: Architecture;
    block: Block;
    weights: BlockWeights;
    recipe: Recipe;
    reporter: ProgressReporter;
    windowCount: number;
    collectHistograms: boolean;
  }) {
    this.architecture = settings.architecture;
    this.block = settings.block;
    this.weights = settings.weights;
    this.recipe = settings.recipe;
    this.reporter = settings.reporter;
    this.windowCount = settings.windowCount;
    this.collectHistograms = settings.collectHistograms;
    if (!settings.collectHistograms) return;
    for (const linear of linearsOf(this.block)) {
      this.originalHistograms.set(linear.name, weightHistogram(weightOf(this.weights, linear)));
    }
  }

  /** Takes one window's max|x_j| of the full-precision stream's input of a stage into account. */
  addActivationMaxima(stage: StageName, values: Float32Array | undefined): void {
    if (!values) throw new Error(`the float engine gave no maxima for ${stage}`);
    const maxima = this.absMax[stage];
    if (!maxima) this.absMax[stage] = Float32Array.from(values);
    else
      for (const [column, value] of values.entries()) maxima[column] = Math.max(maxima[column] ?? 0, value);
  }

  /** max|x_j| over all windows, `[in]`. */
  activationMaxima(stage: Stage): Float32Array {
    const maxima = this.absMax[stage.name];
    if (!maxima) throw new Error(`no activation maxima for ${stage.name}`);
    return maxima;
  }

  /** Applies a trained T to a stage's weights and to the norm in front. */
  applyTransform(stage: Stage, transform: StageTransform): void {
    const { columnScale, changedNorms } = applyTransform(stage, this.weights, transform.scale);
    this.transforms.set(stage.name, transform);
    for (const name of changedNorms) {
      const values = this.weights.get(name);
      if (values) this.foldedNorms.set(name, values);
    }
    if (columnScale) this.columnScales[stage.name] = columnScale;
  }

  /** Codes and scales of a stage's linears, which from here on stand for themselves in `weights`. */
  async quantize(stage: Stage, inputs: StageInputs): Promise<void> {
    const own = stage.linears.map((linear) => weightOf(this.weights, linear));
    const stacked = inputs.targets || this.recipe.binarizer.kind === 'grid' ? concatenate(own) : null;
    const [first] = stage.linears;
    const solved =
      inputs.targets && stacked && inputs.hessian && first
        ? inputs.targets.solve(
            stacked,
            this.biasOf(first.bias),
            inputs.hessian.hessian,
            hessianFactor(inputs.tokens),
          )
        : null;
    const target = solved?.weight ?? stacked;
    const targets = target ? cutRows(stage, target) : own;
    const layers =
      this.recipe.binarizer.kind === 'grid' && target && inputs.hessian
        ? this.fitGrid(stage, target, inputs.hessian, inputs.sample)
        : stage.linears.map((linear, index) => this.quantizeOne(stage, linear, targets[index], inputs));
    for (const [index, linear] of stage.linears.entries()) {
      const layer = layers[index];
      const weight = own[index];
      const aim = targets[index];
      if (!layer || !weight || !aim) throw new Error(`${linear.name} was not quantized`);
      layer.notes.push(...(solved?.notes ?? []));
      const { columnScale } = layer;
      const restored = columnScale ? scaleColumns(layer.dequantized, columnScale) : layer.dequantized;
      this.correctBias(layer.quantized, linear.bias, restored, inputs.targets);
      const transform = this.transforms.get(stage.name);
      if (transform) layer.notes.push(...transform.notes);
      const report: LayerReport = {
        name: linear.name,
        ...relativeErrors(weight, restored, inputs.hessian, transform?.scale ?? null, linear),
        notes: layer.notes,
      };
      const hidden = hiddenScale(this.recipe, this.architecture, this.block, stage, linear);
      if (hidden)
        report.weightRelativeError = relativeErrorUpToScale(weight, restored, linear.inFeatures, hidden);
      if (solved) {
        report.targetRelativeError = relativeErrors(
          aim,
          restored,
          inputs.hessian,
          null,
          linear,
        ).relativeError;
      }
      this.linears.push(layer.quantized);
      this.reports.push(report);
      this.weights.set(`${linear.name}.weight`, layer.dequantized);
      const original = this.originalHistograms.get(linear.name);
      await this.reporter.advance(quantizeOperations(linear, this.recipe), {
        ...plainEvent('quantize', this.windowCount, this.windowCount),
        stage: stage.name,
        layer: linear.name,
        relativeError: report.relativeError,
        notes: report.notes,
        ltdb: transform?.summaries.get(linear.name) ?? null,
        histograms: original
          ? {
              original,
              transformed: weightHistogram(columnScale ? divideColumns(aim, columnScale) : aim),
              quantized: weightHistogram(layer.dequantized),
            }
          : null,
        channelMaxima: this.channelMaxima(stage, transform, columnScale),
      });
    }
  }

  result(): QuantizedBlock {
    const floatTensors: QuantizedBlock['floatTensors'] = new Map();
    for (const [name, values] of this.foldedNorms) {
      floatTensors.set(name, { shape: [values.length], values });
    }
    return { index: this.block.index, linears: this.linears, floatTensors, reports: this.reports };
  }

  private quantizeOne(
    stage: Stage,
    linear: Linear,
    target: Float32Array | undefined,
    inputs: StageInputs,
  ): StageLayer {
    if (!target) throw new Error(`${linear.name} has nothing to be quantized to`);
    const scale = this.columnScales[stage.name] ?? null;
    const bias = this.biasOf(linear.bias);
    return { ...quantizeLayer(linear, target, bias, inputs.hessian, scale, this.recipe), columnScale: null };
  }

  /** The grid's codes and scales of all linears of a stage; its column scale goes into the norm or the linear in front where that is allowed. */
  private fitGrid(
    stage: Stage,
    target: Float32Array,
    shared: StageHessian,
    sample: ActivationSample | null,
  ): StageLayer[] {
    const { binarizer } = this.recipe;
    if (binarizer.kind !== 'grid') throw new Error('the recipe has no grid');
    const norm = stage.foldableNorm !== null && stage.foldableNorm.weight !== null;
    const source =
      binarizer.columnScale === 'folded' ? foldSource(this.architecture, this.block, stage) : null;
    const kind = binarizer.columnScale === 'none' ? 'none' : norm ? 'free' : binarizer.columnScale;
    const wanted = kind === 'folded' ? (source ?? 'none') : kind;
    const gathered = { target, hessian: shared.hessian, sample: sample?.result() ?? null };
    const fit = fitGridStage(stage, gathered, this.recipe, wanted);
    const { columnScale } = fit;
    if (columnScale) {
      // The block's own passes multiply the stage's input; the package has what stands in front do it where it can.
      this.columnScales[stage.name] = columnScale;
      if (norm) this.foldIntoNorm(stage, columnScale);
      else if (source) this.foldIntoRows(source, columnScale);
    }
    return fit.linears.map(({ linear, codes, scales, residual }) => {
      const quantized: QuantizedLinear = {
        layout: 'grid',
        name: linear.name,
        outFeatures: linear.outFeatures,
        inFeatures: linear.inFeatures,
        bias: this.biasOf(linear.bias),
        columnScale: norm || source ? null : columnScale,
        levels: binarizer.levels,
        codes,
        scales,
        offsets: null,
        residual,
      };
      return {
        quantized,
        dequantized: dequantize(quantized),
        columnScale,
        notes: [...shared.notes, ...fit.notes],
      };
    });
  }

  /** The rows of a linear that is quantized already take a later stage's column scale. */
  private foldIntoRows(source: FoldSource, columnScale: Float32Array): void {
    const { name } = source.linear;
    const linear = this.linears.find((each) => each.name === name);
    const report = this.reports.find((each) => each.name === name);
    if (linear?.layout !== 'grid' || !report) throw new Error(`${name} is not quantized as a grid`);
    const saturated = scaleRows(linear, scaleOfRows(source, columnScale));
    if (saturated > 0)
      report.notes.push(`${saturated} scales were larger than fp16 can hold and were cut to ±65504`);
  }

  private foldIntoNorm(stage: Stage, columnScale: Float32Array): void {
    for (const name of [stage.foldableNorm?.weight, stage.foldableNorm?.bias]) {
      if (!name) continue;
      const values = this.weights.get(name);
      if (!values) throw new Error(`norm ${name} is missing among the block's weights`);
      this.foldedNorms.set(
        name,
        values.map((value, column) => value * (columnScale[column] ?? 1)),
      );
    }
  }

  /** Residual targets leave a mean error, which the bias takes where there is one. */
  private correctBias(
    quantized: QuantizedLinear,
    name: string | null,
    restored: Float32Array,
    targets: StageTargets | null,
  ): void {
    const bias = name === null ? null : targets?.correctedBias(restored);
    if (name === null || !bias) return;
    quantized.bias = bias;
    this.weights.set(name, bias);
  }

  /** Largest activations of a stage's input in full precision, and as the quantized linears get them; null where they are not known or not wanted. */
  private channelMaxima(
    stage: Stage,
    transform: StageTransform | undefined,
    columnScale: Float32Array | null,
  ): ChannelMaxima | null {
    const absMax = this.absMax[stage.name];
    if (!this.collectHistograms || !absMax) return null;
    return channelMaxima(absMax, transform?.scale ?? columnScale?.map((value) => 1 / value) ?? null);
  }

  private biasOf(name: string | null): Float32Array | null {
    return name === null ? null : (this.weights.get(name) ?? null);
  }
}

interface StageLayer extends QuantizedLayer {
  /** What the block's passes multiply the input by and the weights do not yet hold, `[in]`; null where there is nothing (or T, which `weights` hold). */
  columnScale: Float32Array | null;
}

function concatenate(arrays: Float32Array[]): Float32Array {
  const [only] = arrays;
  if (only && arrays.length === 1) return only;
  const result = new Float32Array(arrays.reduce((sum, array) => sum + array.length, 0));
  let offset = 0;
  for (const array of arrays) {
    result.set(array, offset);
    offset += array.length;
  }
  return result;
}

/** Views of the linears' rows in a matrix of all of them. */
function cutRows(stage: Stage, stacked: Float32Array): Float32Array[] {
  let offset = 0;
  return stage.linears.map((linear) => {
    const size = linear.outFeatures * linear.inFeatures;
    const rows = stacked.subarray(offset, offset + size);
    offset += size;
    return rows;
  });
}
