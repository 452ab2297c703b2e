import { existsSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { TokenWindows } from '../../../engine/calibration/windows.ts';
import type { ActivationBits } from '../../../engine/float/types.ts';
import { openPackage } from '../../../engine/package/open.ts';
import type { PackageSource } from '../../../engine/package/types.ts';
import { compareSteps, type StepResults, type Worst } from '../agreement-checks.ts';
import { compareLogits, compareLosses, compareLossesWithSameCodes } from '../agreement-losses.ts';
import { type AgreementModel, agreementModels, makePackage, windowsOf } from '../agreement-packages.ts';
import { assets } from '../command.ts';
import { atLeast, atMost, type Figure, type Item } from '../harness.ts';
import { packagePath } from '../quantize-and-measure.ts';

/** What was asked of the packed runtime. Rounding flips of activations make closer logits at 8 and 6 bits impossible; there the mean loss counts. */
export const agreementLimits = {
  linearRelativeError: 1e-5,
  blockRelativeError: 1e-5,
  logitsRelativeError: 1e-3,
  meanLossNats: 0.002,
  lossTokens: 16_000,
  /** Tokens are added until the measured difference is this sure (one standard error): flips make it random, by up to 0.0011 nats over 16,000 tokens. */
  meanLossStandardError: 0.0005,
} as const;

const allBits = [16, 8, 6] as const;
const roundedBits = [8, 6] as const;

export const agreementItems: Item[] = agreementModels.flatMap((model) =>
  model.recipes.map((recipe) => ({
    id: `agreement/${model.id}/${recipe}`,
    title: `Packed runtime against float path: ${model.id}, ${recipe}; integers, linears, blocks, logits, mean losses`,
    run: ({ scratch, log }) => compareModel(model, recipe, scratch, log),
  })),
);

async function compareModel(
  model: AgreementModel,
  recipe: string,
  scratch: string,
  log: (message: string) => void,
): Promise<Figure[]> {
  const threads = os.availableParallelism();
  const figures: Figure[] = [];
  // One package for all activation bits, or one for each where there are such.
  const groups = model.recipesByActivationBits.includes(recipe) ? allBits.map((bits) => [bits]) : [allBits];
  for (const group of groups) {
    const out = await packageOf(model, recipe, group[0]!, scratch, threads, log);
    const source = await openPackage(out);
    try {
      figures.push(...(await comparePackage(model, source, group, threads, log)));
    } finally {
      source.close();
    }
  }
  return figures;
}

/** The package of a model and recipe, made unless it is there. */
export async function packageOf(
  model: AgreementModel,
  recipe: string,
  activationBits: ActivationBits,
  scratch: string,
  threads: number,
  log: (message: string) => void,
): Promise<string> {
  const out = packagePath(scratch, model.packageName, recipe, activationBits);
  if (existsSync(out)) return out;
  const { calibration } = model;
  if (!calibration)
    throw new Error(
      `${path.basename(out)} is missing; run the item ${model.packageName}/${recipe}-a${activationBits} first`,
    );
  log(`quantizing ${path.basename(out)}`);
  await makePackage({
    modelPath: path.join(assets, model.path),
    recipe,
    activationBits,
    calibration: (source) => windowsOf(source, path.join(assets, calibration.path), calibration),
    out,
    threads,
  });
  return out;
}

async function comparePackage(
  model: AgreementModel,
  source: PackageSource,
  bits: readonly ActivationBits[],
  threads: number,
  log: (message: string) => void,
): Promise<Figure[]> {
  const { evaluation, steps, logits } = model;
  const windows = await windowsOf(source.asModelSource(), path.join(assets, evaluation.path), evaluation);
  log(`linears and blocks at ${bits.join(', ')} activation bits`);
  const ids = windows.ids.subarray(0, steps.tokens);
  const figures = stepFigures(await compareSteps(source, { bits, ids, ...steps, threads }), bits);
  if (bits.includes(16)) {
    log('logits');
    const { worst, rows, kernelPath } = await compareLogits(
      source,
      { ...windows, windowCount: logits.windows },
      logits.step,
      threads,
    );
    figures.push(
      worstFigure(`logits at A16 (${rows} rows, ${kernelPath})`, worst, agreementLimits.logitsRelativeError),
    );
  }
  for (const activationBits of roundedBits.filter((each) => bits.includes(each)))
    figures.push(...(await lossFigures(source, windows, activationBits, threads, log)));
  return figures;
}

async function lossFigures(
  source: PackageSource,
  windows: TokenWindows,
  activationBits: ActivationBits,
  threads: number,
  log: (message: string) => void,
): Promise<Figure[]> {
  const { lossTokens, meanLossNats, meanLossStandardError } = agreementLimits;
  const at = `at A${activationBits}`;
  log(`mean loss ${at}`);
  const loss = await compareLosses(source, windows, activationBits, threads, {
    tokens: lossTokens,
    standardError: meanLossStandardError,
  });
  const figures: Figure[] = [
    { name: `float path's mean loss ${at}, nats`, measured: loss.floatMeanLoss },
    atMost(`mean loss ${at}: difference, nats`, Math.abs(loss.difference), meanLossNats),
    { name: `standard error of that difference ${at}`, measured: loss.standardError },
    { name: `that difference with its sign, packed minus float, ${at}`, measured: loss.difference },
    atLeast(`scored tokens ${at}`, loss.tokens, lossTokens),
  ];
  if (!loss.control) return figures;
  // Not sure enough: what the float path does with itself, and what is left of the difference without codes that fall otherwise.
  const { control } = loss;
  const moved = `the float path from embeddings moved by one unit in the last place, ${at}`;
  figures.push(
    { name: `${moved}: difference from itself, nats`, measured: control.difference },
    { name: `${moved}: standard error of that`, measured: control.standardError },
  );
  log(`mean loss with the same x̂ ${at}`);
  const same = await compareLossesWithSameCodes(source, windows, activationBits, threads, lossTokens);
  figures.push(
    atMost(`mean loss with the same x̂ ${at}: difference, nats`, Math.abs(same.difference), meanLossNats),
    { name: `standard error of that difference with the same x̂ ${at}`, measured: same.standardError },
    atLeast(`scored tokens with the same x̂ ${at}`, same.tokens, lossTokens),
  );
  return figures;
}

/** Figures of the single steps. A6's and A8's integers are the same sums over smaller values; they are counted together. */
export function stepFigures(results: StepResults, bits: readonly ActivationBits[]): Figure[] {
  const figures: Figure[] = [];
  if (results.integers > 0)
    figures.push(
      worstFigure(
        `integers that differ, of ${results.integers} (${results.kernels.join(', ')})`,
        results.integerDifferences,
        0,
      ),
      worstFigure('activation codes and scales that differ', results.activationDifferences, 0),
    );
  for (const each of bits) {
    figures.push(
      worstFigure(`linear at A${each}`, results.linear.get(each)!, agreementLimits.linearRelativeError),
      worstFigure(
        `stage input at A${each} given the same x̂`,
        results.stage.get(each)!,
        agreementLimits.blockRelativeError,
      ),
      worstFigure(
        `block at A${each} given the same x̂`,
        results.block.get(each)!,
        agreementLimits.blockRelativeError,
      ),
    );
    const flipped = results.flippedShare.get(each);
    if (flipped !== undefined)
      figures.push({ name: `codes that fall otherwise on the float path at A${each}`, measured: flipped });
  }
  return figures;
}

function worstFigure(name: string, worst: Worst, limit: number): Figure {
  const figure = atMost(name, worst.value, limit);
  return worst.where === '' ? figure : { ...figure, name: `${name}, worst: ${worst.where}` };
}
