import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openModel } from '../../engine/model/open.ts';
import { attachPerplexity } from '../../engine/package/attach-measurement.ts';
import { openPackage } from '../../engine/package/open.ts';
import { qualitySha256 } from '../../engine/package/quality.ts';
import { createPackageSink } from '../../engine/package/sink.ts';
import { verifyPackage } from '../../engine/package/verify.ts';
import type { Recipe } from '../../engine/quantize/recipe.ts';
import { prepareTableMetric } from '../../engine/quantize/table-metric.ts';
import {
  finishOptions,
  packTinyModel,
  roundedBlocks,
  testRecipe,
  tinyModels,
  writeBlocks,
} from './package-support.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-verify-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const transformedRecipe: Recipe = {
  ...testRecipe,
  name: 'test',
  transform: {
    ...{ kind: 'ltdb', epsilon: 0.85, training: 'start', learningRate: 0.01, maximumEpochs: 0 },
    ...{ loss: 'l2', weightMaximum: 'own' },
  },
};

async function sourceOf(name: string) {
  return openModel(path.join(tinyModels, name));
}

/** Packs with scales folded into norms where there is one, kept as column scales elsewhere. */
async function packTransformed(name: string, out: string): Promise<string> {
  const source = await sourceOf(name);
  const sink = createPackageSink({ workDirectory: `${out}.partial`, outputDirectory: out });
  for (const block of roundedBlocks(source, { transform: true })) sink.writeBlock(block);
  await sink.finish({ ...finishOptions(source), recipe: transformedRecipe });
  source.close();
  return out;
}

test('an edited or missing model card is a warning, not damage', async () => {
  const out = await packTransformed('llama-plain', path.join(folder, 'edited-card'));
  const card = path.join(out, 'README.md');
  writeFileSync(card, readFileSync(card, 'utf8').replace('bits a weight', 'bits A weight'));
  expect(await verifyPackage(out)).toMatchObject({
    ok: true,
    warnings: [expect.stringContaining('README.md is not the model card that follows from the package')],
  });
  rmSync(card);
  expect(await verifyPackage(out)).toMatchObject({
    ok: true,
    warnings: ['README.md, the model card, is missing'],
  });
});

test('what else lies in the folder is told, not judged', async () => {
  const out = await packTransformed('llama-plain', path.join(folder, 'strangers'));
  for (const name of ['.gitattributes', 'notes.txt', 'pytorch_model.bin'])
    writeFileSync(path.join(out, name), '');
  expect(await verifyPackage(out)).toMatchObject({
    ok: true,
    warnings: [
      '"notes.txt", "pytorch_model.bin" in the folder: no part of the package, not read and not checked',
    ],
  });
  for (const number of [1, 2, 3, 4]) mkdirSync(path.join(out, `sub-${number}`));
  expect((await verifyPackage(out)).warnings).toEqual([
    expect.stringContaining('"sub-3" and 1 more in the folder'),
  ]);
});

