import type { Architecture, LinearRole, StageName } from '../../model/architecture.ts';
import { addGramOutputs } from '../gram.ts';
import { type Dimension, GraphBuilder } from '../onnx/graph-builder.ts';
import type { ActivationBits, ActivationScales, ResidualStage } from '../types.ts';
import { addCachedAttention, addHeads, addWindowAttention } from './attention.ts';
import { columnScaleInput, stageInputSize } from './parameters.ts';
import { addActivation, addColumnAbsMax, addFakeQuantization, addLinear, addNorm } from './parts.ts';

/** Where a block can be cut: before it, at the input of each stage, behind it. */
export const borders = [
  'block-in',
  'attention-in',
  'attention-out',
  'mlp-in',
  'mlp-out',
  'block-out',
] as const;
export type Border = (typeof borders)[number];

/** The stages in the order in which a block goes through them. */
export const stageOrder = borders.slice(1, -1) as readonly StageName[];

/** The values at a border in words, for messages. */
export function describeBorder(border: Border): string {
  if (border === 'block-in') return "the block's input";
  if (border === 'block-out') return "the block's output";
  return `the input of stage ${border}`;
}

export interface BlockGraphOptions {
  from: Border;
  to: Border;
  activationBits: ActivationBits;
  activationScales: ActivationScales;
  /** Stages whose columns are multiplied by an input `columnScale.STAGE` `[in]`. */
  columnScaled: readonly StageName[];
  /** Stages whose max|x_j| is an output `absMax.STAGE` `[in]`, of the input before column scale and quantization. */
  absMax: readonly StageName[];
  /** Stages whose input is an output `input.STAGE` `[rows, in]`, before column scale and quantization. */
  inputs: readonly StageName[];
  /** Stages whose linears' output, added to the residual stream, is an output `sum.STAGE` `[rows, hidden]`: before the norm where that stands behind. */
  sums: readonly ResidualStage[];
  /** Gram panels of the input of stage `to`, as it leaves the graph; `weighted` multiplies its rows by an input `gram.rowScale` `[rows, 1]` before. */
  gram: 'none' | 'plain' | 'weighted';
  /**
   * Where column scale and quantization happen. `before`: a stage's input crosses the border with them applied. `behind`: it crosses as it was
   * computed, and the next piece applies them first.
   */
  preparation: 'before' | 'behind';
  /** A whole window of so many positions; or new positions behind a KV cache, one or a number that each run decides. */
  attention: { kind: 'window'; context: number } | { kind: 'cached'; rows: 'one' | 'many' };
}

/** What stands between two nodes of the block: names of graph values. */
interface Values {
  /** Residual stream before the attention's addition, `[rows, hidden]`. */
  hidden: string;
  /** Input of the current stage, with column scale and quantization (in front of a border with `behind`: without). */
  stageInput: string;
  /** Residual stream after the attention's addition. */
  residual: string;
}

/**
 * The part of a block between two borders, as an ONNX model. At a border the values that cross it are inputs (`hidden`, `stageInput`, `residual`) or
 * outputs (`nextStageInput`, `nextResidual`, `out`): at attention-in and attention-out the hidden state and the stage's input, at mlp-in and
 * mlp-out the residual stream and the stage's input. Weights are inputs named as in parameters.ts.
 *
 * Every block of an architecture has the same structure, so the first stands for all.
 */
export function buildBlockGraph(architecture: Architecture, options: BlockGraphOptions): Uint8Array {
  return new BlockGraph(architecture, options).build();
}

class BlockGraph {
  private readonly graph = new GraphBuilder('block');
  private readonly architecture: Architecture;
  private readonly options: BlockGraphOptions;
  private readonly rows: Dimension;
  private readonly values: Values = { hidden: '', stageInput: '', residual: '' };

  constructor(architecture: Architecture, options: BlockGraphOptions) {
    this.architecture = architecture;
    this.options = options;
    this.rows = options.attention.kind === 'window' ? options.attention.context : 'rows';
  }

  build(): Uint8Array {
    const begin = borders.indexOf(this.options.from);
    const end = borders.indexOf(this.options.to);
    this.declareBorderInputs();
    const segments = [
      () => this.toAttentionIn(),
      () => this.toAttentionOut(),
      () => this.toMlpIn(),
      () => this.toMlpOut(),
      () => this.toBlockOut(),
    ];
    for (const segment of segments.slice(begin, end)) segment();
    this.declareBorderOutputs();
    return this.graph.finish();
  }

  private get block() {
    return this.architecture.blocks[0]!;
  }

  private declareBorderInputs(): void {
    const { graph, rows, values } = this;
    const { hiddenSize } = this.architecture;
    const { from } = this.options;
    const beforeResidual = from === 'attention-in' || from === 'attention-out';
    if (from === 'block-in' || (beforeResidual && this.reaches('mlp-in')))
      values.hidden = graph.input('hidden', 'float32', [rows, hiddenSize]);
    if ((from === 'mlp-in' || from === 'mlp-out') && this.reaches('block-out'))
      values.residual = graph.input('residual', 'float32', [rows, hiddenSize]);
    if (from === 'block-in' || from === 'block-out') return;
    const stageInput = graph.input('stageInput', 'float32', [rows, stageInputSize(this.architecture, from)]);
    values.stageInput = this.options.preparation === 'behind' ? this.prepare(from, stageInput) : stageInput;
  }

