import type { FloatDevice } from '../contract/common.ts';
import { DBellError } from '../contract/errors.ts';
import type { Architecture } from '../model/architecture.ts';
import type { ModelSource } from '../model/source.ts';
import { assertFinite } from './finite.ts';
import { addHeadInput, headInputFeeds } from './head-input.ts';
import { GraphBuilder, int } from './onnx/graph-builder.ts';
import { type Feed, GraphSession } from './session.ts';
import type { ActivationBits } from './types.ts';

/** Rows of hidden states that go through the head at once: 256 was fastest and needs little memory. */
const maximumTileRows = 256;
/** Logits of a tile; LogSoftmax doubles them. 16 Mi values are 64 MiB: vocabularies beyond 65,536 get fewer rows. */
const maximumTileLogits = 2 ** 24;

export function headTileRows(vocabularySize: number): number {
  return Math.max(1, Math.min(maximumTileRows, Math.floor(maximumTileLogits / vocabularySize)));
}

/**
 * Final norm, project_out and LM head. Output `logits` `[rows, vocabulary]`, or `logProbability` `[rows, 1]` of the ids in input `labels`.
 * LogSoftmax, because ReduceLogSumExp and a sum of exponentials lose the fifth digit of perplexity in float32.
 */
export function buildHeadGraph(
  architecture: Architecture,
  output: 'logits' | 'losses',
  activationBits: ActivationBits,
): Uint8Array {
  const graph = new GraphBuilder('head');
  const { hiddenSize, vocabularySize, head } = architecture;
  const { embeddingSize } = architecture.embedding;
  const hidden = graph.input('hidden', 'float32', ['rows', hiddenSize]);
  const value = addHeadInput(graph, architecture, hidden, activationBits);
  const inputs = [value, graph.input('head.weight', 'float32', [vocabularySize, embeddingSize])];
  if (head.bias) inputs.push(graph.input('head.bias', 'float32', [vocabularySize]));
  const logits = graph.node('Gemm', inputs, { attributes: { transB: int(1) } });
  if (output === 'logits') {
    graph.output(logits, 'logits', 'float32', ['rows', vocabularySize]);
  } else {
    const logProbabilities = graph.node('LogSoftmax', [logits], { attributes: { axis: int(-1) } });
    const labels = graph.input('labels', 'int32', ['rows', 1]);
    const chosen = graph.node('GatherElements', [logProbabilities, labels], { attributes: { axis: int(1) } });
    graph.output(chosen, 'logProbability', 'float32', ['rows', 1]);
  }
  return graph.finish();
}

/** The head with its weights, which are read at first use and stay until `close`. */
export class Head {
  private readonly source: ModelSource;
  private readonly threads: number;
  private readonly device: FloatDevice;
  private readonly activationBits: ActivationBits;
  private weights: Record<string, Feed> | null = null;
  private readonly sessions: Partial<Record<'logits' | 'losses', GraphSession>> = {};

  /** @param activationBits bits of the input of the head's linear; 16 is float */
  constructor(
    source: ModelSource,
    threads: number,
    activationBits: ActivationBits = 16,
    device: FloatDevice = 'cpu',
  ) {
    this.source = source;
    this.threads = threads;
    this.device = device;
    this.activationBits = activationBits;
  }

  /** Bytes of the head's weights once they are read. */
  get weightBytes(): number {
    return Object.values(this.weights ?? {}).reduce((sum, feed) => sum + feed.data.byteLength, 0);
  }

  /**
   * Natural-log losses of ids[1…] given hidden states `[ids.length, hiddenSize]`: `[ids.length − 1]`. Throws DBellError `invalid-model` where one is not finite.
   */
  async tokenLosses(hidden: Float32Array, ids: Int32Array): Promise<Float32Array> {
    const { hiddenSize, vocabularySize } = this.source.architecture;
    if (hidden.length !== ids.length * hiddenSize)
      throw new DBellError(
        'internal',
        `token losses: ${hidden.length} hidden values for ${ids.length} ids of hidden size ${hiddenSize}`,
      );
    const session = await this.session('losses');
    const losses = new Float32Array(Math.max(0, ids.length - 1));
    const tileRows = headTileRows(vocabularySize);
    for (let begin = 0; begin < losses.length; begin += tileRows) {
      const rows = Math.min(tileRows, losses.length - begin);
      const { logProbability } = await session.run({
        ...this.weights,
        hidden: {
          data: hidden.subarray(begin * hiddenSize, (begin + rows) * hiddenSize),
          shape: [rows, hiddenSize],
        },
        labels: { data: ids.subarray(begin + 1, begin + 1 + rows), shape: [rows, 1] },
      });
      for (let row = 0; row < rows; row++) losses[begin + row] = -logProbability![row]!;
    }
    if (losses.length > 0) assertFinite(losses, losses.length, 'the loss');
    return losses;
  }

  /** Logits `[rows, vocabularySize]` of the first `rows` rows of `hidden`. */
  async logits(hidden: Float32Array, rows: number): Promise<Float32Array> {
    const { hiddenSize, vocabularySize } = this.source.architecture;
    const session = await this.session('logits');
    const tileRows = headTileRows(vocabularySize);
    const run = async (begin: number, count: number): Promise<Float32Array> => {
      const { logits } = await session.run({
        ...this.weights,
        hidden: {
          data: hidden.subarray(begin * hiddenSize, (begin + count) * hiddenSize),
          shape: [count, hiddenSize],
        },
      });
      return logits!;
    };
    if (rows <= tileRows) return run(0, rows);
    const all = new Float32Array(rows * vocabularySize);
    for (let begin = 0; begin < rows; begin += tileRows)
      all.set(await run(begin, Math.min(tileRows, rows - begin)), begin * vocabularySize);
    return all;
  }

  async close(): Promise<void> {
    this.weights = null;
    for (const session of Object.values(this.sessions)) await session.close();
    delete this.sessions.logits;
    delete this.sessions.losses;
  }

  private async session(output: 'logits' | 'losses'): Promise<GraphSession> {
    this.weights ??= this.readWeights();
    this.sessions[output] ??= await GraphSession.create(
      buildHeadGraph(this.source.architecture, output, this.activationBits),
      'the output head',
      this.threads,
      this.device,
    );
    return this.sessions[output];
  }

  private readWeights(): Record<string, Feed> {
    const { vocabularySize, head, embedding } = this.source.architecture;
    const feeds = headInputFeeds(this.source);
    const weight = this.source.readFloat32(head.weight);
    feeds['head.weight'] = { data: weight, shape: [vocabularySize, embedding.embeddingSize] };
    if (head.bias) feeds['head.bias'] = { data: this.source.readFloat32(head.bias), shape: [vocabularySize] };
    return feeds;
  }
}
