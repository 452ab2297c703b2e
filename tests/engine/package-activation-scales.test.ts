import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { openPackage } from '../../engine/package/open.ts';
import { verifyPackage } from '../../engine/package/verify.ts';
import { config, type Json } from './package-damage.ts';
import { packTinyModel, randomLinear } from './package-support.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-activation-scales-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const bases = new Map<string, string>();
beforeAll(async () => {
  const pack = async (name: string, options: Parameters<typeof packTinyModel>[2]) =>
    bases.set(name, await packTinyModel('llama-plain', path.join(folder, name), options));
  const random = new SeededRandom(3);
  await pack('block', { activationScales: 'block' });
  await pack('token', {});
  await pack('structured', {
    edit: (block) => {
      block.linears = block.linears.map(({ name, outFeatures, inFeatures }) =>
        randomLinear(name, outFeatures, inFeatures, { layout: 'structured' }, random),
      );
    },
  });
  await pack('residual', { levels: 2, residualShare: 0.2 });
});

const setField = (value: unknown) => config((quantization) => (quantization.activation_scales = value));
const first = '"model.layers.0.mlp.down_proj"';

interface Row {
  name: string;
  base: string;
  make: (copy: string) => void;
  /** The whole problem; null: the package is sound. */
  problem: string | null;
}

const rows: Row[] = [
  { name: 'block on grids', base: 'block', make: () => undefined, problem: null },
  { name: 'nothing on grids', base: 'token', make: () => undefined, problem: null },
  {
    name: 'a recipe from before there was a choice under grids by block',
    base: 'block',
    make: config((quantization) => delete (quantization.recipe as Json).activationScales),
    problem: null,
  },
  {
    name: 'block on structured linears',
    base: 'structured',
    make: setField('block'),
    problem: `config.json: quantization_config.activation_scales is "block" but ${first} is structured; steps by block are for grids without residual columns`,
  },
  {
    name: 'block beside residual columns',
    base: 'residual',
    make: setField('block'),
    problem: `config.json: quantization_config.activation_scales is "block" but ${first} has residual columns; steps by block are for grids without them`,
  },
  {
    name: 'token in words',
    base: 'token',
    make: setField('token'),
    problem: 'config.json: quantization_config: activation_scales: expected block, got "token"',
  },
  {
    name: 'block of a recipe by token',
    base: 'block',
    make: config((quantization) => ((quantization.recipe as Json).activationScales = 'token')),
    problem:
      'config.json: quantization_config.activation_scales is "block" but recipe.activationScales is "token"',
  },
  {
    name: 'no block of a recipe by block',
    base: 'block',
    make: config((quantization) => delete quantization.activation_scales),
    problem:
      'config.json: quantization_config.activation_scales is absent, which means by token, but recipe.activationScales is "block"',
  },
];

test.each(rows)('$name', async ({ base, make, problem }) => {
  const copy = mkdtempSync(path.join(folder, 'copy-'));
  cpSync(bases.get(base)!, copy, { recursive: true });
  make(copy);
  const open = () => openPackage(copy, { checkValues: false }).then((opened) => opened.close());
  const { problems } = await verifyPackage(copy);
  const structural = problems.map(({ message }) => message).filter((message) => !/SHA-256/.test(message));
  expect(structural).toEqual(problem === null ? [] : [problem]);
  if (problem === null) await open();
  else
    await expect(open()).rejects.toMatchObject({ code: 'invalid-package', message: `${copy}: ${problem}` });
});
