import type { EmbeddingBits } from '../contract/common.ts';
import { DBellError } from '../contract/errors.ts';
import { didYouMean } from '../contract/nearest-names.ts';
import type { FamilyName, Stage } from '../model/architecture.ts';
import { idleField } from './idle-settings.ts';
import { columnsPerBlock } from './quantized-linear.ts';
import { type ActivationBits, activationScalesOf, type Recipe, recipeSchema, targetsOf } from './recipe.ts';
import {
  canScaleByBlock,
  defaultActivationScales,
  findRecipe,
  gridDefaults,
  ltdbDefaults,
  nominalBitsOf,
  recipeNamePattern,
  recipeNames,
  structuredDefaults,
} from './recipes.ts';
import { targetTap } from './target-tap.ts';

/** What `--set` may change; everything else of a recipe follows from its name. */
const settable: Record<string, string[]> = {
  transform: ['kind', 'epsilon', 'training', 'learningRate', 'maximumEpochs', 'loss', 'weightMaximum'],
  binarizer: [
    'kind',
    'bits',
    'importance',
    'searchOn',
    'maximumSalientColumns',
    'splitPercentiles.first',
    'splitPercentiles.last',
    'splitPercentiles.count',
    'percentilesOver',
    'levels',
    'rounds',
    'sweeps',
    'columnScale',
    'rowRidge',
    'columnRidge',
    'residualPercent',
    'roundingAwareBits',
  ],
  targets: ['kind', 'damping', 'tokenWeights'],
  compensation: ['kind', 'damping', 'hessian'],
};

/** Where a part's kind is changed by a setting, the part starts again from that kind's defaults. */
const partDefaults: Record<string, Record<string, Record<string, unknown>>> = {
  transform: { none: { kind: 'none' }, ltdb: { ...ltdbDefaults } },
  binarizer: {
    structured: { ...structuredDefaults },
    uniform: { kind: 'uniform', bits: 1 },
    grid: { ...gridDefaults },
  },
};

const allPaths = [
  ...Object.entries(settable).flatMap(([part, keys]) => keys.map((key) => `${part}.${key}`)),
  'activationBits',
  'activationScales',
];

/**
 * Full path of a key as a person may write it: the path itself (`transform.epsilon`), a field name that occurs once (`epsilon`),
 * or a part's name for its kind (`compensation` = `compensation.kind`).
 */
function fullPath(key: string): string {
  if (allPaths.includes(key)) return key;
  if (Object.hasOwn(settable, key)) return `${key}.kind`;
  const matches = allPaths.filter((path) => key !== '' && path.endsWith(`.${key}`));
  if (matches.length === 1 && matches[0] !== undefined) return matches[0];
  throw new DBellError(
    'invalid-input',
    `--set ${key}: ${matches.length > 1 ? `could mean ${matches.join(', ')}; give one of these` : `no recipe has this setting; ${didYouMean(key, allPaths) || `allowed: ${allPaths.join(', ')}`}`}`,
  );
}

