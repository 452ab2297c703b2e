import type { Activation, Architecture, Linear, Norm, StageName } from '../../engine/model/architecture.ts';
import type { ModelSource } from '../../engine/model/source.ts';

/**
 * A transformer block in float64, one value after another, as the papers write it; what the float graphs are checked against. Matrices are
 * arrays of rows.
 */
export type Matrix = number[][];

export interface ReferenceOptions {
  activationBits?: 16 | 8 | 6 | 4;
  activationScales?: 'token' | 'block';
  columnScales?: Partial<Record<StageName, Float32Array>>;
}

export interface ReferenceTrace {
  /** Stage inputs before column scale and quantization. */
  floatInputs: Record<StageName, Matrix>;
  /** Stage inputs as the linears see them. */
  stageInputs: Record<StageName, Matrix>;
  residual: Matrix;
  /** The residual stream right behind the additions, before norms that stand behind. */
  sums: Record<'attention-out' | 'mlp-out', Matrix>;
  out: Matrix;
}

export function toMatrix(values: Float32Array, columns: number): Matrix {
  const rows: Matrix = [];
  for (let begin = 0; begin < values.length; begin += columns)
    rows.push([...values.subarray(begin, begin + columns)]);
  return rows;
}

/**
 * Rounds a row, or each 128 of its values, to `bits` and back, in float32 like the graphs: s = max|x| / (2^(bits−1) − 1), half to even.
 */
export function fakeQuantizeRow(
  row: readonly number[],
  bits: 16 | 8 | 6 | 4,
  scales: 'token' | 'block' = 'token',
): number[] {
  if (bits === 16) return [...row];
  if (scales === 'block') {
    const result: number[] = [];
    for (let begin = 0; begin < row.length; begin += 128)
      result.push(...fakeQuantizeRow(row.slice(begin, begin + 128), bits));
    return result;
  }
  const { fround } = Math;
  const values = row.map((value) => fround(value));
  const step = fround(Math.max(...values.map(Math.abs)) / (2 ** (bits - 1) - 1)) || 1;
  return values.map((value) => fround(roundHalfToEven(fround(value / step)) * step));
}

