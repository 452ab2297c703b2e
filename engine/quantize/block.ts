import type {
  BlockRunner,
  BlockRunOptions,
  BlockWeights,
  ColumnScales,
  FloatEngine,
  GramAccumulator,
  StageState,
} from '../float/types.ts';
import {
  type Architecture,
  type Block,
  type Linear,
  linearsOf,
  type Stage,
  type StageName,
} from '../model/architecture.ts';
import {
  blockForwardOperations,
  factorOperations,
  gramOperations,
  isTransformed,
  piecesPerBlock,
  quantizeOperations,
  stageWidth,
  transformOperations,
} from './cost-model.ts';
import type { WindowFile } from './hidden-states.ts';
import { channelMaxima, weightHistogram } from './histogram.ts';
import { prepareHessian, quantizeLayer, type StageHessian } from './layer.ts';
import type { LtdbSummary, WeightHistogram } from './progress.ts';
import { type ProgressReporter, plainEvent } from './progress-reporter.ts';
import type { QuantizedLinear } from './quantized-linear.ts';
import type { Recipe } from './recipe.ts';
import type { LayerReport, QuantizedBlock } from './sink.ts';
import { StageStates } from './stage-states.ts';
import { applyTransform, type StageTransform, trainStageTransform, weightOf } from './transform.ts';

/** What all blocks of a job share. */
export interface BlockJob {
  architecture: Architecture;
  engine: FloatEngine;
  /** Null for recipes that look at no text. */
  runner: BlockRunner | null;
  recipe: Recipe;
  windowCount: number;
  context: number;
  /** Folder for what is needed only until the block is done. */
  scratchFolder: string;
  reporter: ProgressReporter;
  collectHistograms: boolean;
}

/** Streams of hidden states that a block reads; null where the recipe does not use them. */
export interface BlockInputs {
  float: WindowFile | null;
  quantized: WindowFile | null;
}

/** Where the next block's inputs go; null behind the last block and for streams that are not used. */
export interface BlockOutputs {
  float: WindowFile | null;
  quantized: WindowFile | null;
}

/** Quantizes one block: transform, then the stages in order, then the next hidden states (method.md sections 1 to 3). */
export async function quantizeBlock(
  job: BlockJob,
  block: Block,
  inputs: BlockInputs,
  outputs: BlockOutputs,
): Promise<QuantizedBlock> {
  const run = new BlockRun(job, block);
  if (inputs.float) await run.runFloatStream(inputs.float, outputs.float);
  await run.transform();
  if (!inputs.quantized) {
    for (const stage of block.stages) await run.quantizeStage(stage, null);
  } else if (job.recipe.compensation.hessian === 'per-block') {
    await run.quantizeFromBlockHessians(inputs.quantized, outputs.quantized);
  } else {
    await run.quantizeStageByStage(inputs.quantized, outputs.quantized);
  }
  return run.result();
}

class BlockRun {
  private readonly job: BlockJob;
  private readonly block: Block;
  /** Float weights at first; each linear is replaced by what its stored bits stand for. */
  private readonly weights: BlockWeights;
  private readonly columnScales: ColumnScales = {};
  private readonly transforms = new Map<StageName, StageTransform>();
  private readonly originalHistograms = new Map<string, WeightHistogram>();
  private readonly absMax: Partial<Record<StageName, Float32Array>> = {};
  private readonly changedNorms: string[] = [];
  private readonly linears: QuantizedLinear[] = [];
  private readonly reports: LayerReport[] = [];

  constructor(job: BlockJob, block: Block) {
    this.job = job;
    this.block = block;
    this.weights = job.engine.loadBlock(block.index);
  }