describe('a sound package', () => {
  test.each([
    'llama-plain',
    'llama-odd-widths',
    'qwen3',
    'opt-relu',
    'opt-post-norm-projected',
    'opt-no-affine',
  ])('%s agrees with its source, scales folded and kept', async (name) => {
    const out = await packTransformed(name, path.join(folder, name));
    const source = await sourceOf(name);
    const shares: number[] = [];
    const report = await verifyPackage(out, { against: source, onProgress: (share) => shares.push(share) });
    expect(report).toMatchObject({ ok: true, problems: [], warnings: [] });
    expect(report.checkedTensors).toBeGreaterThan(20);
    expect(report.checkedBytes).toBeGreaterThan(10_000);
    expect(shares).toEqual([...shares].sort((a, b) => a - b));
    expect(shares.at(-1)).toBe(1);
    source.close();
  });

  test.each([2, 3, 16])(
    'of %d levels with residual columns; the residual makes the error smaller',
    async (levels) => {
      const source = await sourceOf('llama-odd-widths');
      const errors: number[] = [];
      for (const residualShare of [0, 0.3, 1]) {
        const out = path.join(folder, `residual-${levels}-${residualShare}`);
        await packTinyModel('llama-odd-widths', out, { levels, residualShare });
        expect(await verifyPackage(out, { against: source })).toMatchObject({ ok: true, problems: [] });
        const opened = await openPackage(out);
        const linear = opened.linears.get('model.layers.0.mlp.down_proj');
        if (linear?.layout !== 'grid') throw new Error('no grid');
        expect(linear.codeLayout).toBe(levels === 3 ? 'base-3' : 'planes');
        expect(linear.residual?.count ?? 0).toBe(Math.ceil(residualShare * 43));
        errors.push(opened.quality.layers.find(({ name }) => name === linear.name)!.weightRelativeError);
        opened.close();
      }
      expect(errors[1]!).toBeLessThan(errors[0]!);
      expect(errors[2]!).toBeLessThan(errors[1]!);
      source.close();
    },
  );

  test.each([8, 6, 4] as const)('with tables at %d bits', async (embeddingBits) => {
    const out = await packTinyModel('llama-untied', path.join(folder, `table-${embeddingBits}`), {
      embeddingBits,
    });
    const source = await sourceOf('llama-untied');
    expect(await verifyPackage(out, { against: source })).toMatchObject({ ok: true, problems: [] });
    source.close();
  });

  test('tables of 4 bits that were fitted to a metric, tied or not; a changed one is found', async () => {
    for (const model of ['llama-untied', 'llama-odd-widths']) {
      const source = await sourceOf(model);
      const out = path.join(folder, `fitted-${model}`);
      const { hiddenSize, head } = source.architecture;
      const gram = Float64Array.from(
        { length: hiddenSize * hiddenSize },
        (_, index) => (index % (hiddenSize + 1) === 0 ? 1 + index : 0) + 0.5,
      );
      const tableMetric = prepareTableMetric(gram, hiddenSize, head.tied);
      const sink = writeBlocks(source, out);
      await sink.finish({ ...finishOptions(source, { embeddingBits: 4 }), tableMetric });
      expect(await verifyPackage(out, { against: source })).toMatchObject({ ok: true, problems: [] });
      const opened = await openPackage(out);
      const tables = opened.quality.tables!;
      expect(tables.map(({ name, method }) => [name, method]).sort()).toEqual(
        head.tied
          ? [[head.weight, 'compensated']]
          : [
              [head.weight, 'compensated'],
              [source.architecture.embedding.table, 'rounded'],
            ].sort(),
      );
      for (const { relativeError, method, storedBitsPerWeight } of tables) {
        expect(relativeError === null).toBe(method === 'rounded');
        expect(storedBitsPerWeight).toBeGreaterThanOrEqual(4.5);
      }
      const table = opened.head;
      if (table.bits !== 4) throw new Error('the head has 4 bits');
      const file = readFileSync(opened.modelPath);
      for (let at = 0; at < 256; at += 1) file[table.codes.offset + at]! ^= 0x77;
      writeFileSync(opened.modelPath, file);
      opened.close();
      const report = await verifyPackage(out, { against: source });
      expect(report.problems.map(({ code }) => code)).toContain('weight-error');
      source.close();
    }
  });
});

