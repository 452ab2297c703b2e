import type {
  BlockRunner,
  BlockRunOptions,
  BlockTaps,
  BlockWeights,
  FloatEngine,
  GramAccumulator,
  StageState,
} from '../float/types.ts';
import type { Architecture, Block, Linear, Stage, StageName } from '../model/architecture.ts';
import { ActivationSample } from './activation-sample.ts';
import {
  factorOperations,
  floatPassOperations,
  gramOperations,
  isTransformed,
  piecesPerBlock,
  quantizedPassOperations,
  stageWidth,
  targetOperations,
  transformOperations,
} from './cost-model.ts';
import { FloatTaps } from './float-taps.ts';
import type { WindowFile } from './hidden-states.ts';
import { prepareHessian, type StageHessian, scaleToHessian } from './layer.ts';
import type { LtdbSummary } from './progress.ts';
import { type ProgressReporter, plainEvent } from './progress-reporter.ts';
import { activationScalesOf, calibrationActivationBits, type Recipe } from './recipe.ts';
import type { QuantizedBlock } from './sink.ts';
import { StageQuantizer } from './stage-quantizer.ts';
import { StageStates } from './stage-states.ts';
import { StageTargets } from './targets.ts';
import { trainStageTransform } from './transform.ts';

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
  try {
    if (inputs.float) await run.runFloatStream(inputs.float, outputs.float);
    await run.transform();
    await run.quantizeLinears(inputs, outputs);
    return run.result();
  } finally {
    run.close();
  }
}

class BlockRun {
  private readonly job: BlockJob;
  private readonly block: Block;
  private readonly quantizer: StageQuantizer;
  private taps: FloatTaps | null = null;

  constructor(job: BlockJob, block: Block) {
    this.job = job;
    this.block = block;
    this.quantizer = new StageQuantizer({
      ...job,
      block,
      weights: job.engine.loadBlock(block.index),
    });
  }

  /** The float model's block over all windows: its outputs, per stage the maxima that start LTDB, and what targets and token weights need. */
  async runFloatStream(input: WindowFile, output: WindowFile | null): Promise<void> {
    const { windowCount } = this.job;
    const taps = new FloatTaps({
      ...this.job,
      folder: this.job.scratchFolder,
      block: this.block,
      blockOutput: output,
    });
    this.taps = taps;
    const absMax = this.block.stages.filter(isTransformed).map((stage) => stage.name);
    const operations = floatPassOperations(this.job.architecture, this.block, this.job.context);
    const options: BlockRunOptions & BlockTaps = { activationBits: 16, absMax, ...taps.wanted };
    for (let window = 0; window < windowCount; window += 1) {
      const hidden = input.read(window);
      const result = await this.runner.forwardWithTaps(this.block.index, this.weights, hidden, options);
      for (const stage of absMax) this.quantizer.addActivationMaxima(stage, result.absMax[stage]);
      output?.write(window, result.hidden);
      taps.write(window, result);
      await this.job.reporter.advance(operations, plainEvent('float-stream', window + 1, windowCount));
    }
  }

