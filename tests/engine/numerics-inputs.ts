import type { GridFitOptions } from '../../engine/native/numerics.ts';
import { inverseCholeskyFactor } from '../../engine/quantize/reference/cholesky.ts';

/** Inputs for the tests of the quantization numerics: seeded, so that a failure can be repeated. */

/** What grids are fitted with unless a test is about something else. */
export const gridFitDefaults = {
  levels: 4,
  rounds: 4,
  sweeps: 2,
  blockSize: 128,
  damping: 0.01,
  maximumDamping: 1,
  rowRidge: 1e-4,
  columnRidge: 1e-3,
  columnScale: 'free',
} satisfies GridFitOptions;

/** Uniform numbers in [0, 1) (mulberry32). */
export function uniformNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function normalNumbers(seed: number): () => number {
  const uniform = uniformNumbers(seed);
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** Weights as in a layer: normal, a few columns and single entries much larger. */
export function randomWeight(outFeatures: number, inFeatures: number, seed: number): Float32Array {
  const normal = normalNumbers(seed);
  const uniform = uniformNumbers(seed + 1);
  const columns = Array.from({ length: inFeatures }, () => (uniform() < 0.06 ? 6 : 1) * (0.5 + uniform()));
  return Float32Array.from(
    { length: outFeatures * inFeatures },
    (_, index) => 0.05 * normal() * (columns[index % inFeatures] as number) * (uniform() < 0.003 ? 20 : 1),
  );
}

/** 2/n · XᵀX of correlated inputs; with fewer tokens than columns it is singular. */
export function randomHessian(
  size: number,
  tokens: number,
  seed: number,
  deadColumns: number[] = [],
): Float64Array {
  const normal = normalNumbers(seed);
  const scales = Array.from({ length: size }, () => Math.exp(normal()));
  const hessian = new Float64Array(size * size);
  for (let token = 0; token < tokens; token++) {
    let carried = 0;
    const input = scales.map((scale, column) => {
      carried = 0.6 * carried + normal();
      return deadColumns.includes(column) ? 0 : Math.fround(scale * carried);
    });
    for (let i = 0; i < size; i++)
      for (let j = 0; j < size; j++)
        hessian[i * size + j] =
          (hessian[i * size + j] as number) + (2 / tokens) * (input[i] as number) * (input[j] as number);
  }
  return hessian;
}

/** U of a random H, float32. */
export function randomFactor(size: number, seed: number): Float32Array {
  const factor = inverseCholeskyFactor(randomHessian(size, 2 * size + 8, seed), size, 0.01);
  if (factor === null) throw new Error('the random Hessian is not positive definite');
  return Float32Array.from(factor);
}

/** Rows that broke other quantizers, each `[width]`. */
export function hostileRows(width: number): { name: string; row: Float32Array }[] {
  const row = (of: (column: number) => number) =>
    Float32Array.from({ length: width }, (_, column) => of(column));
  return [
    { name: 'all zero', row: row(() => 0) },
    { name: 'all negative zero', row: row(() => -0) },
    { name: 'all +5', row: row(() => 5) },
    { name: 'all −5', row: row(() => -5) },
    { name: 'all 0.1', row: row(() => 0.1) },
    { name: 'all 1e-7', row: row(() => 1e-7) },
    { name: 'all subnormal', row: row(() => 1e-39) },
    { name: 'one giant among dwarfs', row: row((column) => (column === width >> 1 ? 1e3 : 1e-6)) },
    { name: 'alternating sign', row: row((column) => (column % 2 === 0 ? 0.25 : -0.25)) },
    { name: 'alternating zero signs', row: row((column) => (column % 2 === 0 ? 0 : -0)) },
    { name: 'beyond fp16', row: row((column) => (column % 3 === 0 ? 1e6 : -3e5)) },
    { name: 'at the edge of float32', row: row((column) => (column % 2 === 0 ? 3e38 : -3e38)) },
  ];
}
