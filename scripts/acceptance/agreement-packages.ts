/** Models, recipes and packages that the packed runtime is held against the float path on. */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { readTokenWindows } from '../../engine/calibration/read-windows.ts';
import { fingerprintOf, type TokenWindows } from '../../engine/calibration/windows.ts';
import { createFloatEngine } from '../../engine/float/engine.ts';
import type { ActivationBits } from '../../engine/float/types.ts';
import { openModel } from '../../engine/model/open.ts';
import type { ModelSource } from '../../engine/model/source.ts';
import { createTokenizer } from '../../engine/model/tokenizer-huggingface.ts';
import { createPackageSink } from '../../engine/package/sink.ts';
import { quantize } from '../../engine/quantize/pipeline.ts';
import { resolveRecipe } from '../../engine/quantize/resolve-recipe.ts';

export interface Text {
  /** Below the folder of test assets. */
  path: string;
  /** Id in front of each document; null for none. */
  separatorId: number | null;
  context: number;
}

export interface AgreementModel {
  id: string;
  /** First part of the names of its packages. */
  packageName: string;
  /** Below the folder of test assets. */
  path: string;
  /** The most windows that losses are compared on. */
  evaluation: Text & { windows: number };
  /** Windows behind `skip` others; null where packages come from another item. */
  calibration: (Text & { windows: number; skip: number }) | null;
  recipes: readonly string[];
  /** Recipes of which there is a package made for 8 and for 6 activation bits besides that for 16. */
  recipesByActivationBits: readonly string[];
  /** Tokens of the window that steps are compared on, and of them those that linears and integers take. */
  steps: { tokens: number; linearTokens: number; integerTokens: number };
  /** Windows whose logits are compared, and tokens between two rows of logits. */
  logits: { windows: number; step: number };
}

export const allRecipes = [
  'dbellquant',
  'dbellquant-reference',
  'billm',
  'billm-reference',
  'rtn-1',
  'rtn-4',
  'rtn-8',
  'gptq-1',
  'gptq-2',
  'gptq-3',
  'gptq-4',
  'grid-2',
  'grid-3',
  'grid-4',
  'grid-8',
  'grid-16',
] as const;

const stories = { path: 'data/tinystories-sample/tinystories_sample.txt', separatorId: 1, context: 256 };
const chat = {
  path: 'models/tinystories-instruct-3m-gptneo/src/chat_val.txt',
  separatorId: 14_018,
  context: 256,
};
const bundledStories = { separatorId: 0, context: 512 };
/** Calibration takes the windows behind those of the evaluation. */
const small = (text: Text, windows: number) => ({
  evaluation: { ...text, windows },
  calibration: { ...text, windows: 32, skip: windows },
  recipes: allRecipes,
  recipesByActivationBits: [],
  steps: { tokens: 128, linearTokens: 32, integerTokens: 8 },
  logits: { windows: 8, step: 16 },
});

export const agreementModels: readonly AgreementModel[] = [
  ...(['hf', 'hf-qwen2'] as const).map((folder) => ({
    id: `stories260k-${folder}`,
    packageName: `stories260k-${folder}`,
    path: `models/stories260k/${folder}`,
    ...small(stories, 256),
  })),
  ...(['hf', 'hf-qwen2'] as const).map((folder) => ({
    id: `tinystories-656k-${folder}`,
    packageName: `tinystories-656k-${folder}`,
    path: `models/tinystories-656k/${folder}`,
    ...small(stories, 256),
  })),
  {
    id: 'tinystories-3m-opt',
    packageName: 'tinystories-3m-opt',
    path: 'models/tinystories-instruct-3m-gptneo/hf-opt',
    ...small(chat, 208),
  },
  {
    id: 'dbell-stories-7m',
    packageName: 'stories',
    path: 'models/dbell-stories-7m',
    evaluation: { ...bundledStories, path: 'data/dbell-stories/stories.valid.txt', windows: 256 },
    calibration: {
      ...bundledStories,
      path: 'data/dbell-stories/stories.train.sample.txt',
      windows: 96,
      skip: 0,
    },
    recipes: allRecipes,
    recipesByActivationBits: ['dbellquant', 'dbellquant-reference'],
    steps: { tokens: 128, linearTokens: 16, integerTokens: 2 },
    logits: { windows: 4, step: 32 },
  },
  {
    id: 'smollm2',
    packageName: 'smollm',
    path: 'models/smollm2-135m-instruct-gguf/SmolLM2-135M-Instruct.Q4_1.gguf',
    evaluation: {
      path: 'data/wikitext-2-raw/wiki.test.joined.txt',
      separatorId: null,
      context: 512,
      windows: 64,
    },
    calibration: null,
    recipes: ['dbellquant', 'dbellquant-reference', 'gptq-2', 'gptq-3'],
    recipesByActivationBits: ['dbellquant', 'dbellquant-reference'],
    steps: { tokens: 64, linearTokens: 4, integerTokens: 1 },
    logits: { windows: 1, step: 64 },
  },
];

/** The first windows of a text, or those behind `skip` others. */
export async function windowsOf(
  source: ModelSource,
  textPath: string,
  { separatorId, context, windows, skip = 0 }: Text & { windows: number; skip?: number },
): Promise<TokenWindows> {
  const read = await readTokenWindows(textPath, createTokenizer(source.tokenizer), {
    context,
    choice: { kind: 'first', count: skip + windows },
    separatorId,
  });
  const ids = read.ids.slice(skip * context);
  return { ...read, ids, windowCount: windows, fingerprint: fingerprintOf(ids, windows, context) };
}

export interface PackageRequest {
  modelPath: string;
  recipe: string;
  activationBits: ActivationBits;
  calibration(source: ModelSource): Promise<TokenWindows>;
  embeddingBits?: 16 | 8 | 6 | 4;
  out: string;
  threads: number;
}

/** Quantizes into `out` unless it stands there; an unfinished run of before goes on. */
export async function makePackage(request: PackageRequest): Promise<void> {
  const { out, threads, activationBits } = request;
  if (existsSync(out)) return;
  mkdirSync(path.dirname(out), { recursive: true });
  const source = await openModel(request.modelPath);
  const engine = await createFloatEngine(source, { threads });
  const workDirectory = `${out}.partial`;
  try {
    await quantize({
      source,
      windows: await request.calibration(source),
      recipe: resolveRecipe(request.recipe, {}, activationBits, source.architecture.family),
      embeddingBits: request.embeddingBits ?? 16,
      engine,
      sink: createPackageSink({ workDirectory, outputDirectory: out }),
      workDirectory,
      outputDirectory: out,
      seed: 0,
      threads,
    });
  } catch (error) {
    rmSync(workDirectory, { recursive: true, force: true });
    throw error;
  } finally {
    await engine.close();
    source.close();
  }
}
