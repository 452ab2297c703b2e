import { describe, expect, it } from 'vitest';
import { DBellError } from '../../engine/contract/errors.ts';
import type { FamilyName } from '../../engine/model/architecture.ts';
import { activationScalesOf, recipeSchema } from '../../engine/quantize/recipe.ts';
import { recipeNames, recipes } from '../../engine/quantize/recipes.ts';
import { needsCalibration, resolveRecipe } from '../../engine/quantize/resolve-recipe.ts';

const resolve = (name: string, overrides: Record<string, string> = {}, family: FamilyName = 'llama') =>
  resolveRecipe(name, overrides, undefined, family);

function failure(name: string, overrides: Record<string, string> = {}): string {
  try {
    resolve(name, overrides);
  } catch (error) {
    if (error instanceof DBellError && error.code === 'invalid-input') return error.message;
    throw error;
  }
  throw new Error('no error was thrown');
}

describe('recipes', () => {
  it('all satisfy the schema, also with the overrides of every family', () => {
    for (const name of recipeNames) {
      expect(recipeSchema.parse(recipes.get(name)?.recipe).name).toBe(name);
      for (const family of ['llama', 'mistral', 'qwen2', 'qwen3', 'opt'] as const) {
        expect(resolve(name, {}, family).activationBits).toBe(8);
      }
    }
  });

  it('reference DBellQuant trains T except for OPT, which shares one weight maximum', () => {
    const llama = resolve('dbellquant-reference').transform;
    expect(llama).toMatchObject({ training: 'trained', weightMaximum: 'own' });
    const opt = resolve('dbellquant-reference', {}, 'opt').transform;
    expect(opt).toMatchObject({ training: 'start', weightMaximum: 'joint' });
  });

  it('takes settings by path, by field name and by part', () => {
    const settings = { epsilon: '0.75', 'compensation.damping': '0.05', compensation: 'column' };
    const recipe = resolveRecipe('dbellquant', { ...settings, searchOn: 'importance' }, 6, 'llama');
    expect(recipe.transform).toMatchObject({ kind: 'ltdb', epsilon: 0.75 });
    expect(recipe.compensation).toMatchObject({ kind: 'column', damping: 0.05 });
    expect(recipe.binarizer).toMatchObject({ searchOn: 'importance' });
    expect(recipe.activationBits).toBe(6);
  });

  it('starts a changed kind from its defaults, whatever the order of the settings', () => {
    const transformed = resolve('gptq-2', { epsilon: '0.5', transform: 'ltdb' });
    expect(transformed.transform).toMatchObject({ kind: 'ltdb', epsilon: 0.5, maximumEpochs: 200 });
    const uniform = resolve('billm', { bits: '3', binarizer: 'uniform' });
    expect(uniform.binarizer).toEqual({ kind: 'uniform', bits: 3 });
  });

  it('names the bad key or value and what is allowed', () => {
    expect(failure('gptq-9')).toMatch(/no recipe "gptq-9".*dbellquant.*gptq-4/);
    expect(failure('billm', { epsilonn: '1' })).toMatch(/--set epsilonn.*transform\.epsilon/);
    expect(failure('billm', { epsilon: '1' })).toMatch(/transform is "none", which has no such setting/);
    expect(failure('billm', { kind: 'none' })).toMatch(
      /could mean transform\.kind, binarizer\.kind, targets\.kind, compensation\.kind/,
    );
    expect(failure('billm', { searchOn: 'noise' })).toBe(
      'recipe billm: searchOn=noise is not possible; allowed: importance, weight, weighted-weight',
    );
    expect(failure('dbellquant', { epsilon: '1.5' })).toBe(
      'recipe dbellquant: epsilon=1.5 is not possible; allowed: at most 1',
    );
    expect(failure('dbellquant', { epsilon: 'much' })).toMatch(/epsilon=much is not possible/);
    expect(failure('rtn-4', { activationBits: '7' })).toBe(
      'recipe rtn-4: activationBits=7 is not possible; allowed: 16, 8, 6, 4',
    );
    expect(failure('dbellquant', { epsilon: 'NaN' })).toBe(
      'recipe dbellquant: epsilon=NaN is not possible; allowed: a number',
    );
    expect(failure('dbellquant', { maximumEpochs: '1.5' })).toBe(
      'recipe dbellquant: maximumEpochs=1.5 is not possible; allowed: a whole number',
    );
    expect(failure('billm', { 'splitPercentiles.count': '1000000000' })).toBe(
      'recipe billm: splitPercentiles.count=1000000000 is not possible; allowed: at most 1024',
    );
    for (const key of ['toString', '__proto__', 'constructor', '']) {
      expect(failure('rtn-4', { [key]: '1' })).toMatch(/no recipe has this setting/);
    }
    expect(failure('rtn-4', { transform: 'constructor' })).toBe(
      'recipe rtn-4: transform=constructor is not possible; allowed: none, ltdb',
    );
    expect(failure('rtn-4', { name: 'x' })).toMatch(/--set name/);
    expect(failure('billm', { 'splitPercentiles.first': '95' })).toMatch(/from 95 to 90/);
  });

  it.each<[string, string, string, Record<string, string>, string, Record<string, string>?]>([
    ['gptq-4', 'targets.damping', '0.2', { targets: 'shifted' }, "the layers' own weights"],
    ['rtn-4', 'compensation.damping', '0.2', { compensation: 'column' }, 'no Hessians'],
    ['rtn-4', 'compensation.hessian', 'per-block', { compensation: 'column' }, 'no Hessians'],
    ['dbellquant', 'maximumEpochs', '3', { training: 'trained' }, 'training=start', { training: 'start' }],
    ['grid-2', 'columnRidge', '0.1', { columnScale: 'folded' }, 'columnScale=none', { columnScale: 'none' }],
    ['grid-2', 'sweeps', '3', { rounds: '1' }, 'rounds=0', { rounds: '0' }],
    ['grid-2', 'roundingAwareBits', '8', { activationBits: '8' }, 'not rounded', { activationBits: '16' }],
  ])('refuses what would change nothing in %s: %s=%s', (name, key, value, remedy, because, given = {}) => {
    expect(failure(name, { ...given, [key]: value })).toMatch(
      new RegExp(`${key}=${value} has no effect, because .*${because}.*; it has one with `),
    );
    expect(resolve(name, { ...given, ...remedy, [key]: value }).name).toContain(`${key}=${value}`);
  });

  it('names the nominal bits of what is stored, not of the name', () => {
    for (const name of recipeNames) {
      expect(resolve(name).nominalBitsPerWeight).toBe(recipes.get(name)?.recipe.nominalBitsPerWeight);
    }
    expect(resolve('rtn-4', { bits: '3' }).nominalBitsPerWeight).toBe(3);
    expect(resolve('dbellquant', { binarizer: 'uniform', bits: '8' }).nominalBitsPerWeight).toBe(8);
    expect(resolve('gptq-2', { binarizer: 'structured' }).nominalBitsPerWeight).toBe(1.1);
    expect(resolve('billm', { maximumSalientColumns: '127' }).nominalBitsPerWeight).toBeNull();
  });

  it('only plain rounding and keeping weights do without calibration', () => {
    const without = recipeNames.filter((name) => !needsCalibration(resolve(name)));
    expect(without).toEqual(['rtn-1', 'rtn-4', 'rtn-8', 'as-is']);
  });
});

