import type { FloatDevice } from '../contract/common.ts';
import { DBellError } from '../contract/errors.ts';
import type { Architecture, StageName } from '../model/architecture.ts';
import { packing } from '../native/packing.ts';
import { columnScaledStages, columnScaleFeeds, rotaryFeeds, weightFeeds } from './feeds.ts';
import { assertFinite } from './finite.ts';
import { PanelGramAccumulator } from './gram.ts';
import { windowMask } from './graphs/attention.ts';
import {
  type BlockGraphOptions,
  type Border,
  borders,
  buildBlockGraph,
  describeBorder,
  stageOrder,
} from './graphs/block-graph.ts';
import { stageInputSize } from './graphs/parameters.ts';
import { type RotaryTables, rotaryTables } from './rotary.ts';
import { type Feed, GraphSession } from './session.ts';
import type {
  BlockRunner,
  BlockRunOptions,
  BlockTaps,
  BlockWeights,
  GramAccumulator,
  StageState,
} from './types.ts';

/** BlockRunner on onnxruntime. Graphs are made when first needed and kept: one for each piece of a block and each set of options. */
export class OnnxBlockRunner implements BlockRunner {
  readonly context: number;
  private readonly architecture: Architecture;
  private readonly threads: number;
  private readonly device: FloatDevice;
  private readonly rotary: RotaryTables | null;
  private readonly mask: Feed;
  private readonly sessions = new Map<string, GraphSession>();
  private isClosed = false;

  constructor(architecture: Architecture, context: number, threads: number, device: FloatDevice = 'cpu') {
    this.architecture = architecture;
    this.context = context;
    this.threads = threads;
    this.device = device;
    this.rotary = rotaryTables(architecture, context);
    this.mask = windowMask(architecture, context);
  }

  async forward(
    blockIndex: number,
    weights: BlockWeights,
    hidden: Float32Array,
    options: BlockRunOptions,
  ): Promise<Float32Array> {
    return (await this.forwardWithTaps(blockIndex, weights, hidden, options)).hidden;
  }

  async forwardWithTaps(
    blockIndex: number,
    weights: BlockWeights,
    hidden: Float32Array,
    options: BlockRunOptions & BlockTaps,
  ): Promise<Awaited<ReturnType<BlockRunner['forwardWithTaps']>>> {
    const { absMax = [], inputs = [], sums = [] } = options;
    const outputs = await this.run(blockIndex, weights, { hidden }, options, {
      from: 'block-in',
      to: 'block-out',
      absMax,
      inputs,
      sums,
    });
    if (packing.firstNonFinite(outputs.out!) >= 0)
      await this.blameStage(blockIndex, weights, hidden, options);
    const pick = <Stage extends StageName>(prefix: string, stages: Stage[]) =>
      Object.fromEntries(stages.map((stage) => [stage, outputs[`${prefix}.${stage}`]!])) as Partial<
        Record<Stage, Float32Array>
      >;
    return {
      hidden: outputs.out!,
      absMax: pick('absMax', absMax),
      inputs: pick('input', inputs),
      sums: pick('sum', sums),
    };
  }

  async enterStage(
    blockIndex: number,
    stage: StageName,
    weights: BlockWeights,
    state: StageState,
    options: BlockRunOptions & { gram?: GramAccumulator; gramRowScale?: Float32Array },
  ): Promise<void> {
    const from = borders[borders.indexOf(stage) - 1]!;
    const { gram, gramRowScale } = options;
    const rowScaleFeed: Record<string, Feed> = gramRowScale
      ? { 'gram.rowScale': { data: gramRowScale, shape: [this.context, 1] } }
      : {};
    const outputs = await this.run(
      blockIndex,
      weights,
      state,
      options,
      { from, to: stage, gram: !gram ? 'none' : gramRowScale ? 'weighted' : 'plain' },
      rowScaleFeed,
    );
    this.checkFinite(outputs.nextStageInput!, blockIndex, stage);
    state.stageInput = outputs.nextStageInput!;
    if (outputs.nextResidual) state.residual = outputs.nextResidual;
    if (gram) this.addGram(gram, blockIndex, stage, outputs);
  }