export function roundHalfToEven(value: number): number {
  const floor = Math.floor(value);
  const fraction = value - floor;
  if (fraction !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

export class ReferenceModel {
  private readonly architecture: Architecture;
  private readonly tensor: (name: string) => Float32Array;

  constructor(source: ModelSource) {
    this.architecture = source.architecture;
    this.tensor = (name) => source.readFloat32(name);
  }

  embed(ids: Int32Array): Matrix {
    const { embedding, position, hiddenSize } = this.architecture;
    const table = toMatrix(this.tensor(embedding.table), embedding.embeddingSize);
    let rows: Matrix = [...ids].map((id) => table[id]!);
    if (embedding.projectIn)
      rows = multiply(rows, toMatrix(this.tensor(embedding.projectIn), embedding.embeddingSize));
    if (position.kind !== 'learned') return rows;
    const positions = toMatrix(this.tensor(position.table), hiddenSize);
    return rows.map((row, index) =>
      row.map((value, column) => value + positions[index + position.offset]![column]!),
    );
  }

  block(index: number, hidden: Matrix, options: ReferenceOptions = {}): ReferenceTrace {
    const { architecture } = this;
    const block = architecture.blocks[index]!;
    const pre = architecture.normPlacement === 'pre';
    const floatInputs = {} as Record<StageName, Matrix>;
    const stageInputs = {} as Record<StageName, Matrix>;
    const enter = (stage: StageName, rows: Matrix): Matrix => {
      const scale = options.columnScales?.[stage];
      floatInputs[stage] = rows;
      stageInputs[stage] = rows.map((row) =>
        fakeQuantizeRow(
          scale ? row.map((value, column) => value * scale[column]!) : row,
          options.activationBits ?? 16,
          options.activationScales,
        ),
      );
      return stageInputs[stage];
    };
    const linears = new Map(
      block.stages.flatMap((stage) => stage.linears).map((linear) => [linear.role, linear]),
    );
    const apply = (role: Linear['role'], rows: Matrix): Matrix => this.linear(linears.get(role)!, rows);

    const attentionInput = enter('attention-in', pre ? this.norm(block.attentionNorm, hidden) : hidden);
    const query = this.heads(apply('q', attentionInput), architecture.headCount, block.queryNorm);
    const key = this.heads(apply('k', attentionInput), architecture.keyValueHeadCount, block.keyNorm);
    const value = splitHeads(apply('v', attentionInput), architecture.keyValueHeadCount);
    const normed = (norm: Norm | null, rows: Matrix): Matrix =>
      norm === null ? rows : this.norm(norm, rows);
    const attention = this.attention(query, key, value);
    const attended = enter('attention-out', normed(block.attentionSubNorm, attention));
    const attentionSum = add(hidden, apply('o', attended));
    const residual = pre ? attentionSum : this.norm(block.attentionNorm, attentionSum);
    const mlpInput = enter('mlp-in', pre ? this.norm(block.mlpNorm, residual) : residual);
    const up = apply('up', mlpInput);
    const act = (rows: Matrix): Matrix =>
      rows.map((row) => row.map((x) => activate(architecture.activation, x)));
    const gated = (): Matrix => {
      const gate = act(apply('gate', mlpInput));
      return up.map((row, r) => row.map((x, c) => x * gate[r]![c]!));
    };
    const activated = architecture.mlp === 'gated' ? gated() : act(up);
    const mlpOut = enter('mlp-out', normed(block.mlpSubNorm, activated));
    const mlpSum = add(residual, apply('down', mlpOut));
    const out = pre ? mlpSum : this.norm(block.mlpNorm, mlpSum);
    const sums = { 'attention-out': attentionSum, 'mlp-out': mlpSum };
    return { floatInputs, stageInputs, residual, sums, out };
  }

  /** What the head multiplies: behind final norm and project_out. */
  headInput(hidden: Matrix): Matrix {
    const { finalNorm, embedding, hiddenSize } = this.architecture;
    const rows = finalNorm ? this.norm(finalNorm, hidden) : hidden;
    return embedding.projectOut
      ? multiply(rows, toMatrix(this.tensor(embedding.projectOut), hiddenSize))
      : rows;
  }

  logits(hidden: Matrix): Matrix {
    const { embedding, head } = this.architecture;
    return multiply(this.headInput(hidden), toMatrix(this.tensor(head.weight), embedding.embeddingSize));
  }

  /** −log p of ids[1…]. */
  losses(logits: Matrix, ids: Int32Array): number[] {
    return [...ids.subarray(1)].map((id, index) => {
      const row = logits[index]!;
      const largest = Math.max(...row);
      return Math.log(row.reduce((sum, x) => sum + Math.exp(x - largest), 0)) + largest - row[id]!;
    });
  }

  private norm(norm: Norm, rows: Matrix): Matrix {
    const weight = norm.weight ? this.tensor(norm.weight) : null;
    const bias = norm.bias ? this.tensor(norm.bias) : null;
    return rows.map((row) => {
      const mean = norm.kind === 'layer' ? row.reduce((sum, x) => sum + x, 0) / row.length : 0;
      const variance = row.reduce((sum, x) => sum + (x - mean) ** 2, 0) / row.length;
      const factor = 1 / Math.sqrt(variance + norm.epsilon);
      return row.map((x, column) => (x - mean) * factor * (weight?.[column] ?? 1) + (bias?.[column] ?? 0));
    });
  }

  private linear(linear: Linear, rows: Matrix): Matrix {
    const product = multiply(rows, toMatrix(this.tensor(`${linear.name}.weight`), linear.inFeatures));
    if (!linear.bias) return product;
    const bias = this.tensor(linear.bias);
    return product.map((row) => row.map((x, column) => x + bias[column]!));
  }

  /** `[head][position][dimension]`, normed and rotated. */
  private heads(rows: Matrix, count: number, norm: Norm | null): Matrix[] {
    return splitHeads(rows, count).map((head) =>
      (norm ? this.norm(norm, head) : head).map((row, position) => this.rotate(row, position)),
    );
  }

  /** Dimension i turns together with dimension i + half, by position · frequency_i. */
  private rotate(row: readonly number[], position: number): number[] {
    const rope = this.architecture.position;
    if (rope.kind !== 'rope') return [...row];
    const half = rope.rotaryDimensions / 2;
    const result = [...row];
    for (let index = 0; index < half; index++) {
      let frequency = rope.theta ** ((-2 * index) / rope.rotaryDimensions);
      const { scaling } = rope;
      if (scaling.kind === 'linear') frequency /= scaling.factor;
      if (scaling.kind === 'llama3') {
        const turns = (scaling.originalContextLength * frequency) / (2 * Math.PI);
        const kept =
          (turns - scaling.lowFrequencyFactor) / (scaling.highFrequencyFactor - scaling.lowFrequencyFactor);
        const share = Math.min(1, Math.max(0, kept));
        frequency = ((1 - share) * frequency) / scaling.factor + share * frequency;
      }
      const angle = position * frequency;
      result[index] = row[index]! * Math.cos(angle) - row[index + half]! * Math.sin(angle);
      result[index + half] = row[index + half]! * Math.cos(angle) + row[index]! * Math.sin(angle);
    }
    return result;
  }

  private attention(query: Matrix[], key: Matrix[], value: Matrix[]): Matrix {
    const { headCount, keyValueHeadCount, headDimension, slidingWindow } = this.architecture;
    const positions = query[0]!.length;
    const reach = slidingWindow ?? positions;
    return Array.from({ length: positions }, (_, position) =>
      Array.from({ length: headCount }, (_, head) => {
        const shared = Math.floor(head / (headCount / keyValueHeadCount));
        const first = Math.max(0, position - reach + 1);
        const scores: number[] = [];
        for (let other = first; other <= position; other++)
          scores.push(dot(query[head]![position]!, key[shared]![other]!) / Math.sqrt(headDimension));
        const largest = Math.max(...scores);
        const exponentials = scores.map((score) => Math.exp(score - largest));
        const total = exponentials.reduce((sum, x) => sum + x, 0);
        return Array.from({ length: headDimension }, (_, dimension) =>
          exponentials.reduce(
            (sum, x, index) => sum + (x / total) * value[shared]![first + index]![dimension]!,
            0,
          ),
        );
      }).flat(),
    );
  }
}

function splitHeads(rows: Matrix, count: number): Matrix[] {
  const width = rows[0]!.length / count;
  return Array.from({ length: count }, (_, head) =>
    rows.map((row) => row.slice(head * width, (head + 1) * width)),
  );
}

function dot(left: readonly number[], right: readonly number[]): number {
  let sum = 0;
  for (let index = 0; index < left.length; index++) sum += left[index]! * right[index]!;
  return sum;
}

/** X Wᵀ. */
function multiply(rows: Matrix, weight: Matrix): Matrix {
  return rows.map((row) => weight.map((weightRow) => dot(row, weightRow)));
}

function add(left: Matrix, right: Matrix): Matrix {
  return left.map((row, r) => row.map((x, c) => x + right[r]![c]!));
}

function activate(kind: Activation, x: number): number {
  switch (kind) {
    case 'relu':
      return Math.max(0, x);
    case 'relu_squared':
      return Math.max(0, x) ** 2;
    case 'silu':
      return x / (1 + Math.exp(-x));
    case 'quick_gelu':
      return x / (1 + Math.exp(-1.702 * x));
    case 'gelu':
      return (x / 2) * (1 + errorFunction(x / Math.SQRT2));
    case 'gelu_tanh':
      return (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  }
}

/** erf by its Maclaurin series, which converges everywhere; beyond 5 it is ±1 in float64 to 1e-12. */
function errorFunction(x: number): number {
  if (Math.abs(x) > 5) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; n < 200; n++) {
    term *= -(x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}
