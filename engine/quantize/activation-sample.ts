import type { StageState } from '../float/types.ts';
import { hessianFactor } from './layer.ts';
import { activationSampleTokens } from './limits.ts';

/**
 * A sample of a stage's inputs, for a column scale that knows what rounding c∘x to few bits costs: evenly spread tokens of all windows, at other positions of each
 * window (the first positions of windows are like no others).
 */
export class ActivationSample {
  private readonly context: number;
  private readonly width: number;
  private readonly stride: number;
  private readonly inputs: Float32Array;
  private readonly weights: Float32Array;
  private count = 0;

  constructor(windowCount: number, context: number, width: number) {
    const tokens = windowCount * context;
    this.context = context;
    this.width = width;
    // Odd, so that it never divides the usual context lengths.
    const stride = Math.floor(tokens / activationSampleTokens);
    this.stride = stride <= 1 ? 1 : stride | 1;
    const count = Math.ceil(tokens / this.stride);
    this.inputs = new Float32Array(count * width);
    this.weights = new Float32Array(count);
  }

  /**
   * Takes the tokens of a window that belong to the sample.
   *
   * @param tokenWeights w, `[context]`, or null for 1
   */
  add(window: number, { stageInput }: StageState, tokenWeights: Float32Array | null): void {
    if (!stageInput) throw new Error('the stage has not been entered');
    const begin = window * this.context;
    const first = Math.ceil(begin / this.stride) * this.stride - begin;
    for (let token = first; token < this.context; token += this.stride) {
      const row = stageInput.subarray(token * this.width, (token + 1) * this.width);
      this.inputs.set(row, this.count * this.width);
      this.weights[this.count] = tokenWeights?.[token] ?? 1;
      this.count += 1;
    }
  }

  /** Inputs `[tokens, in]` and weights `[tokens]` with Σ w x xᵀ an estimate of the stage's H. */
  result(): { inputs: Float32Array; weights: Float32Array } {
    const factor = hessianFactor(this.count);
    return { inputs: this.inputs, weights: this.weights.map((value) => value * factor) };
  }
}
