import type { ResidualStage } from '../float/types.ts';
import type { StageName } from '../model/architecture.ts';
import { type Recipe, targetsOf } from './recipe.ts';

/** The stages whose output is added to the residual stream. */
export const residualStages: readonly ResidualStage[] = ['attention-out', 'mlp-out'];

export function isResidualStage(stage: StageName): stage is ResidualStage {
  return stage === 'attention-out' || stage === 'mlp-out';
}

/** What the recipe's targets need of the full-precision stream at a stage: its input, the residual stream behind it, or nothing. */
export function targetTap(recipe: Recipe, stage: StageName): 'input' | 'sum' | null {
  const { kind } = targetsOf(recipe);
  if (kind === 'own') return null;
  return kind === 'residual' && isResidualStage(stage) ? 'sum' : 'input';
}