/** Numbers become numbers, `true` and `false` truth values; everything else stays text and is judged by the schema. */
function parseValue(text: string): unknown {
  const trimmed = text.trim();
  if (trimmed === 'true' || trimmed === 'false') return trimmed === 'true';
  return trimmed !== '' && Number.isFinite(Number(trimmed)) ? Number(trimmed) : trimmed;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function assign(root: Record<string, unknown>, path: string, value: unknown, shownKey: string): void {
  const steps = path.split('.');
  const [part, field] = steps;
  if (part !== undefined && field === 'kind') {
    const kinds = partDefaults[part] ?? {};
    const defaults = typeof value === 'string' && Object.hasOwn(kinds, value) ? kinds[value] : undefined;
    const current = root[part];
    if (defaults && isRecord(current) && current.kind !== value) {
      root[part] = structuredClone(defaults);
      return;
    }
  }
  let target = root;
  for (const step of steps.slice(0, -1)) {
    const next = target[step];
    if (!isRecord(next)) throw notApplicable(root, path, shownKey);
    target = next;
  }
  const last = steps.at(-1) ?? '';
  if (!(last in target)) throw notApplicable(root, path, shownKey);
  target[last] = value;
}

function notApplicable(root: Record<string, unknown>, path: string, shownKey: string): DBellError {
  const part = path.split('.')[0] ?? '';
  const current = root[part];
  const kind = isRecord(current) ? String(current.kind) : 'none';
  const fields = isRecord(current) ? Object.keys(current).filter((field) => field !== 'kind') : [];
  return new DBellError(
    'invalid-input',
    `--set ${shownKey}: this recipe's ${part} is "${kind}", which has no such setting` +
      `${fields.length > 0 ? `; it has: ${fields.join(', ')}` : ''}`,
  );
}

const wordsForTypes: Readonly<Record<string, string>> = { int: 'a whole number', boolean: 'true, false' };

/** Allowed values of a failed field, in words, from zod's issue. */
function allowedValues(issue: { code: string; message: string }): string {
  const record: Record<string, unknown> = { ...issue };
  if (Array.isArray(record.values)) return record.values.map(String).join(', ');
  if (Array.isArray(record.options)) return record.options.map(String).join(', ');
  if (issue.code === 'invalid_union') return '16, 8, 6, 4';
  if (issue.code === 'too_small') return `at least ${String(record.minimum)}`;
  if (issue.code === 'too_big') return `at most ${String(record.maximum)}`;
  if (issue.code === 'invalid_type') return wordsForTypes[String(record.expected)] ?? 'a number';
  return issue.message;
}

/**
 * The recipe of that name with a person's settings applied.
 *
 * @param name one of `recipeNames`, or `grid-L+residual-P`
 * @param overrides `--set key=value` pairs: key is a path or an unambiguous field name, value its text
 * @param activationBits bits of the quantized linears' inputs; undefined takes the recipe's default (8)
 * @param family decides what differs by family in `-reference` recipes
 * @throws DBellError `invalid-input` naming the bad key or value and the allowed ones, or a setting that would change nothing and what it needs
 */
export function resolveRecipe(
  name: string,
  overrides: Readonly<Record<string, string>>,
  activationBits: ActivationBits | undefined,
  family: FamilyName,
): Recipe {
  const entry = findRecipe(name);
  if (!entry) {
    const near = didYouMean(name, recipeNames);
    throw new DBellError(
      'invalid-input',
      `there is no recipe "${name}"; ${near === '' ? '' : `${near} `}recipes are: ${recipeNames.join(', ')}, ${recipeNamePattern}`,
    );
  }
  const draft: Record<string, unknown> = structuredClone({
    ...entry.recipe,
    targets: targetsOf(entry.recipe),
    activationScales: undefined,
  });
  const familyOverrides = entry.familyOverrides?.[family] ?? {};
  for (const [path, value] of Object.entries(familyOverrides)) assign(draft, path, parseValue(value), path);
  // Kinds first: changing one replaces the whole part, whose other settings then apply to the new kind.
  const settings = Object.entries(overrides)
    .map(([key, value]) => ({ key, path: fullPath(key), value }))
    .sort((a, b) => Number(b.path.endsWith('.kind')) - Number(a.path.endsWith('.kind')));
  for (const { key, path, value } of settings) assign(draft, path, parseValue(value), key);
  if (activationBits !== undefined) draft.activationBits = activationBits;

  const parsed = recipeSchema.safeParse(draft);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const path = issue?.path.join('.') ?? '';
    const shown = settings.find((setting) => setting.path === path || setting.path.startsWith(`${path}.`));
    const found = shown ? `${shown.key}=${shown.value}` : path;
    throw new DBellError(
      'invalid-input',
      `recipe ${name}: ${found} is not possible; allowed: ${issue ? allowedValues(issue) : 'see the recipe schema'}`,
    );
  }
  const { targets, activationScales: chosenScales, ...rest } = parsed.data;
  const plain = targets?.kind === 'own' && !targets.tokenWeights;
  const defaultScales = defaultActivationScales(rest.binarizer);
  const activationScales = chosenScales ?? defaultScales;
  // The named recipe with settings changed is another recipe, and its name says so wherever it is shown or stored.
  const before = {
    ...entry.recipe,
    targets: targetsOf(entry.recipe),
    activationScales: defaultScales,
  };
  const changed = settings.filter(
    ({ path }) => path !== 'activationBits' && valueAt(before, path) !== valueAt(parsed.data, path),
  );
  const recipe = checkCombination({
    ...rest,
    ...(plain ? {} : { targets }),
    ...(activationScales === 'token' ? {} : { activationScales }),
    name: [name, ...changed.map(({ path, value }) => `${path}=${value}`)].join(' '),
    nominalBitsPerWeight: nominalBitsOf(rest.binarizer),
  });
  for (const { path, value } of settings) {
    const idle = idleField(path, recipe, usesHessians(recipe));
    if (idle !== null)
      throw new DBellError(
        'invalid-input',
        `recipe ${name}: ${path}=${value} has no effect, because ${idle.because}; it has one with ${idle.remedy}`,
      );
  }
  return recipe;
}

function valueAt(recipe: Recipe, path: string): unknown {
  let value: unknown = recipe;
  for (const step of path.split('.')) value = isRecord(value) ? value[step] : undefined;
  return value;
}

