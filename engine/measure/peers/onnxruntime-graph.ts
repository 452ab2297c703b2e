import { float, GraphBuilder, int } from '../../float/onnx/graph-builder.ts';
import type { ModelShape } from '../../model/model-shapes.ts';
import { SeededRandom } from '../../model/seeded-random.ts';

export type OnnxruntimeType = 'float32' | 'int8' | 'int4';
export const onnxruntimeTypes: readonly OnnxruntimeType[] = ['float32', 'int8', 'int4'];

/** A protobuf holds less than 2 GB; blocks beyond these use the weights of others again, which together are larger than any cache. */
const weightBytesAtMost = 1.5e9;
/** Columns that share a scale: the finest that MatMulNBits has, and that of GGUF's Q8_0 and Q4_0. */
const blockSize = 32;
/** MatMulNBits with int8 activations: its fast path. */
const accuracyLevel = 4;
const seed = 20_261_127;

const bitsOf = { float32: 32, int8: 8, int4: 4 } as const;

export interface OnnxruntimeGraph {
  bytes: Uint8Array;
  /** Blocks that have weights of their own. */
  distinctBlocks: number;
  /** Of all blocks and the head, each as often as it is read for a token. */
  weightBytesPerToken: number;
}

/** Bytes of a matrix as it is stored. */
function matrixBytes(type: OnnxruntimeType, rows: number, columns: number): number {
  return type === 'float32'
    ? 4 * rows * columns
    : (rows * columns * bitsOf[type]) / 8 + (4 * rows * columns) / blockSize;
}

/**
 * A whole model of the shape in one graph with random weights: `x` `[1, tokens, hidden]`, `past.key.N` and `past.value.N` `[1, heads, past, dimension]` of each block to
 * `logits` `[1, 1, vocabulary]` of the last token and `present.key.N`, `present.value.N`. Linears and head are MatMul in float32, MatMulNBits with int8 activations else;
 * attention is onnxruntime's GroupQueryAttention with rotary embedding.
 */
