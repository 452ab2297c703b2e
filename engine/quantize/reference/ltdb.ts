/**
 * Learnable Transformation for Dual-Bell (DBellQuant, arXiv 2507.01027; docs/method.md, section 1), plain and slow. Float32 arithmetic in the order of the native
 * code, so that results can be compared bit by bit; `arithmetic` may be the identity to look at the same formulas in float64.
 */

export interface LtdbOptions {
  epsilon: number;
  training: 'start' | 'trained';
  learningRate: number;
  maximumEpochs: number;
  loss: 'l2' | 'l1';
  blockSize: number;
}

/** |t| counts at least as this fraction of |a| + b where a loss divides by it (engine/native/src/numerics/ltdb_constants.h). */
const smallestTargetFraction = Math.fround(0.01);
const smallestScale = Math.fround(1e-5);
const largestStart = Math.fround(1e30);

/** A gradient's sum over the rows is formed in this many parts: row i belongs to part i mod 16. */
const partialSums = 16;

export interface LtdbLosses {
  /** L_DTNP = 100 · mean of ((z − t) / t)² (l2) or |(z − t) / t| (l1), t the nearer of a ± b. */
  proportional: number;
  /** L_DTMD = mean |z − t|. */
  deviation: number;
  /** dL_DTNP / dT. */
  gradient: number[];
}

/** Losses of the rows of a block, Z = W · diag(T), and the gradient through z, a = mean z and b = mean |z − a|. */
export function ltdbLosses(
  rows: number[][],
  scale: number[],
  loss: 'l2' | 'l1',
  arithmetic: (value: number) => number = Math.fround,
): LtdbLosses {
  const f = arithmetic;
  const columns = scale.length;
  const add = (values: number[]) => values.reduce((total, value) => f(total + value), 0);
  const parts = scale.map(() => new Array<number>(partialSums).fill(0));
  let proportional = 0;
  let deviation = 0;
  rows.forEach((weights, i) => {
    const z = weights.map((weight, j) => f(weight * (scale[j] as number)));
    const a = f(add(z) / columns);
    const centred = z.map((value) => f(value - a));
    const b = f(add(centred.map(Math.abs)) / columns);
    const signMean = f(add(centred.map(Math.sign)) / columns);
    const floor = f(f(Math.abs(a) + b) * smallestTargetFraction);
    const [upper, lower] = [target(f(a + b), floor, f), target(f(a - b), floor, f)];

    let rowLoss = 0;
    let rowDeviation = 0;
    let throughUpper = 0;
    let throughLower = 0;
    const direct = z.map((value) => {
      const toUpper = Math.abs(f(value - upper.value));
      const toLower = Math.abs(f(value - lower.value));
      const near = toUpper < toLower ? upper : lower;
      const ratio = f(f(value - near.value) * near.inverse);
      rowDeviation = f(rowDeviation + Math.min(toUpper, toLower));
      rowLoss = f(rowLoss + (loss === 'l2' ? f(ratio * ratio) : Math.abs(ratio)));
      const gradient = loss === 'l2' ? f(f(2 * ratio) * near.inverse) : Math.sign(ratio) * near.inverse;
      // d((z − t) / t) / dt = −z / t²; −1 / divisor where the divisor counts as a constant.
      const throughTarget = f(-gradient * (near.raised ? 1 : f(value * near.inverse)));
      if (near === upper) throughUpper = f(throughUpper + throughTarget);
      else throughLower = f(throughLower + throughTarget);
      return gradient;
    });
    proportional += rowLoss;
    deviation += rowDeviation;

    const throughMean = f(f(throughUpper + throughLower) / columns);
    const throughWidth = f(f(throughUpper - throughLower) / columns);
    direct.forEach((gradient, j) => {
      const through = f(throughWidth * f(Math.sign(centred[j] as number) - signMean));
      const whole = f(f(gradient + throughMean) + through);
      const part = parts[j] as number[];
      const at = i % partialSums;
      part[at] = f((part[at] as number) + f(whole * (weights[j] as number)));
    });
  });
  const factor = 100 / (rows.length * columns);
  return {
    proportional: proportional * factor,
    deviation: deviation / (rows.length * columns),
    gradient: parts.map((part) => part.reduce((total, value) => total + value, 0) * factor),
  };
}