  async transform(): Promise<void> {
    const { recipe } = this.job;
    if (recipe.transform.kind !== 'ltdb') return;
    for (const stage of this.block.stages.filter(isTransformed)) {
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
        this.quantizer.activationMaxima(stage),
        recipe.transform,
        recipe.blockSize,
        onLinear,
      );
      this.quantizer.applyTransform(stage, transform);
    }
  }

  async quantizeLinears(inputs: BlockInputs, outputs: BlockOutputs): Promise<void> {
    if (!inputs.quantized) {
      for (const stage of this.block.stages) {
        await this.quantizer.quantize(stage, { hessian: null, tokens: 0, targets: null, sample: null });
      }
    } else if (this.job.recipe.compensation.hessian === 'per-block') {
      await this.quantizeFromBlockHessians(inputs.quantized, outputs.quantized);
    } else {
      await this.quantizeStageByStage(inputs.quantized, outputs.quantized);
    }
  }

  result(): QuantizedBlock {
    return this.quantizer.result();
  }

  close(): void {
    this.taps?.close();
  }

  /** Each stage's Hessian from inputs behind the stages quantized before it; the whole chain costs one forward pass. */
  private async quantizeStageByStage(input: WindowFile, output: WindowFile | null): Promise<void> {
    const { windowCount, context, architecture, reporter, scratchFolder, engine, recipe } = this.job;
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
    const passOperations = this.passOperations() / piecesPerBlock;
    let previous: StageName | null = null;
    try {
      for (const stage of block.stages) {
        const gram = engine.newGram(stageWidth(stage));
        const targets = StageTargets.of(engine, stage, block.index, recipe, this.taps);
        const sample = this.wantsSample
          ? new ActivationSample(windowCount, context, stageWidth(stage))
          : null;
        const operations = gramOperations(stage, context) + targetOperations(stage, recipe, context);
        for (let window = 0; window < windowCount; window += 1) {
          const state = states.load(previous, window);
          if (previous === 'attention-in') await this.enter('attention-in', window, state, undefined);
          await this.enter(stage.name, window, state, gram);
          await targets?.add(window, state);
          sample?.add(window, state, this.taps?.tokenWeights(stage.name, window)?.weights ?? null);
          states.save(stage.name, window, state);
          await reporter.advance(passOperations + operations, {
            ...plainEvent('calibrate', window + 1, windowCount),
            stage: stage.name,
          });
        }
        if (previous) states.drop(previous);
        this.taps?.drop(stage.name);
        const { tokens } = gram;
        const hessian = await this.hessian(stage, gram.matrix(), tokens);
        await this.quantizer.quantize(stage, { hessian, tokens, targets, sample });
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
  private async quantizeFromBlockHessians(input: WindowFile, output: WindowFile | null): Promise<void> {
    const { windowCount, context, reporter } = this.job;
    const grams = this.block.stages.map((stage) => this.job.engine.newGram(stageWidth(stage)));
    const gramTotal = this.block.stages.reduce((sum, stage) => sum + gramOperations(stage, context), 0);
    for (let window = 0; window < windowCount; window += 1) {
      const state: StageState = { hidden: input.read(window) };
      for (const [index, stage] of this.block.stages.entries()) {
        await this.enter(stage.name, window, state, grams[index]);
      }
      await reporter.advance(
        this.passOperations() + gramTotal,
        plainEvent('calibrate', window + 1, windowCount),
      );
    }
    for (const stage of this.block.stages) {
      const gram = grams.shift();
      if (!gram) throw new Error('a stage has no Gram matrix');
      const { tokens } = gram;
      const hessian = await this.hessian(stage, gram.matrix(), tokens);
      await this.quantizer.quantize(stage, { hessian, tokens, targets: null, sample: null });
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
      await reporter.advance(this.passOperations(), plainEvent('propagate', window + 1, windowCount));
    }
  }

  private enter(
    stage: StageName,
    window: number,
    state: StageState,
    gram: GramAccumulator | undefined,
  ): Promise<void> {
    const tokenWeights = gram ? this.taps?.tokenWeights(stage, window) : null;
    return this.runner.enterStage(this.block.index, stage, this.weights, state, {
      ...this.runOptions(),
      gram,
      gramRowScale: tokenWeights?.roots,
    });
  }

  /** H of a stage, factorized for the binarizers that compensate errors through its factor. */
  private async hessian(stage: Stage, gram: Float64Array, tokens: number): Promise<StageHessian> {
    const { reporter, windowCount, recipe } = this.job;
    const size = stageWidth(stage);
    const hessian =
      recipe.binarizer.kind === 'grid'
        ? scaleToHessian(gram, size, tokens)
        : prepareHessian(gram, size, tokens, recipe.compensation.damping);
    await reporter.advance(factorOperations(stage), {
      ...plainEvent('calibrate', windowCount, windowCount),
      stage: stage.name,
    });
    return hessian;
  }

  /** A grid's column scale can know what rounding the stage's inputs costs. */
  private get wantsSample(): boolean {
    const { recipe } = this.job;
    return (
      calibrationActivationBits(recipe) < 16 &&
      recipe.binarizer.kind === 'grid' &&
      recipe.binarizer.columnScale !== 'none'
    );
  }

  private get weights(): BlockWeights {
    return this.quantizer.weights;
  }

  private get runner(): BlockRunner {
    if (!this.job.runner) throw new Error('this recipe needs no forward pass');
    return this.job.runner;
  }

  private runOptions(): BlockRunOptions {
    const { recipe } = this.job;
    return {
      activationBits: calibrationActivationBits(recipe),
      activationScales: activationScalesOf(recipe),
      columnScales: this.quantizer.columnScales,
      // A grid's column scale is found from a stage's input and then applied to it.
      preparation: recipe.binarizer.kind === 'grid' ? 'behind' : 'before',
    };
  }

  private passOperations(): number {
    return quantizedPassOperations(this.job.architecture, this.block, this.job.context);
  }
}