describe('a perplexity is attached', () => {
  const entry = {
    perplexity: 12.5,
    tokens: 126,
    context: 64,
    windows: 2,
    textName: 'valid|text',
    textSha256: 'b'.repeat(64),
    activationBits: 8 as const,
  };

  test('to quality.json and the card, which stay verifiable; the same measurement again replaces the old', async () => {
    const out = await packTinyModel('mistral', path.join(folder, 'attach'));
    await attachPerplexity(out, entry);
    await attachPerplexity(out, { ...entry, activationBits: 16, perplexity: 11.25 });
    await attachPerplexity(out, { ...entry, perplexity: 12.25 });
    const opened = await openPackage(out);
    expect(opened.quality.perplexities.map((e) => [e.activationBits, e.perplexity]).sort()).toEqual([
      [16, 11.25],
      [8, 12.25],
    ]);
    opened.close();
    expect(await verifyPackage(out)).toMatchObject({ ok: true, problems: [] });
    expect((await verifyPackage(out)).warnings).toEqual([]);
    expect(readFileSync(path.join(out, 'README.md'), 'utf8')).toContain(
      '| valid\\|text | 12.2500 | 8 | 64 | 2 | 126 |',
    );
    expect(readdirSync(out).filter((name) => name.includes('tmp'))).toEqual([]);
  });

  test('but not one that is none', async () => {
    const out = path.join(folder, 'attach');
    await expect(attachPerplexity(out, { ...entry, perplexity: Number.NaN })).rejects.toMatchObject({
      code: 'invalid-input',
    });
    await expect(attachPerplexity(out, { ...entry, textSha256: 'x' })).rejects.toThrow(
      `perplexity for ${out}: textSha256: must be 64 lower-case hexadecimal digits`,
    );
  });
});