interface Target {
  value: number;
  /** 1 / t; 0 in a row of zeros. */
  inverse: number;
  raised: boolean;
}

function target(value: number, floor: number, f: (value: number) => number): Target {
  const raised = Math.abs(value) < floor;
  const divisor = raised ? (value >= 0 ? floor : -floor) : value;
  return { value, inverse: divisor === 0 ? 0 : f(1 / divisor), raised };
}

/** T0 = max|X|^epsilon / max|W|^(1 − epsilon). */
export function ltdbStart(absMax: number, weightMaximum: number, epsilon: number): number {
  const scale = Math.fround(absMax ** epsilon / weightMaximum ** (1 - epsilon));
  return Math.min(Math.max(scale, smallestScale), largestStart);
}

export interface LtdbBlock {
  scale: number[];
  lossCurve: number[];
  stoppedEarly: boolean;
  keptStart: boolean;
}

const allFinite = (losses: LtdbLosses) =>
  [losses.proportional, losses.deviation, ...losses.gradient].every(Number.isFinite);

/** Full-batch gradient descent on one block. */
export function trainBlock(rows: number[][], start: number[], options: LtdbOptions): LtdbBlock {
  const result: LtdbBlock = { scale: start, lossCurve: [], stoppedEarly: false, keptStart: false };
  let scale = start;
  let kept = start;
  let best = start;
  let leastLoss = Number.POSITIVE_INFINITY;
  let lastDeviation = Number.POSITIVE_INFINITY;
  for (let epoch = 0; epoch < options.maximumEpochs; epoch++) {
    const losses = ltdbLosses(rows, scale, options.loss);
    result.lossCurve.push(losses.proportional);
    if (!allFinite(losses)) return { ...result, scale: start, keptStart: true };
    if (losses.deviation > lastDeviation) {
      result.stoppedEarly = true;
      break;
    }
    lastDeviation = losses.deviation;
    const next = scale.map((value, j) =>
      Math.fround(value - options.learningRate * (losses.gradient[j] as number)),
    );
    if (losses.proportional < leastLoss) {
      leastLoss = losses.proportional;
      best = scale;
      kept = next;
    }
    scale = next;
  }
  if (options.maximumEpochs === 0) return result;
  const losses = ltdbLosses(rows, kept, options.loss);
  const worse = !allFinite(losses) || losses.proportional > (result.lossCurve[0] as number);
  return { ...result, scale: worse ? best : kept };
}

export function trainLtdb(
  weight: Float32Array,
  outFeatures: number,
  inFeatures: number,
  absMax: Float32Array,
  weightMaximum: Float32Array | null,
  options: LtdbOptions,
): { scale: Float32Array; blocks: LtdbBlock[] } {
  const row = (i: number) => weight.subarray(i * inFeatures, (i + 1) * inFeatures);
  const rows = Array.from({ length: outFeatures }, (_, i) => [...row(i)]);
  const scale = new Float32Array(inFeatures).fill(1);
  const blocks: LtdbBlock[] = [];
  for (let first = 0; first < inFeatures; first += options.blockSize) {
    const maximumOf = (j: number) =>
      weightMaximum?.[j] ?? Math.max(...rows.map((values) => Math.abs(values[j] as number)));
    const columns = Array.from(
      { length: Math.min(options.blockSize, inFeatures - first) },
      (_, j) => first + j,
    ).filter((j) => maximumOf(j) !== 0 && absMax[j] !== 0);
    const start = columns.map((j) => ltdbStart(absMax[j] as number, maximumOf(j), options.epsilon));
    const none: LtdbBlock = { scale: start, lossCurve: [], stoppedEarly: false, keptStart: false };
    const block =
      options.training === 'trained' && columns.length > 0
        ? trainBlock(
            rows.map((values) => columns.map((j) => values[j] as number)),
            start,
            options,
          )
        : none;
    blocks.push(block);
    columns.forEach((j, index) => {
      const value = block.scale[index] as number;
      scale[j] = Math.abs(value) >= smallestScale ? value : value < 0 ? -smallestScale : smallestScale;
    });
  }
  return { scale, blocks };
}