  /** The float model's block over all windows: its outputs, and per stage the maxima that start LTDB. */
  async runFloatStream(input: WindowFile, output: WindowFile | null): Promise<void> {
    const { windowCount } = this.job;
    const stages = this.block.stages.filter(isTransformed).map((stage) => stage.name);
    const operations = this.forwardOperations();
    for (let window = 0; window < windowCount; window += 1) {
      const result = await this.runner.forwardWithTaps(this.block.index, this.weights, input.read(window), {
        activationBits: 16,
        absMax: stages,
      });
      for (const stage of stages) {
        const values = result.absMax[stage];
        if (!values) throw new Error(`the float engine gave no maxima for ${stage}`);
        const maxima = this.absMax[stage];
        if (!maxima) this.absMax[stage] = Float32Array.from(values);
        else
          for (const [column, value] of values.entries())
            maxima[column] = Math.max(maxima[column] ?? 0, value);
      }
      output?.write(window, result.hidden);
      await this.job.reporter.advance(operations, plainEvent('float-stream', window + 1, windowCount));
    }
  }

  async transform(): Promise<void> {
    const { recipe } = this.job;
    if (this.job.collectHistograms) {
      for (const linear of linearsOf(this.block)) {
        this.originalHistograms.set(linear.name, weightHistogram(weightOf(this.weights, linear)));
      }
    }
    if (recipe.transform.kind !== 'ltdb') return;
    for (const stage of this.block.stages.filter(isTransformed)) {
      const absMax = this.absMax[stage.name];
      if (!absMax) throw new Error(`no activation maxima for ${stage.name}`);
      const onLinear = (linear: Linear, ltdb: LtdbSummary): Promise<void> =>
        this.job.reporter.advance(transformOperations(linear, recipe), {
          ...plainEvent('transform', this.job.windowCount, this.job.windowCount),
          stage: stage.name,
          layer: linear.name,
          ltdb,
        });
      const transform = await trainStageTransform(
        stage,
        this.weights,
        absMax,
        recipe.transform,
        recipe.blockSize,
        onLinear,
      );
      const { columnScale, changedNorms } = applyTransform(stage, this.weights, transform.scale);
      this.transforms.set(stage.name, transform);
      this.changedNorms.push(...changedNorms);
      if (columnScale) this.columnScales[stage.name] = columnScale;
    }
  }

  /** Each stage's Hessian from inputs behind the stages quantized before it; the whole chain costs one forward pass. */
  async quantizeStageByStage(input: WindowFile, output: WindowFile | null): Promise<void> {
    const { windowCount, context, architecture, reporter, scratchFolder } = this.job;
    const { block, runner } = this;
    const states = new StageStates({
      folder: scratchFolder,
      windowCount,
      context,
      architecture,
      block,
      input,
    });
    // Which piece costs how much does not matter for progress.
    const passOperations = this.forwardOperations() / piecesPerBlock;
    let previous: StageName | null = null;
    try {
      for (const stage of block.stages) {
        const gram = this.job.engine.newGram(stageWidth(stage));
        for (let window = 0; window < windowCount; window += 1) {
          const state = states.load(previous, window);
          if (previous === 'attention-in') await this.enter('attention-in', state, undefined);
          await this.enter(stage.name, state, gram);
          states.save(stage.name, window, state);
          await reporter.advance(passOperations + gramOperations(stage, context), {
            ...plainEvent('calibrate', window + 1, windowCount),
            stage: stage.name,
          });
        }
        if (previous) states.drop(previous);
        await this.quantizeStage(stage, await this.factorize(stage, gram.matrix(), gram.tokens));
        previous = stage.name;
      }
      if (!output) return;
      for (let window = 0; window < windowCount; window += 1) {
        const state = states.load('mlp-out', window);
        output.write(window, await runner.leaveBlock(block.index, this.weights, state, this.runOptions()));
        await reporter.advance(passOperations, plainEvent('propagate', window + 1, windowCount));
      }
    } finally {
      states.close();
    }
  }