/** What the schema's single fields cannot say. */
function checkCombination(recipe: Recipe): Recipe {
  if (recipe.blockSize !== columnsPerBlock) {
    throw new DBellError(
      'invalid-input',
      `recipe ${recipe.name}: blockSize ${recipe.blockSize} cannot be stored; the packed format has blocks of ${columnsPerBlock} columns`,
    );
  }
  if (recipe.binarizer.kind === 'structured') {
    const { first, last, count } = recipe.binarizer.splitPercentiles;
    if (!(first >= 0 && last <= 100 && first <= last)) {
      throw new DBellError(
        'invalid-input',
        `recipe ${recipe.name}: splitPercentiles from ${first} to ${last} (${count} steps) must lie within 0 to 100, first not above last`,
      );
    }
  }
  if (recipe.binarizer.kind === 'as-is' && (recipe.transform.kind !== 'none' || needsCalibration(recipe))) {
    throw new DBellError(
      'invalid-input',
      `recipe ${recipe.name}: weights that are kept as they are can be neither transformed nor fitted; only activationBits and activationScales can be set`,
    );
  }
  if (activationScalesOf(recipe) === 'block' && !canScaleByBlock(recipe.binarizer)) {
    throw new DBellError(
      'invalid-input',
      `recipe ${recipe.name}: activationScales=block is for grids without residual columns; structured binarization and residual columns have activationScales=token`,
    );
  }
  checkTargets(recipe);
  return recipe;
}

/** A grid and targets need what the pipeline gathers stage by stage. */
function checkTargets(recipe: Recipe): void {
  const refuse = (setting: string, needs: string): never => {
    throw new DBellError('invalid-input', `recipe ${recipe.name}: ${setting} needs ${needs}`);
  };
  const { binarizer, compensation, transform } = recipe;
  const targets = targetsOf(recipe);
  if (binarizer.kind === 'grid' && binarizer.residualPercent > 0 && binarizer.rounds === 0) {
    refuse(`residualPercent=${binarizer.residualPercent}`, 'rounds of at least 1');
  }
  const setting =
    binarizer.kind === 'grid'
      ? 'binarizer.kind=grid'
      : targets.kind !== 'own'
        ? `targets.kind=${targets.kind}`
        : targets.tokenWeights
          ? 'targets.tokenWeights=true'
          : null;
  if (setting === null) return;
  if (transform.kind !== 'none') refuse(setting, 'transform.kind=none');
  if (compensation.hessian !== 'per-stage') refuse(setting, 'compensation.hessian=per-stage');
  if (binarizer.kind === 'grid' ? compensation.kind !== 'column' : !usesHessians(recipe)) {
    refuse(setting, 'compensation.kind=column');
  }
}

/**
 * Whether the package stores a multiplier of a stage's input: what could not be folded into a norm. A grid's c of o and down has no norm in front.
 */
export function storesColumnScale(recipe: Recipe, stage: Stage): boolean {
  if (stage.foldableNorm !== null && stage.foldableNorm.weight !== null) return false;
  if (recipe.binarizer.kind === 'grid') return recipe.binarizer.columnScale === 'free';
  return recipe.transform.kind === 'ltdb' && (stage.name === 'attention-in' || stage.name === 'mlp-in');
}

/** Whether norms in front of linears may hold a scale of the linears' columns. */
export function foldsIntoNorms({ transform, binarizer }: Recipe): boolean {
  return transform.kind !== 'none' || (binarizer.kind === 'grid' && binarizer.columnScale !== 'none');
}

/** Whether a stage's linears have another bias than the model's (where it has one). */
export function correctsBias(recipe: Recipe, stage: Stage): boolean {
  return targetTap(recipe, stage.name) === 'sum';
}

/** Whether anything in the recipe looks at calibration text. */
export function needsCalibration(recipe: Recipe): boolean {
  return usesFloatStream(recipe) || usesHessians(recipe);
}

/** Whether the float model's own activations are needed: for LTDB's start value, for targets and for token weights. */
export function usesFloatStream(recipe: Recipe): boolean {
  const targets = targetsOf(recipe);
  return recipe.transform.kind === 'ltdb' || targets.kind !== 'own' || targets.tokenWeights;
}

/** Whether Hessians of the linears' inputs are needed: for compensation, or to rank columns. */
export function usesHessians(recipe: Recipe): boolean {
  return (
    recipe.compensation.kind !== 'none' ||
    recipe.binarizer.kind === 'grid' ||
    (recipe.binarizer.kind === 'structured' &&
      (recipe.binarizer.importance === 'hessian' || recipe.binarizer.searchOn !== 'weight'))
  );
}

/** Whether the head's table is fitted to the calibration: at 6 and 4 bits, by recipes that run the quantized model. At 8 bits rounding loses nothing. */
export function compensatesTables(recipe: Recipe, embeddingBits: EmbeddingBits): boolean {
  return embeddingBits < 8 && usesHessians(recipe);
}
