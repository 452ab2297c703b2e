import type { CrossProductAccumulator, FloatEngine, StageState } from '../float/types.ts';
import type { Stage } from '../model/architecture.ts';
import { numerics } from '../native/numerics.ts';
import { stageWidth } from './cost-model.ts';
import type { FloatTaps } from './float-taps.ts';
import { maximumDamping } from './limits.ts';
import { type Recipe, targetsOf } from './recipe.ts';
import { isResidualStage, targetTap } from './target-tap.ts';

/** W̃ of all linears of a stage, one below the other, and what had to be done beyond the recipe. */
export interface SolvedTargets {
  /** `[Σ out, in]`. */
  weight: Float32Array;
  notes: string[];
}

/**
 * Gathers, while the quantized stream passes a stage, what the weights are to be fitted to (method.md section 8), and solves for it. With x the
 * quantized stream's input of the stage, w the token weights and H = Σ w x xᵀ:
 *
 * - from the full-precision stream's input x_fp: the weight that best reproduces W x_fp, W̃ = (W C + λW)(H + λI)⁻¹, C = Σ w x_fp xᵀ;
 * - for a stage whose output is added to the residual stream R, with `residual` targets: the weight that best brings the quantized stream back to the
 *   full-precision one, W̃ = (Σ w Y* xᵀ + λW)(H + λI)⁻¹, Y* = R_fp,behind − R_q,before − bias.
 */
export class StageTargets {
  private readonly stage: Stage;
  private readonly recipe: Recipe;
  private readonly taps: FloatTaps;
  private readonly sums: CrossProductAccumulator;
  private readonly place: string;
  private tokens = 0;

  private constructor(
    stage: Stage,
    recipe: Recipe,
    taps: FloatTaps,
    sums: CrossProductAccumulator,
    place: string,
  ) {
    this.stage = stage;
    this.recipe = recipe;
    this.taps = taps;
    this.sums = sums;
    this.place = place;
  }

  /** Null where the stage's weights are fitted to themselves. */
  static of(
    engine: FloatEngine,
    stage: Stage,
    blockIndex: number,
    recipe: Recipe,
    taps: FloatTaps | null,
  ): StageTargets | null {
    const tap = targetTap(recipe, stage.name);
    if (tap === null || !taps) return null;
    const width = stageWidth(stage);
    const leftSize = tap === 'sum' ? outFeaturesOf(stage) : width;
    const sums = engine.newCrossProduct(leftSize, width);
    return new StageTargets(stage, recipe, taps, sums, `block ${blockIndex}: targets of stage ${stage.name}`);
  }

  /** Adds a window whose quantized stream has just reached the stage. */
  async add(window: number, state: StageState): Promise<void> {
    const { stage, taps } = this;
    const right = state.stageInput;
    if (!right) throw new Error(`${this.place}: the stage has not been entered`);
    const tokenWeights = taps.tokenWeights(stage.name, window)?.weights ?? null;
    this.tokens += right.length / stageWidth(stage);
    if (this.isResidual && isResidualStage(stage.name)) {
      const left = taps.sum(stage.name, window);
      const minus = stage.name === 'attention-out' ? state.hidden : state.residual;
      if (!minus) throw new Error(`${this.place}: the state holds no residual stream`);
      await this.sums.add({ left, minus, right, tokenWeights }, this.place);
    } else {
      await this.sums.add(
        { left: taps.input(stage.name, window), minus: null, right, tokenWeights },
        this.place,
      );
    }
  }

  /**
   * W̃ from all windows.
   *
   * @param weight W of all linears of the stage, one below the other, `[Σ out, in]`
   * @param bias of the linear, `[out]`, or null; only residual targets look at it
   * @param hessian H, undamped, times `factor`
   * @param factor what the plain sums Σ w x xᵀ were multiplied by to give `hessian`
   */
  solve(
    weight: Float32Array,
    bias: Float32Array | null,
    hessian: Float64Array,
    factor: number,
  ): SolvedTargets {
    const inFeatures = stageWidth(this.stage);
    const outFeatures = outFeaturesOf(this.stage);
    const crossProduct = this.isResidual
      ? this.residualCrossProduct(bias)
      : numerics.multiply(weight, this.sums.product, outFeatures, inFeatures, inFeatures);
    for (let index = 0; index < crossProduct.length; index += 1) {
      crossProduct[index] = (crossProduct[index] ?? 0) * factor;
    }
    const { damping } = targetsOf(this.recipe);
    const { target, dampingUsed } = numerics.solveTargets(
      weight,
      crossProduct,
      hessian,
      outFeatures,
      inFeatures,
      { damping, maximumDamping: Math.max(damping, maximumDamping) },
    );
    if (!target) {
      return {
        weight,
        notes: ['targets could not be solved for at any damping; the own weights were fitted'],
      };
    }
    const notes =
      dampingUsed > damping
        ? [`damping of the targets was raised from ${damping} to ${dampingUsed} of the mean diagonal`]
        : [];
    return { weight: target, notes };
  }

  /**
   * The bias that takes what is left of the residual stream's error on the (weighted) mean, Σ w (R_fp − R_q − Ŵx) / Σ w; null where the targets are not
   * those of the residual stream.
   *
   * @param restored Ŵ with its column scale, `[out, in]`
   */
  correctedBias(restored: Float32Array): Float32Array | null {
    if (!this.isResidual || this.tokens === 0) return null;
    const { leftSum, rightSum } = this.sums;
    const inFeatures = rightSum.length;
    // Token weights have mean 1, so the tokens' number is the sum of their weights.
    return Float32Array.from(leftSum, (left, row) => {
      let product = 0;
      for (let column = 0; column < inFeatures; column += 1) {
        product += (restored[row * inFeatures + column] ?? 0) * (rightSum[column] ?? 0);
      }
      return (left - product) / this.tokens;
    });
  }

  private get isResidual(): boolean {
    return targetTap(this.recipe, this.stage.name) === 'sum';
  }

  /** Σ w Y* xᵀ = Σ w (R_fp − R_q) xᵀ − bias (Σ w x)ᵀ. */
  private residualCrossProduct(bias: Float32Array | null): Float64Array {
    const { product, rightSum } = this.sums;
    if (!bias) return product.slice();
    const inFeatures = rightSum.length;
    return product.map(
      (value, index) =>
        value - (bias[Math.floor(index / inFeatures)] ?? 0) * (rightSum[index % inFeatures] ?? 0),
    );
  }
}

function outFeaturesOf(stage: Stage): number {
  return stage.linears.reduce((sum, linear) => sum + linear.outFeatures, 0);
}
