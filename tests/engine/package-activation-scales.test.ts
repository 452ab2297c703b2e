import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { attachPerplexity } from '../../engine/package/attach-measurement.ts';
import { withScales } from '../../engine/package/measured-scales.ts';
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

const measured = {
  ...{ perplexity: 12.5, tokens: 126, context: 64, windows: 2, textName: 'text', textSha256: 'b'.repeat(64) },
  activationBits: 8 as const,
};

test.each(['token', 'block'] as const)(
  'a measurement by %s says so in quality.json and the card',
  async (scales) => {
    const copy = mkdtempSync(path.join(folder, 'copy-'));
    cpSync(bases.get(scales)!, copy, { recursive: true });
    await attachPerplexity(copy, { ...measured, activationScales: scales });
    await attachPerplexity(copy, { ...measured, activationBits: 16, perplexity: 12 });
    expect(await verifyPackage(copy)).toMatchObject({ ok: true, warnings: [] });
    const opened = await openPackage(copy);
    opened.close();
    expect(
      opened.quality.perplexities.map((entry) => [entry.activationBits, entry.activationScales]),
    ).toEqual([
      [16, undefined],
      [8, scales],
    ]);
    const card = readFileSync(path.join(copy, 'README.md'), 'utf8');
    const isByBlock = scales === 'block';
    expect(card).toContain(`| activations | 8 bits${isByBlock ? ', rounded by block' : ''} |`);
    expect(card).toContain(`| text | 12.5000 | 8${isByBlock ? ' by block' : ''} | 64 |`);
    expect(card).toContain('| text | 12.0000 | 16 | 64 |');
  },
);

test('a measurement from before it was recorded was rounded as its package rounds', async () => {
  const copy = mkdtempSync(path.join(folder, 'copy-'));
  cpSync(bases.get('token')!, copy, { recursive: true });
  await attachPerplexity(copy, measured);
  const opened = await openPackage(copy);
  opened.close();
  const [entry] = opened.quality.perplexities;
  expect(entry).toEqual(measured);
  expect(withScales(entry!, opened)).toEqual({ ...measured, activationScales: 'token' });
  expect(withScales({ activationBits: 16 }, opened)).toEqual({ activationBits: 16 });
});
