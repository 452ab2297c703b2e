import { type Recipe, targetsOf } from './recipe.ts';

/** Why a field of a recipe decides nothing there, and with what it would. */
interface Idle {
  because: string;
  remedy: string;
}

/** H of the linears' inputs is what most fields are about; `usesHessians` is resolve-recipe's. */
type Judge = (recipe: Recipe, usesHessians: boolean) => Idle | null;

const needsHessians: Judge = (_, usesHessians) =>
  usesHessians
    ? null
    : {
        because: 'the recipe gathers no Hessians (compensation.kind=none)',
        remedy: 'compensation.kind=column',
      };

const needsTraining: Judge = ({ transform }) =>
  transform.kind === 'ltdb' && transform.training === 'start'
    ? { because: 'T is not trained (transform.training=start)', remedy: 'transform.training=trained' }
    : null;

const needsRounds: Judge = ({ binarizer }) =>
  binarizer.kind === 'grid' && binarizer.rounds === 0
    ? { because: 'the grid is not fitted (binarizer.rounds=0)', remedy: 'binarizer.rounds of at least 1' }
    : null;

const needsColumnScale: Judge = ({ binarizer }) =>
  binarizer.kind === 'grid' && binarizer.columnScale === 'none'
    ? {
        because: 'the grid has no column scale (binarizer.columnScale=none)',
        remedy: 'binarizer.columnScale=free or folded',
      }
    : null;

const needsRoundedActivations: Judge = ({ activationBits }) =>
  activationBits === 16
    ? { because: 'activations are not rounded (activationBits=16)', remedy: 'activationBits=8, 6 or 4' }
    : null;

const needsTargets: Judge = (recipe) =>
  targetsOf(recipe).kind === 'own'
    ? {
        because: "the layers' own weights are quantized (targets.kind=own)",
        remedy: 'targets.kind=shifted or residual; what is added to H is compensation.damping',
      }
    : null;

const needsSalientColumns: Judge = ({ binarizer }) =>
  binarizer.kind === 'structured' && binarizer.maximumSalientColumns === 0
    ? {
        because: 'no column is salient (binarizer.maximumSalientColumns=0)',
        remedy: 'binarizer.maximumSalientColumns of at least 1',
      }
    : null;

/** Fields that other fields can make idle, by their path. */
const judges: Readonly<Record<string, readonly Judge[]>> = {
  'targets.damping': [needsTargets],
  'compensation.damping': [needsHessians],
  'compensation.hessian': [needsHessians],
  'transform.learningRate': [needsTraining],
  'transform.maximumEpochs': [needsTraining],
  'transform.loss': [needsTraining],
  'binarizer.sweeps': [needsRounds],
  'binarizer.rowRidge': [needsRounds],
  'binarizer.columnRidge': [needsColumnScale, needsRounds],
  'binarizer.roundingAwareBits': [needsRoundedActivations],
  'binarizer.percentilesOver': [needsSalientColumns],
};

/** Why the field at `path` decides nothing in this recipe, and with what it would; null where it decides something. */
export function idleField(path: string, recipe: Recipe, usesHessians: boolean): Idle | null {
  for (const judge of judges[path] ?? []) {
    const idle = judge(recipe, usesHessians);
    if (idle !== null) return idle;
  }
  return null;
}