  async leaveBlock(
    blockIndex: number,
    weights: BlockWeights,
    state: StageState,
    options: BlockRunOptions,
  ): Promise<Float32Array> {
    const outputs = await this.run(blockIndex, weights, state, options, { from: 'mlp-out', to: 'block-out' });
    this.checkFinite(outputs.out!, blockIndex, 'block-out');
    return outputs.out!;
  }

  get closed(): boolean {
    return this.isClosed;
  }

  async close(): Promise<void> {
    this.isClosed = true;
    const sessions = [...this.sessions.values()];
    this.sessions.clear();
    for (const session of sessions) await session.close();
  }

  private addGram(
    gram: GramAccumulator,
    blockIndex: number,
    stage: StageName,
    outputs: Record<string, Float32Array>,
  ): void {
    if (!(gram instanceof PanelGramAccumulator))
      throw new DBellError('internal', 'a Gram accumulator comes from FloatEngine.newGram');
    const size = stageInputSize(this.architecture, stage);
    if (gram.size !== size)
      throw new DBellError(
        'internal',
        `the Gram accumulator has size ${gram.size}, stage ${stage} has ${size} columns`,
      );
    const panels = gram.panels.map((panel) => outputs[panel.name]!);
    // Finite activations beyond 1e18 have squares that are not.
    for (const [index, { rows }] of gram.panels.entries())
      assertFinite(panels[index]!, rows, `block ${blockIndex}: XᵀX of ${describeBorder(stage)}`);
    gram.add(panels, this.context);
  }

  private async run(
    blockIndex: number,
    weights: BlockWeights,
    state: StageState,
    options: BlockRunOptions,
    piece: Pick<BlockGraphOptions, 'from' | 'to'> &
      Partial<Pick<BlockGraphOptions, 'absMax' | 'inputs' | 'sums' | 'gram'>>,
    moreFeeds: Record<string, Feed> = {},
  ): Promise<Record<string, Float32Array>> {
    const { architecture, context } = this;
    const session = await this.session({
      absMax: [],
      inputs: [],
      sums: [],
      gram: 'none',
      preparation: options.preparation ?? 'before',
      ...piece,
      activationBits: options.activationBits,
      activationScales: options.activationScales ?? 'token',
      columnScaled: columnScaledStages(options.columnScales),
      attention: { kind: 'window', context },
    });
    const feeds: Record<string, Feed> = {
      ...moreFeeds,
      ...weightFeeds(architecture, blockIndex, weights),
      ...columnScaleFeeds(architecture, options.columnScales),
      ...rotaryFeeds(this.rotary, 0, context),
      'attention.mask': this.mask,
      hidden: { data: state.hidden, shape: [context, architecture.hiddenSize] },
    };
    if (state.residual) feeds.residual = { data: state.residual, shape: [context, architecture.hiddenSize] };
    if (state.stageInput && piece.from !== 'block-in')
      feeds.stageInput = {
        data: state.stageInput,
        shape: [context, stageInputSize(architecture, piece.from as StageName)],
      };
    return session.run(feeds);
  }

  private async session(options: BlockGraphOptions): Promise<GraphSession> {
    if (this.isClosed)
      throw new DBellError('internal', `the block runner of context ${this.context} is closed`);
    const key = JSON.stringify(options);
    let session = this.sessions.get(key);
    if (!session) {
      const subject = `block from ${options.from} to ${options.to} (context ${this.context})`;
      session = await GraphSession.create(
        buildBlockGraph(this.architecture, options),
        subject,
        this.threads,
        this.device,
      );
      this.sessions.set(key, session);
    }
    return session;
  }

  private checkFinite(values: Float32Array, blockIndex: number, border: Border): void {
    assertFinite(values, this.context, `block ${blockIndex}: ${describeBorder(border)}`);
  }

  /** The whole block gave something that is not finite: runs it stage by stage, which throws where it begins. */
  private async blameStage(
    blockIndex: number,
    weights: BlockWeights,
    hidden: Float32Array,
    options: BlockRunOptions,
  ): Promise<void> {
    const { activationBits, activationScales, columnScales } = options;
    const run = { activationBits, activationScales, columnScales };
    const state: StageState = { hidden };
    for (const stage of stageOrder) await this.enterStage(blockIndex, stage, weights, state, run);
    await this.leaveBlock(blockIndex, weights, state, run);
    throw new DBellError('internal', `block ${blockIndex}: the whole block and its stages disagree`);
  }
}
