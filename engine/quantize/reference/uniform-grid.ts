import { type CompensationKind, compensateRow, errorOfBlock } from './error-compensation.ts';
import { halfToNumber, storedHalf } from './half-precision.ts';

/**
 * Uniform grids by row and block: rounding (RTN) and GPTQ, and one bit with a mean (docs/method.md, sections 2 and 4). Plain and slow, float32 arithmetic in the order of
 * the native code.
 */

const float = Math.fround;

/** value = scale · (code − (levels − 1) / 2) + offset; scale and offset as fp16 bits. */
export interface BlockGrid {
  scale: number;
  offset: number;
}

/**
 * Scale and offset of one row's block. One bit: mean and mean absolute deviation from the stored mean; else the range from least to greatest weight,
 * zero included, moved so that zero is one of the levels (an integer zero point, as GPTQ's own quantizer has it).
 */
export function gridOfBlock(weights: Float32Array, levels: number): BlockGrid {
  if (levels === 2) {
    let sum = 0;
    for (const weight of weights) sum = float(sum + weight);
    const offset = storedHalf(float(sum / weights.length));
    const mean = halfToNumber(offset);
    let deviation = 0;
    for (const weight of weights) deviation = float(deviation + Math.abs(float(weight - mean)));
    return { scale: storedHalf(float(2 * float(deviation / weights.length))), offset };
  }
  let low = weights[0] as number;
  let high = low;
  for (const weight of weights) {
    low = Math.min(low, weight);
    high = Math.max(high, weight);
  }
  const middle = storedHalf(float(float(high * 0.5) + float(low * 0.5)));
  const from = Math.min(low, 0);
  const to = Math.max(high, 0);
  const last = levels - 1;
  const full = storedHalf(low === high ? 0 : float(float(to - from) / last));
  const stored = levels <= 16 ? shortened(full, levels) : full;
  const scale = halfToNumber(stored);
  if (scale === 0) return { scale: stored, offset: middle };
  const zeroPoint = Math.floor(float(Math.min(float(-from / scale), last) + 0.5));
  return { scale: stored, offset: storedHalf(float(scale * (last / 2 - zeroPoint))) };
}

/**
 * An fp16 scale rounded to so few significant bits that its odd multiples by up to (levels − 1)/2 are fp16 numbers: then the offset, and with it the level for
 * zero, is exact.
 */
function shortened(half: number, levels: number): number {
  const unit = 2 ** Math.ceil(Math.log2(levels));
  return Math.min(Math.floor((half + unit / 2) / unit) * unit, 0x7c00 - unit);
}

/** The nearest code for one weight. */
export function codeOf(weight: number, grid: BlockGrid, levels: number): number {
  const scale = halfToNumber(grid.scale);
  const offset = halfToNumber(grid.offset);
  if (levels === 2) return float(weight - offset) >= 0 ? 1 : 0;
  if (scale === 0) return 0;
  const position = float(float(float(weight - offset) / scale) + (levels - 1) / 2);
  return Math.floor(float(Math.min(Math.max(position, 0), levels - 1) + 0.5));
}

/** The weight that a code stands for. */
export function dequantizedWeight(code: number, grid: BlockGrid, levels: number): number {
  return float(float(halfToNumber(grid.scale) * (code - (levels - 1) / 2)) + halfToNumber(grid.offset));
}

export function quantizeUniform(
  weight: Float32Array,
  outFeatures: number,
  inFeatures: number,
  factor: Float32Array | null,
  options: { bits: number; compensation: CompensationKind; blockSize: number },
): { codes: Uint8Array; scales: Uint16Array; offsets: Uint16Array } {
  const levels = 2 ** options.bits;
  const blocks = Math.ceil(inFeatures / options.blockSize);
  const codes = new Uint8Array(outFeatures * inFeatures);
  const scales = new Uint16Array(outFeatures * blocks);
  const offsets = new Uint16Array(outFeatures * blocks);
  const kind = factor === null ? 'none' : options.compensation;
  for (let i = 0; i < outFeatures; i++) {
    const row = weight.slice(i * inFeatures, (i + 1) * inFeatures);
    for (let block = 0; block < blocks; block++) {
      const first = block * options.blockSize;
      const current = row.subarray(first, Math.min(first + options.blockSize, inFeatures));
      const grid = gridOfBlock(current, levels);
      scales[i * blocks + block] = grid.scale;
      offsets[i * blocks + block] = grid.offset;
      const error = new Float32Array(current.length);
      for (let j = 0; j < current.length; j++) {
        const code = codeOf(current[j] as number, grid, levels);
        codes[i * inFeatures + first + j] = code;
        error[j] = float((current[j] as number) - dequantizedWeight(code, grid, levels));
        if (factor !== null && kind === 'column') {
          const start = (first + j) * inFeatures + first;
          error[j] = float((error[j] as number) / (factor[start + j] as number));
          for (let k = j + 1; k < current.length; k++)
            current[k] = float(
              (current[k] as number) - float((error[j] as number) * (factor[start + k] as number)),
            );
        }
      }
      if (factor === null || kind === 'none') continue;
      if (kind !== 'column') errorOfBlock(error, factor, inFeatures, first, kind);
      compensateRow(row, error, factor, inFeatures, first);
    }
  }
  return { codes, scales, offsets };
}