export function onnxruntimeGraph(shape: ModelShape, type: OnnxruntimeType): OnnxruntimeGraph {
  const { hiddenSize, intermediateSize, blockCount, headCount, keyValueHeadCount, vocabularySize } = shape;
  const headDimension = hiddenSize / headCount;
  const keySize = headDimension * keyValueHeadCount;
  const graph = new GraphBuilder('peer');
  const random = new SeededRandom(seed);
  const matrices: [string, number, number][] = [
    ['q', hiddenSize, hiddenSize],
    ['k', keySize, hiddenSize],
    ['v', keySize, hiddenSize],
    ['o', hiddenSize, hiddenSize],
    ['gate', intermediateSize, hiddenSize],
    ['up', intermediateSize, hiddenSize],
    ['down', hiddenSize, intermediateSize],
  ];
  const blockBytes = matrices.reduce((sum, [, rows, columns]) => sum + matrixBytes(type, rows, columns), 0);
  const headBytes = matrixBytes(type, vocabularySize, hiddenSize);
  const distinctBlocks = Math.max(
    1,
    Math.min(blockCount, Math.floor((weightBytesAtMost - headBytes) / blockBytes)),
  );
  const weights = new Map<string, string[]>();
  const linear = (name: string, x: string, rows: number, columns: number): string => {
    let values = weights.get(name);
    if (values === undefined) {
      values = randomMatrix(graph, random, type, rows, columns);
      weights.set(name, values);
    }
    if (type === 'float32') return graph.node('MatMul', [x, ...values]);
    const attributes = {
      ...{ K: int(columns), N: int(rows), bits: int(bitsOf[type]) },
      ...{ block_size: int(blockSize), accuracy_level: int(accuracyLevel) },
    };
    return graph.node('MatMulNBits', [x, ...values], { domain: 'com.microsoft', attributes });
  };
  const ones = graph.constant('float32', [hiddenSize], new Float32Array(hiddenSize).fill(1));
  const norm = (x: string): string =>
    graph.node('SimplifiedLayerNormalization', [x, ones], {
      attributes: { epsilon: float(1e-5), axis: int(-1) },
    });
  const half = headDimension / 2;
  const angles = Float32Array.from({ length: shape.contextLength * half }, (_, index) => {
    const position = Math.floor(index / half);
    return position * 10_000 ** ((-2 * (index % half)) / headDimension);
  });
  const cosine = graph.constant('float32', [shape.contextLength, half], angles.map(Math.cos));
  const sine = graph.constant('float32', [shape.contextLength, half], angles.map(Math.sin));
  const lastPosition = graph.input('lastPosition', 'int32', [1]);
  const totalLength = graph.input('totalLength', 'int32', []);
  const pastShape = [1, keyValueHeadCount, 'past', headDimension];
  const presentShape = [1, keyValueHeadCount, 'total', headDimension];
  let hidden = graph.input('x', 'float32', [1, 'tokens', hiddenSize]);
  for (let block = 0; block < blockCount; block += 1) {
    const of = (name: string): string => `${name} ${block % distinctBlocks}`;
    const x = norm(hidden);
    const [attended = '', key = '', value = ''] = graph.nodeWithOutputs(
      'GroupQueryAttention',
      [
        linear(of('q'), x, hiddenSize, hiddenSize),
        linear(of('k'), x, keySize, hiddenSize),
        linear(of('v'), x, keySize, hiddenSize),
        graph.input(`past.key.${block}`, 'float32', pastShape),
        graph.input(`past.value.${block}`, 'float32', pastShape),
        ...[lastPosition, totalLength, cosine, sine],
      ],
      {
        domain: 'com.microsoft',
        attributes: { num_heads: int(headCount), kv_num_heads: int(keyValueHeadCount), do_rotary: int(1) },
        outputCount: 3,
      },
    );
    graph.output(key, `present.key.${block}`, 'float32', presentShape);
    graph.output(value, `present.value.${block}`, 'float32', presentShape);
    hidden = graph.node('Add', [hidden, linear(of('o'), attended, hiddenSize, hiddenSize)]);
    const y = norm(hidden);
    const gate = linear(of('gate'), y, intermediateSize, hiddenSize);
    const activated = graph.node('Mul', [
      graph.node('QuickGelu', [gate], { domain: 'com.microsoft', attributes: { alpha: float(1) } }),
      linear(of('up'), y, intermediateSize, hiddenSize),
    ]);
    hidden = graph.node('Add', [hidden, linear(of('down'), activated, hiddenSize, intermediateSize)]);
  }
  const last = graph.slice(norm(hidden), 1, -1, Number.MAX_SAFE_INTEGER);
  graph.output(linear('head', last, vocabularySize, hiddenSize), 'logits', 'float32', [1, 1, vocabularySize]);
  return { bytes: graph.finish(), distinctBlocks, weightBytesPerToken: blockCount * blockBytes + headBytes };
}

/** Weights `[rows, columns]` of standard deviation 1 / √columns as a linear's further inputs. */
function randomMatrix(
  graph: GraphBuilder,
  random: SeededRandom,
  type: OnnxruntimeType,
  rows: number,
  columns: number,
): string[] {
  const deviation = 1 / Math.sqrt(columns);
  if (type === 'float32') {
    const values = new Float32Array(rows * columns);
    fillWords(new Uint32Array(values.buffer), random.nextUint32());
    const words = new Int32Array(values.buffer);
    // Uniform from −√3 to √3 deviations.
    for (let index = 0; index < values.length; index += 1)
      values[index] = (words[index] ?? 0) * 2 ** -31 * Math.sqrt(3) * deviation;
    return [graph.constant('float32', [columns, rows], values)];
  }
  const bits = bitsOf[type];
  const blocks = Math.ceil(columns / blockSize);
  const codes = new Uint8Array((rows * blocks * blockSize * bits) / 8);
  fillWords(new Uint32Array(codes.buffer), random.nextUint32());
  const scale = deviation / Math.sqrt((4 ** bits - 1) / 12);
  return [
    graph.constant('uint8', [rows, blocks, (blockSize * bits) / 8], codes),
    graph.constant('float32', [rows * blocks], new Float32Array(rows * blocks).fill(scale)),
  ];
}

/** xorshift32: a fraction of a nanosecond a byte, where a gigabyte is wanted. */
function fillWords(words: Uint32Array, start: number): void {
  let state = start || 1;
  for (let index = 0; index < words.length; index += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[index] = state;
  }
}