describe('activation scales', () => {
  const scalesOf = (name: string, overrides: Record<string, string> = {}) =>
    activationScalesOf(resolve(name, overrides));

  it('are by block in grids, and by token in structured binarization, kept weights and beside residual columns', () => {
    for (const name of recipeNames) {
      const { kind } = resolve(name).binarizer;
      expect(scalesOf(name), name).toBe(kind === 'grid' || kind === 'uniform' ? 'block' : 'token');
    }
    expect(scalesOf('grid-4+residual-10')).toBe('token');
    expect(scalesOf('grid-4', { residualPercent: '5' })).toBe('token');
    expect(scalesOf('billm', { binarizer: 'uniform' })).toBe('block');
    expect(scalesOf('gptq-2', { binarizer: 'structured' })).toBe('token');
    expect(scalesOf('grid-4', { activationBits: '16' })).toBe('block');
  });

  it('can be chosen where the layout takes both; the name says so where it is not the default', () => {
    // A package made for unrounded activations can be run with rounded ones.
    expect(resolve('grid-4', { activationScales: 'token', activationBits: '16' }).activationBits).toBe(16);
    const chosen = resolve('grid-4', { activationScales: 'token' });
    expect(chosen.name).toBe('grid-4 activationScales=token');
    // As recipes from before there was a choice.
    expect('activationScales' in chosen).toBe(false);
    expect(resolve('grid-4', { activationScales: 'block' })).toEqual(resolve('grid-4'));
    expect(resolve('rtn-8', { activationScales: 'token' }).name).toBe('rtn-8 activationScales=token');
    const kept = resolve('as-is', { activationScales: 'block' });
    expect(kept.name).toBe('as-is activationScales=block');
    expect(activationScalesOf(kept)).toBe('block');
    for (const name of ['dbellquant', 'grid-2+residual-10'])
      expect(resolve(name, { activationScales: 'token' }).name).toBe(name);
  });

  it('are refused by block where the layout cannot, and by any other name', () => {
    for (const [name, given] of [
      ['billm', {}],
      ['dbellquant-reference', {}],
      ['grid-2+residual-10', {}],
      ['grid-4', { residualPercent: '5' }],
      ['gptq-2', { binarizer: 'structured' }],
    ] as [string, Record<string, string>][])
      expect(failure(name, { ...given, activationScales: 'block' })).toMatch(
        /activationScales=block is for grids without residual columns; structured binarization and residual columns have activationScales=token$/,
      );
    expect(failure('grid-4', { activationScales: 'row' })).toBe(
      'recipe grid-4: activationScales=row is not possible; allowed: token, block',
    );
    expect(failure('grid-4', { activationScale: 'block' })).toMatch(
      /no recipe has this setting.*activationScales/,
    );
  });
});