describe('verify finds', () => {
  let sound: string;
  beforeAll(async () => {
    sound = await packTransformed('qwen2', path.join(folder, 'sound'));
  });

  /** A copy with one file changed. */
  function changed(file: string, edit: (bytes: Buffer) => Buffer | undefined): string {
    const copy = mkdtempSync(path.join(folder, 'copy-'));
    cpSync(sound, copy, { recursive: true });
    const target = path.join(copy, file);
    const bytes = readFileSync(target);
    writeFileSync(target, edit(bytes) ?? bytes);
    return copy;
  }

  const flipped = (position: (bytes: Buffer) => number) => (bytes: Buffer) => {
    const at = position(bytes);
    bytes[at] = bytes[at]! ^ 1;
    return bytes;
  };

  test('one flipped bit in the weights, the tokenizer, the configuration or the quality figures', async () => {
    for (const file of ['model.safetensors', 'tokenizer.json', 'generation_config.json']) {
      // A digit or letter of a value near the end, or a byte of a scale: nothing that another check would find.
      const position = (bytes: Buffer) =>
        file === 'model.safetensors' ? bytes.length - 64 : bytes.lastIndexOf('"') - 1;
      const report = await verifyPackage(changed(file, flipped(position)));
      expect(report.ok, file).toBe(false);
      expect(report.problems.at(-1)?.message).toContain(
        `"${file}": its bytes differ from the SHA-256 in config.json`,
      );
    }
    const config = changed('config.json', (bytes) =>
      Buffer.from(
        bytes
          .toString()
          .replace('"rms_norm_eps": 0.000001', '"rms_norm_eps": 0.000002')
          .replace('1e-6', '2e-6')
          .replace('1e-06', '2e-06'),
      ),
    );
    expect(readFileSync(path.join(config, 'config.json'))).not.toEqual(
      readFileSync(path.join(sound, 'config.json')),
    );
    expect((await verifyPackage(config)).problems).toEqual([
      {
        code: 'hash',
        message: 'config.json: its bytes differ from the SHA-256 in quality.json; copy the package again',
      },
    ]);
    const quality = changed('quality.json', (bytes) =>
      Buffer.from(
        bytes.toString().replace(/"relativeError": 0\.0(\d)/, (_, digit) => `"relativeError": 0.1${digit}`),
      ),
    );
    expect((await verifyPackage(quality)).problems).toEqual([
      {
        code: 'hash',
        message:
          'quality.json: its content differs from the SHA-256 that it holds of itself; copy the package again',
      },
    ]);
  });

  test('another source', async () => {
    const other = await sourceOf('qwen3');
    expect((await verifyPackage(sound, { against: other })).problems).toEqual([
      {
        code: 'other-model',
        message: `the package does not have the architecture of ${other.path}; it was made from another model`,
      },
    ]);
    other.close();
  });

  test('a weight error that is not the one stated', async () => {
    const copy = changed('quality.json', (bytes) => {
      const quality = JSON.parse(bytes.toString());
      quality.layers[3].weightRelativeError *= 1.01;
      quality.selfSha256 = qualitySha256(quality);
      return Buffer.from(JSON.stringify(quality));
    });
    const source = await sourceOf('qwen2');
    const { problems } = await verifyPackage(copy, { against: source });
    expect(problems.map((problem) => problem.code)).toEqual(['hash', 'weight-error']);
    expect(problems[1]!.message).toMatch(
      /^"model\.layers\.0\.self_attn\.o_proj": the weights differ from the source's by 0\.\d+ \(relative, squared\), quality\.json says 0\.\d+$/,
    );
    source.close();
  });

  test('codes that were swapped although all hashes fit', async () => {
    const out = path.join(folder, 'swapped');
    const source = await sourceOf('qwen2');
    const sink = createPackageSink({ workDirectory: `${out}.partial`, outputDirectory: out });
    for (const block of roundedBlocks(source)) {
      if (block.index === 1) block.linears[5]!.codes.reverse();
      sink.writeBlock(block);
    }
    await sink.finish(finishOptions(source));
    const { problems } = await verifyPackage(out, { against: source });
    expect(problems.map((problem) => problem.code)).toEqual(['weight-error']);
    expect(problems[0]!.message).toContain('model.layers.1.mlp.up_proj');
    source.close();
  });

  test('residual codes that were swapped although all hashes fit', async () => {
    const out = path.join(folder, 'swapped-residual');
    const source = await sourceOf('qwen2');
    const sink = createPackageSink({ workDirectory: `${out}.partial`, outputDirectory: out });
    for (const block of roundedBlocks(source, { levels: 3, residualShare: 0.2 })) {
      const linear = block.linears[6]!;
      if (block.index === 1 && linear.layout === 'grid') linear.residual!.codes.reverse();
      sink.writeBlock(block);
    }
    await sink.finish(finishOptions(source));
    const { problems } = await verifyPackage(out, { against: source });
    expect(problems.map((problem) => problem.code)).toEqual(['weight-error']);
    expect(problems[0]!.message).toContain('model.layers.1.mlp.down_proj');
    source.close();
  });

  test("a table, a norm and a bias that are not the source's", async () => {
    const source = await sourceOf('qwen2');
    const out = path.join(folder, 'drifted');
    const sink = createPackageSink({ workDirectory: `${out}.partial`, outputDirectory: out });
    for (const block of roundedBlocks(source)) {
      const biased = block.linears.find((linear) => linear.bias !== null)!;
      if (block.index === 0) biased.bias![3] = 7;
      sink.writeBlock(block);
    }
    const drifting = {
      ...finishOptions(source),
      source: new Proxy(source, {
        get(target, key) {
          const value = Reflect.get(target, key, target) as unknown;
          if (key === 'readRowsFloat32')
            return (name: string, begin: number, count: number) => {
              const values = target.readRowsFloat32(name, begin, count);
              if (begin === 0) values[40] = values[40]! + 0.5;
              return values;
            };
          if (key === 'readFloat32')
            return (name: string) => {
              const values = target.readFloat32(name);
              if (name === 'model.norm.weight') values[2] = 9;
              return values;
            };
          return typeof value === 'function' ? value.bind(target) : value;
        },
      }),
    };
    await sink.finish(drifting);
    const { problems } = await verifyPackage(out, { against: source });
    expect(problems.map((problem) => problem.message.replace(/in the source .*/, 'in the source …'))).toEqual(
      [
        '"model.norm.weight": value 2 is 9, in the source …',
        '"model.embed_tokens.weight": row 1 is not what the source gives',
        '"lm_head.weight": row 1 is not what the source gives',
        '"model.layers.0.self_attn.q_proj.bias": value 3 is 7, in the source …',
      ],
    );
    source.close();
  });
});
