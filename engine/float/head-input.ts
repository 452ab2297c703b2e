import type { FloatDevice } from '../contract/common.ts';
import { DBellError } from '../contract/errors.ts';
import type { Architecture } from '../model/architecture.ts';
import type { ModelSource } from '../model/source.ts';
import { assertFinite } from './finite.ts';
import { addGramOutputs, gramPanels, PanelGramAccumulator } from './gram.ts';
import { addFakeQuantization, addNorm } from './graphs/parts.ts';
import { GraphBuilder, int } from './onnx/graph-builder.ts';
import { type Feed, GraphSession } from './session.ts';
import type { ActivationBits, GramAccumulator } from './types.ts';

/** Final norm, project_out and rounding, by token, of the head's input: `hidden` `[rows, hiddenSize]` to `[rows, embeddingSize]`. */
export function addHeadInput(
  graph: GraphBuilder,
  architecture: Architecture,
  hidden: string,
  activationBits: ActivationBits,
): string {
  const { hiddenSize, finalNorm } = architecture;
  const { embeddingSize, projectOut } = architecture.embedding;
  let value = hidden;
  if (finalNorm) value = addNorm(graph, finalNorm, 'finalNorm', hiddenSize, value);
  if (projectOut) {
    const weight = graph.input('projectOut.weight', 'float32', [embeddingSize, hiddenSize]);
    value = graph.node('Gemm', [value, weight], { attributes: { transB: int(1) } });
  }
  return addFakeQuantization(graph, { bits: activationBits, scales: 'token' }, value, embeddingSize);
}

/** Weights that addHeadInput asks for. */
export function headInputFeeds(source: ModelSource): Record<string, Feed> {
  const { hiddenSize, finalNorm, embedding } = source.architecture;
  const feeds: Record<string, Feed> = {};
  const add = (input: string, tensor: string | null | undefined, ...shape: number[]): void => {
    if (tensor) feeds[input] = { data: source.readFloat32(tensor), shape };
  };
  add('finalNorm.weight', finalNorm?.weight, hiddenSize);
  add('finalNorm.bias', finalNorm?.bias, hiddenSize);
  add('projectOut.weight', embedding.projectOut, embedding.embeddingSize, hiddenSize);
  return feeds;
}

/** Gram matrices of the head's input. */
export class HeadGram {
  private readonly source: ModelSource;
  private readonly threads: number;
  private readonly device: FloatDevice;
  private readonly activationBits: ActivationBits;
  private feeds: Record<string, Feed> | null = null;
  private session: GraphSession | null = null;

  /** @param activationBits bits of the head's input; 16 is float */
  constructor(
    source: ModelSource,
    threads: number,
    activationBits: ActivationBits,
    device: FloatDevice = 'cpu',
  ) {
    this.source = source;
    this.threads = threads;
    this.device = device;
    this.activationBits = activationBits;
  }

  /** Adds XᵀX of the head's input for the last block's output `hidden` `[rows, hiddenSize]`. Throws DBellError `invalid-model` where it is not finite. */
  async add(hidden: Float32Array, gram: GramAccumulator): Promise<void> {
    const { architecture } = this.source;
    const { embeddingSize } = architecture.embedding;
    if (!(gram instanceof PanelGramAccumulator) || gram.size !== embeddingSize)
      throw new DBellError('internal', `the Gram matrix of the head's input has size ${embeddingSize}`);
    this.feeds ??= headInputFeeds(this.source);
    this.session ??= await GraphSession.create(this.graph(), "the head's input", this.threads, this.device);
    const rows = hidden.length / architecture.hiddenSize;
    const outputs = await this.session.run({
      ...this.feeds,
      hidden: { data: hidden, shape: [rows, architecture.hiddenSize] },
    });
    const panels = gram.panels.map((panel) => outputs[panel.name]!);
    for (const [index, panel] of gramPanels(embeddingSize).entries())
      assertFinite(panels[index]!, panel.rows, "XᵀX of the head's input");
    gram.add(panels, rows);
  }

  async close(): Promise<void> {
    await this.session?.close();
    this.session = null;
    this.feeds = null;
  }

  private graph(): Uint8Array {
    const { architecture } = this.source;
    const graph = new GraphBuilder('head-input');
    const hidden = graph.input('hidden', 'float32', ['rows', architecture.hiddenSize]);
    const value = addHeadInput(graph, architecture, hidden, this.activationBits);
    addGramOutputs(graph, value, architecture.embedding.embeddingSize);
    return graph.finish();
  }
}