  /** The reference code's way: all Hessians of the block with its float weights, on the quantized stream's inputs. */
  async quantizeFromBlockHessians(input: WindowFile, output: WindowFile | null): Promise<void> {
    const { windowCount, context, reporter } = this.job;
    const grams = this.block.stages.map((stage) => this.job.engine.newGram(stageWidth(stage)));
    const gramTotal = this.block.stages.reduce((sum, stage) => sum + gramOperations(stage, context), 0);
    for (let window = 0; window < windowCount; window += 1) {
      const state: StageState = { hidden: input.read(window) };
      for (const [index, stage] of this.block.stages.entries()) {
        await this.enter(stage.name, state, grams[index]);
      }
      await reporter.advance(
        this.forwardOperations() + gramTotal,
        plainEvent('calibrate', window + 1, windowCount),
      );
    }
    for (const stage of this.block.stages) {
      const gram = grams.shift();
      if (!gram) throw new Error('a stage has no Gram matrix');
      await this.quantizeStage(stage, await this.factorize(stage, gram.matrix(), gram.tokens));
    }
    if (!output) return;
    for (let window = 0; window < windowCount; window += 1) {
      const hidden = await this.runner.forward(
        this.block.index,
        this.weights,
        input.read(window),
        this.runOptions(),
      );
      output.write(window, hidden);
      await reporter.advance(this.forwardOperations(), plainEvent('propagate', window + 1, windowCount));
    }
  }

  /** Codes and scales of a stage's linears, which from here on stand for themselves in `weights`. */
  async quantizeStage(stage: Stage, shared: StageHessian | null): Promise<void> {
    const { recipe, reporter, windowCount } = this.job;
    const transform = this.transforms.get(stage.name);
    const absMax = this.absMax[stage.name];
    for (const linear of stage.linears) {
      const weight = weightOf(this.weights, linear);
      const bias = linear.bias === null ? null : (this.weights.get(linear.bias) ?? null);
      const { quantized, dequantized, report } = quantizeLayer(
        linear,
        weight,
        bias,
        shared,
        transform?.scale ?? null,
        this.columnScales[stage.name] ?? null,
        recipe,
      );
      if (transform) report.notes.push(...transform.notes);
      this.linears.push(quantized);
      this.reports.push(report);
      this.weights.set(`${linear.name}.weight`, dequantized);
      const original = this.originalHistograms.get(linear.name);
      await reporter.advance(quantizeOperations(linear, recipe), {
        ...plainEvent('quantize', windowCount, windowCount),
        stage: stage.name,
        layer: linear.name,
        relativeError: report.relativeError,
        notes: report.notes,
        ltdb: transform?.summaries.get(linear.name) ?? null,
        histograms: original
          ? { original, transformed: weightHistogram(weight), quantized: weightHistogram(dequantized) }
          : null,
        channelMaxima:
          this.job.collectHistograms && absMax ? channelMaxima(absMax, transform?.scale ?? null) : null,
      });
    }
  }

  result(): QuantizedBlock {
    const floatTensors: QuantizedBlock['floatTensors'] = new Map();
    for (const name of this.changedNorms) {
      const values = this.weights.get(name);
      if (values) floatTensors.set(name, { shape: [values.length], values });
    }
    return { index: this.block.index, linears: this.linears, floatTensors, reports: this.reports };
  }

  private enter(stage: StageName, state: StageState, gram: GramAccumulator | undefined): Promise<void> {
    return this.runner.enterStage(this.block.index, stage, this.weights, state, {
      ...this.runOptions(),
      gram,
    });
  }

  private async factorize(stage: Stage, gram: Float64Array, tokens: number): Promise<StageHessian> {
    const shared = prepareHessian(gram, stageWidth(stage), tokens, this.job.recipe.compensation.damping);
    const { reporter, windowCount } = this.job;
    await reporter.advance(factorOperations(stage), {
      ...plainEvent('calibrate', windowCount, windowCount),
      stage: stage.name,
    });
    return shared;
  }

  private get runner(): BlockRunner {
    if (!this.job.runner) throw new Error('this recipe needs no forward pass');
    return this.job.runner;
  }

  private runOptions(): BlockRunOptions {
    return { activationBits: this.job.recipe.activationBits, columnScales: this.columnScales };
  }

  private forwardOperations(): number {
    return blockForwardOperations(this.job.architecture, this.block, this.job.context);
  }
}
