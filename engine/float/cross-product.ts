import type { FloatDevice } from '../contract/common.ts';
import { numerics } from '../native/numerics.ts';
import { assertFinite } from './finite.ts';
import { GraphBuilder, int } from './onnx/graph-builder.ts';
import { type Feed, GraphSession } from './session.ts';
import type { CrossProductAccumulator } from './types.ts';

/** Outputs `product` Σ w a xᵀ, `leftSum` Σ w a and `rightSum` Σ w x of inputs `left`, `minus` (a = left − minus), `right` and `weight` `[rows, 1]`. */
function buildCrossProductGraph(leftSize: number, rightSize: number, difference: boolean): Uint8Array {
  const graph = new GraphBuilder('cross product');
  const given = graph.input('left', 'float32', ['rows', leftSize]);
  const left = difference
    ? graph.node('Sub', [given, graph.input('minus', 'float32', ['rows', leftSize])])
    : given;
  const right = graph.input('right', 'float32', ['rows', rightSize]);
  const weight = graph.input('weight', 'float32', ['rows', 1]);
  const transposed = (a: string, b: string): string =>
    graph.node('Gemm', [a, b], { attributes: { transA: int(1) } });
  graph.output(transposed(graph.node('Mul', [left, weight]), right), 'product', 'float32', [
    leftSize,
    rightSize,
  ]);
  graph.output(transposed(weight, left), 'leftSum', 'float32', [1, leftSize]);
  graph.output(transposed(weight, right), 'rightSum', 'float32', [1, rightSize]);
  return graph.finish();
}

/** Sessions for cross products, one for each pair of sizes, kept for all blocks. */
export class CrossProducts {
  private readonly sessions = new Map<string, Promise<GraphSession>>();
  private readonly threads: number;
  private readonly device: FloatDevice;

  constructor(threads: number, device: FloatDevice = 'cpu') {
    this.threads = threads;
    this.device = device;
  }

  accumulator(leftSize: number, rightSize: number): CrossProductAccumulator {
    return new OnnxCrossProduct(leftSize, rightSize, (difference) =>
      this.session(leftSize, rightSize, difference),
    );
  }

  async close(): Promise<void> {
    const sessions = [...this.sessions.values()];
    this.sessions.clear();
    for (const session of sessions) await (await session).close();
  }

  private session(leftSize: number, rightSize: number, difference: boolean): Promise<GraphSession> {
    const key = [leftSize, rightSize, difference].join();
    let session = this.sessions.get(key);
    if (!session) {
      session = GraphSession.create(
        buildCrossProductGraph(leftSize, rightSize, difference),
        `cross product of ${leftSize} and ${rightSize} columns`,
        this.threads,
        this.device,
      );
      this.sessions.set(key, session);
    }
    return session;
  }
}

class OnnxCrossProduct implements CrossProductAccumulator {
  readonly leftSize: number;
  readonly rightSize: number;
  readonly product: Float64Array;
  readonly leftSum: Float64Array;
  readonly rightSum: Float64Array;
  private readonly session: (difference: boolean) => Promise<GraphSession>;

  constructor(leftSize: number, rightSize: number, session: (difference: boolean) => Promise<GraphSession>) {
    this.leftSize = leftSize;
    this.rightSize = rightSize;
    this.product = new Float64Array(leftSize * rightSize);
    this.leftSum = new Float64Array(leftSize);
    this.rightSum = new Float64Array(rightSize);
    this.session = session;
  }

  async add(window: Parameters<CrossProductAccumulator['add']>[0], place: string): Promise<void> {
    const { left, minus, right, tokenWeights } = window;
    const rows = right.length / this.rightSize;
    const feeds: Record<string, Feed> = {
      left: { data: left, shape: [rows, this.leftSize] },
      right: { data: right, shape: [rows, this.rightSize] },
      weight: { data: tokenWeights ?? new Float32Array(rows).fill(1), shape: [rows, 1] },
    };
    if (minus) feeds.minus = { data: minus, shape: [rows, this.leftSize] };
    const session = await this.session(minus !== null);
    const outputs = await session.run(feeds);
    // Finite activations beyond 1e18 have products that are not.
    assertFinite(outputs.product!, this.leftSize, place);
    numerics.addToFloat64(this.product, outputs.product!);
    numerics.addToFloat64(this.leftSum, outputs.leftSum!);
    numerics.addToFloat64(this.rightSum, outputs.rightSum!);
  }
}