  private reaches(border: Border): boolean {
    return borders.indexOf(this.options.to) >= borders.indexOf(border);
  }

  private declareBorderOutputs(): void {
    const { graph, rows, values } = this;
    const { to } = this.options;
    const { hiddenSize } = this.architecture;
    if (to === 'block-out') {
      graph.output(values.residual, 'out', 'float32', [rows, hiddenSize]);
      return;
    }
    if (to === 'block-in') return;
    const size = stageInputSize(this.architecture, to);
    graph.output(values.stageInput, 'nextStageInput', 'float32', [rows, size]);
    if (to === 'mlp-in') graph.output(values.residual, 'nextResidual', 'float32', [rows, hiddenSize]);
    const { gram } = this.options;
    if (gram === 'none') return;
    const weighted = (value: string): string =>
      graph.node('Mul', [value, graph.input('gram.rowScale', 'float32', [rows, 1])]);
    addGramOutputs(graph, gram === 'weighted' ? weighted(values.stageInput) : values.stageInput, size);
  }

  /** Taps at the border of a stage, and the preparation of its input unless that is the next piece's to do. */
  private enter(stage: StageName, value: string): void {
    const { graph, options } = this;
    const size = stageInputSize(this.architecture, stage);
    if (options.absMax.includes(stage))
      graph.output(addColumnAbsMax(graph, value), `absMax.${stage}`, 'float32', [size]);
    if (options.inputs.includes(stage)) graph.output(value, `input.${stage}`, 'float32', [this.rows, size]);
    const leaves = options.to === stage && options.preparation === 'behind';
    this.values.stageInput = leaves ? value : this.prepare(stage, value);
  }

  /** Column scale and activation quantization. */
  private prepare(stage: StageName, value: string): string {
    const { graph, options } = this;
    const size = stageInputSize(this.architecture, stage);
    const scaled = options.columnScaled.includes(stage)
      ? graph.node('Mul', [value, graph.input(columnScaleInput(stage), 'float32', [size])])
      : value;
    const rounding = { bits: options.activationBits, scales: options.activationScales };
    return addFakeQuantization(graph, rounding, scaled, size);
  }

  /** The residual stream with what a stage's linear gave: the tap, then the norm where that stands behind. */
  private addToResidual(stage: ResidualStage, residual: string, role: LinearRole): string {
    const { graph, values } = this;
    const sum = graph.node('Add', [residual, this.linear(role, values.stageInput)]);
    if (this.options.sums.includes(stage))
      graph.output(sum, `sum.${stage}`, 'float32', [this.rows, this.architecture.hiddenSize]);
    if (this.architecture.normPlacement === 'pre') return sum;
    return this.norm(stage === 'attention-out' ? 'attentionNorm' : 'mlpNorm', sum);
  }

  private linear(role: LinearRole, value: string): string {
    const linear = this.block.stages
      .flatMap((stage) => stage.linears)
      .find((candidate) => candidate.role === role);
    if (!linear) throw new Error(`a block of ${this.architecture.modelType} has no linear of role ${role}`);
    return addLinear(this.graph, linear, value);
  }

  private norm(which: 'attentionNorm' | 'mlpNorm', value: string): string {
    return addNorm(this.graph, this.block[which], which, this.architecture.hiddenSize, value);
  }

  /** BitNet's norm in front of o or down, where there is one. */
  private subNorm(which: 'attentionSubNorm' | 'mlpSubNorm', stage: StageName, value: string): string {
    const norm = this.block[which];
    return norm === null
      ? value
      : addNorm(this.graph, norm, which, stageInputSize(this.architecture, stage), value);
  }

  private toAttentionIn(): void {
    const { hidden } = this.values;
    const pre = this.architecture.normPlacement === 'pre';
    this.enter('attention-in', pre ? this.norm('attentionNorm', hidden) : hidden);
  }

  private toAttentionOut(): void {
    const { graph, architecture, options, values } = this;
    const heads = addHeads(graph, architecture, this.block, this.rows, {
      query: this.linear('q', values.stageInput),
      key: this.linear('k', values.stageInput),
      value: this.linear('v', values.stageInput),
    });
    const attended =
      options.attention.kind === 'window'
        ? addWindowAttention(graph, architecture, options.attention.context, heads)
        : addCachedAttention(graph, architecture, options.attention.rows, heads);
    this.enter('attention-out', this.subNorm('attentionSubNorm', 'attention-out', attended));
  }

  private toMlpIn(): void {
    const { values } = this;
    values.residual = this.addToResidual('attention-out', values.hidden, 'o');
    const post = this.architecture.normPlacement === 'post';
    this.enter('mlp-in', post ? values.residual : this.norm('mlpNorm', values.residual));
  }

  private toMlpOut(): void {
    const { graph, architecture, values } = this;
    const up = this.linear('up', values.stageInput);
    if (architecture.mlp === 'plain') {
      const activated = addActivation(graph, architecture.activation, up);
      this.enter('mlp-out', this.subNorm('mlpSubNorm', 'mlp-out', activated));
      return;
    }
    const gate = addActivation(graph, architecture.activation, this.linear('gate', values.stageInput));
    this.enter('mlp-out', this.subNorm('mlpSubNorm', 'mlp-out', graph.node('Mul', [gate, up])));
  }

  private toBlockOut(): void {
    const { values } = this;
    values.residual = this.addToResidual('mlp-out', values.residual, 'down');
  }
}