it('a recipe whose settings were changed says so in its name', () => {
  expect(resolveRecipe('rtn-4', { bits: '3' }, undefined, 'llama').name).toBe('rtn-4 binarizer.bits=3');
  // Settings that change nothing, and activation bits, which stand beside the recipe, leave the name alone.
  expect(resolveRecipe('rtn-4', { bits: '4' }, 8, 'llama').name).toBe('rtn-4');
  expect(resolveRecipe('gptq-4', {}, 6, 'llama').name).toBe('gptq-4');
});

describe('grids and targets', () => {
  const grid = { binarizer: 'grid' };

  it('take levels, targets and truth values', () => {
    const recipe = resolve('gptq-2', { ...grid, levels: '3', targets: 'residual', tokenWeights: 'true' });
    expect(recipe.binarizer).toMatchObject({ kind: 'grid', levels: 3, columnScale: 'free', rounds: 4 });
    expect(recipe.targets).toEqual({ kind: 'residual', damping: 0.05, tokenWeights: true });
    expect(recipe.nominalBitsPerWeight).toBeNull();
  });

  it('take a residual in their name', () => {
    for (const [name, residualPercent] of [
      ['grid-2+residual-10', 10],
      ['grid-16+residual-2.5', 2.5],
      ['grid-3+residual-50', 50],
    ] as const) {
      const recipe = resolve(name);
      expect(recipe.name).toBe(name);
      expect(recipe.binarizer).toMatchObject({ kind: 'grid', residualPercent });
    }
    for (const name of [
      'grid-2+residual-0.5',
      'grid-2+residual-51',
      'grid-5+residual-10',
      'gptq-2+residual-10',
      'grid-2+residual-',
      'grid-2+residual-1e1',
    ])
      expect(failure(name)).toMatch(
        /no recipe .*grid-16.*grid-L\+residual-P \(P percent of the columns, 1 to 50\)/,
      );
  });

  it('name the allowed values', () => {
    expect(failure('gptq-2', { ...grid, levels: '5' })).toMatch(
      /levels=5 is not possible; allowed: 2, 3, 4, 8, 16$/,
    );
    expect(failure('gptq-2', { tokenWeights: '1' })).toBe(
      'recipe gptq-2: tokenWeights=1 is not possible; allowed: true, false',
    );
    expect(failure('grid-4', { roundingAwareBits: '7' })).toBe(
      'recipe grid-4: roundingAwareBits=7 is not possible; allowed: 0, 4, 6, 8',
    );
    expect(failure('gptq-2', { ...grid, residualPercent: '51' })).toMatch(/allowed: at most 50/);
    expect(failure('gptq-2', { levels: '4' })).toMatch(/binarizer is "uniform", which has no such setting/);
    expect(
      resolve('gptq-2', { 'compensation.damping': '0.1', targets: 'shifted', 'targets.damping': '0.2' }),
    ).toMatchObject({
      targets: { damping: 0.2 },
      compensation: { damping: 0.1 },
    });
  });

  it('refuse what the pipeline cannot gather for them', () => {
    expect(failure('dbellquant', grid)).toMatch(/binarizer\.kind=grid needs transform\.kind=none/);
    expect(failure('grid-2+residual-10', { rounds: '0' })).toMatch(
      /residualPercent=10 needs rounds of at least 1/,
    );
    expect(failure('gptq-2', { ...grid, compensation: 'block' })).toMatch(/needs compensation\.kind=column/);
    expect(failure('gptq-2', { targets: 'shifted', hessian: 'per-block' })).toMatch(
      /targets\.kind=shifted needs compensation\.hessian=per-stage/,
    );
    expect(failure('rtn-4', { tokenWeights: 'true' })).toMatch(
      /targets\.tokenWeights=true needs compensation\.kind=column/,
    );
  });

  it('of their own are not named, so that recipes from before there were others keep their bytes', () => {
    expect('targets' in resolve('gptq-2')).toBe(false);
    const own = resolve('grid-2', { targets: 'own', tokenWeights: 'false' });
    expect(own.targets).toBeUndefined();
    expect(own.name).toBe('grid-2 targets.kind=own targets.tokenWeights=false');
  });
});
