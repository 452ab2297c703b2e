import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CompareResult } from '../../engine/contract/compare.ts';
import { asset, bundled } from '../assets.ts';
import { type CliResult, onlyJson, runCli } from './cli-run.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-cli-quality-'));
const environment = { DBELL_HOME: path.join(folder, 'home') };
afterAll(() => rmSync(folder, { recursive: true }));

const packages = { two: path.join(folder, 'two'), four: path.join(folder, 'four') };
const text = ['--text', 'bundled:stories-validation', '--context', '128', '--windows', '4'];
let made: CliResult;
let madeTwo: CliResult;

beforeAll(async () => {
  const quantize = (recipe: string, out: string, ...more: string[]) =>
    runCli(
      [
        ...['quantize', bundled.model, '--recipe', recipe, '--calibration', 'bundled:stories'],
        ...['--windows', '4', '--context', '128', '--out', out, '--json', ...more],
      ],
      environment,
    );
  made = await quantize(
    'gptq-4',
    packages.four,
    ...['--then-quality', 'bundled:stories-validation', '--then-windows', '3', '--then-context', '100'],
    ...['--then-perplexity', 'bundled:stories-validation'],
  );
  madeTwo = await quantize('gptq-2', packages.two, '--activation-bits', '16');
});

const qualityOf = (model: string, ...more: string[]) =>
  runCli(['quality', model, '--against', bundled.model, ...text, ...more], environment);

const keptBy = (model: string) =>
  JSON.parse(readFileSync(path.join(model, 'quality.json'), 'utf8')) as {
    comparisons?: Record<string, unknown>[];
  };

describe('quality', () => {
  test('figures, verdict and texts as one JSON object; package, card and history keep them', async () => {
    const result = await qualityOf(
      packages.two,
      '--prompt',
      'One day, a little fox',
      '--tokens',
      '24',
      '--json',
    );
    expect(result.exitCode).toBe(0);
    const found = onlyJson(result);
    expect(found).toMatchObject({
      verdict: 'broken',
      thresholds: { usable: { mostPerplexityRatio: 1.25, leastTopTokenAgreement: 0.75 } },
      recipe: 'gptq-2',
      activationBits: 16,
      tokens: 4 * 127,
      context: 128,
      windows: 4,
      textName: 'bundled:stories-validation',
    });
    const samples = found.samples as {
      prompt: string;
      sampling: { kind: string };
      original: { text: string };
    }[];
    expect(samples.map(({ sampling }) => sampling.kind)).toEqual(['greedy', 'sampled']);
    expect(samples[0]!.original.text).toBe(
      ' named Max decided to help his friend, a wise old fox named Max, by giving him a special treat. Max was',
    );
    expect(samples[1]!.original.text).not.toBe(samples[0]!.original.text);

    const kept = keptBy(packages.two).comparisons!;
    expect(kept).toHaveLength(1);
    for (const name of [
      'perplexity',
      'perplexityRatio',
      'topTokenAgreement',
      'klDivergenceNats',
      'verdict',
      'thresholds',
    ])
      expect(kept[0]![name]).toEqual(found[name]);
    const card = readFileSync(path.join(packages.two, 'README.md'), 'utf8');
    expect(card).toContain(`| ${(found.perplexityRatio as number).toFixed(4)} |`);
    expect(card).toContain('broken: its perplexity is');
    expect(onlyJson(await runCli(['verify', packages.two, '--json'], environment))).toMatchObject({
      ok: true,
      warnings: [],
    });

    const run = onlyJson(await runCli(['history', 'show', found.runId as string, '--json'], environment));
    expect(run).toMatchObject({
      kind: 'quality',
      recipe: 'gptq-2',
      metrics: { perplexityRatio: found.perplexityRatio, topTokenAgreement: found.topTokenAgreement },
      results: { quality: { verdict: 'broken' } },
      madeBy: { runId: onlyJson(madeTwo).runId },
    });
    // The run that made the package shows it too, though it measured nothing itself.
    const maker = ['history', 'show', onlyJson(madeTwo).runId as string];
    expect(onlyJson(await runCli([...maker, '--json'], environment))).toMatchObject({
      kind: 'quantize',
      measurements: [
        { kind: 'verify', results: { verify: { ok: true } } },
        { runId: found.runId, results: { quality: { verdict: 'broken', context: 128 } } },
      ],
    });
    expect((await runCli(maker, environment)).stdout).toMatch(
      /measured later\n {2}\S{8} .* verify {2}ok\n {2}\S{8} .* quality {2}perplexity .* × the original's: broken\n {4}on bundled:stories-validation, 508 tokens, context 128\n/,
    );
  });

  test('its perplexities are those that the perplexity command measures', async () => {
    const found = onlyJson(await qualityOf(packages.four, '--no-samples', '--no-remember', '--json'));
    const single = async (model: string) =>
      onlyJson(await runCli(['perplexity', model, ...text, '--no-remember', '--json'], environment));
    expect((found.perplexity as number) / ((await single(packages.four)).perplexity as number)).toBeCloseTo(
      1,
      5,
    );
    expect(
      (found.originalPerplexity as number) / ((await single(bundled.model)).perplexity as number),
    ).toBeCloseTo(1, 5);
    expect(found).toMatchObject({ verdict: 'usable', samples: [], runId: null });
  });

  test('quantize measures it as asked, with the windows asked for', () => {
    expect(onlyJson(made)).toMatchObject({
      quality: { verdict: 'usable', windows: 3, context: 100, activationBits: 8, activationScales: 'block' },
      perplexity: { windows: 3, context: 100, activationScales: 'block' },
    });
    expect(keptBy(packages.four)).toMatchObject({
      comparisons: [{ windows: 3, context: 100, activationScales: 'block' }],
      perplexities: [{ windows: 3, context: 100, activationScales: 'block' }],
    });
  });

  test('--no-remember leaves the package as it was; the same measurement again replaces the first', async () => {
    const before = readFileSync(path.join(packages.four, 'quality.json'));
    await qualityOf(packages.four, '--no-samples', '--no-remember');
    expect(readFileSync(path.join(packages.four, 'quality.json'))).toEqual(before);
    for (let time = 0; time < 2; time++) await qualityOf(packages.four, '--no-samples');
    expect(keptBy(packages.four).comparisons).toHaveLength(2);
  });

  test('for people: the verdict with its thresholds, and the texts under each other', async () => {
    const result = await qualityOf(packages.four, '--tokens', '8');
    expect(result.exitCode).toBe(0);
    expect(result.stdout).toMatch(/^verdict +usable: /);
    expect(result.stdout).toContain('at most 1.25');
    expect(result.stdout).toMatch(/KL divergence +0\.\d+ ± /);
    expect(result.stdout.match(/^prompt /gm)).toHaveLength(2);
    for (const line of result.stdout.split('\n').filter((line) => !line.includes(folder)))
      expect(line.length).toBeLessThanOrEqual(80);
  });

  test('inspect shows each verdict with its text, tokens and context, and says where nothing was judged', async () => {
    const judged = await runCli(['inspect', packages.four]);
    expect(judged.stdout).toMatch(/^verdict +usable: /m);
    expect(judged.stdout).toMatch(/^measured on +bundled:stories-validation, 3 × 100 tokens, 297 scored$/m);
    expect(judged.stdout).toMatch(/^made for +activations 8 bits, rounded by block; embedding 16 bits$/m);
    expect(judged.stdout).toMatch(/^with +activations 8 bits, rounded by block$/m);
    expect(judged.stdout).toMatch(
      /^perplexity +\d+\.\d+ \(\d.*\)\n +activations 8 bits, rounded by block\n/m,
    );
    const { package: packed } = onlyJson(await runCli(['inspect', packages.four, '--json'])) as {
      package: { comparisons: unknown[] };
    };
    expect(packed.comparisons).toContainEqual(
      expect.objectContaining({ verdict: 'usable', isAgainstSource: true, context: 100 }),
    );
    const copy = path.join(folder, 'unjudged');
    const made = await runCli(['quantize', bundled.model, '--recipe', 'rtn-8', '--out', copy], environment);
    expect(made.exitCode).toBe(0);
    const unjudged = await runCli(['inspect', copy]);
    expect(unjudged.stdout).toMatch(/^verdict +not judged yet/m);
    for (const line of `${judged.stdout}${unjudged.stdout}`.split('\n'))
      if (!line.includes(folder)) expect(line.length).toBeLessThanOrEqual(80);
  });

  test('the same seed writes the same texts, another seed others', async () => {
    const write = async (seed: string) => {
      const found = onlyJson(
        await qualityOf(packages.two, '--seed', seed, '--tokens', '12', '--no-remember', '--json'),
      );
      return (found.samples as { model: { tokenIds: number[] } }[]).map(({ model }) => model.tokenIds);
    };
    const [first, again, other] = await Promise.all([write('1'), write('1'), write('2')]);
    expect(first).toEqual(again);
    expect(other[0]).toEqual(first[0]);
    expect(other[1]).not.toEqual(first[1]);
  });

  const otherModel = asset('models/stories260k/hf');
  test.skipIf(otherModel === null)('a model of another tokenizer is refused', async () => {
    const result = await runCli(
      [
        'quality',
        packages.two,
        '--against',
        otherModel!,
        '--text',
        'bundled:stories-validation',
        '--context',
        '64',
        '--windows',
        '1',
      ],
      environment,
    );
    expect(result).toMatchObject({ exitCode: 2, stdout: '' });
    expect(result.stderr).toContain('cut the text into different tokens');
  });

  test('a package is no original', async () => {
    const result = await runCli(['quality', packages.two, '--against', packages.two, ...text], environment);
    expect(result).toMatchObject({ exitCode: 2, stdout: '' });
    expect(result.stderr).toContain('is a package');
    expect(result.stderr).toContain('give the model that a package was made from');
  });

  test('a missing model, a context beyond the model and a missing option are wrong usage or not found', async () => {
    const missing = await runCli(
      ['quality', packages.two, '--against', path.join(folder, 'none'), ...text],
      environment,
    );
    expect(missing.exitCode).toBe(1);
    const long = await runCli(
      [
        'quality',
        packages.two,
        '--against',
        bundled.model,
        '--text',
        'bundled:stories-validation',
        '--context',
        '4096',
      ],
      environment,
    );
    expect(long.exitCode).toBe(2);
    expect((await runCli(['quality', packages.two, ...text], environment)).exitCode).toBe(2);
    const idle = await runCli(
      [
        'quantize',
        bundled.model,
        '--recipe',
        'rtn-4',
        '--out',
        path.join(folder, 'idle'),
        '--then-windows',
        '3',
      ],
      environment,
    );
    expect(idle.exitCode).toBe(2);
    expect(idle.stderr).toContain('--then-windows and --then-context say how');
  });
});

describe('the calibration text itself', () => {
  const onIt = ['--text', 'bundled:stories', '--context', '64', '--windows', '1'];
  const warning = 'was calibrated on this text (bundled:stories)';

  test('is warned of by quality and perplexity, and marked in every record', async () => {
    const copy = path.join(folder, 'on-calibration');
    cpSync(packages.four, copy, { recursive: true });
    const quality = await runCli(
      ['quality', copy, '--against', bundled.model, ...onIt, '--no-samples', '--json'],
      environment,
    );
    expect(quality.stderr).toContain(warning);
    expect(onlyJson(quality)).toMatchObject({ isCalibrationText: true });
    const plain = await runCli(['perplexity', copy, ...onIt, '--json'], environment);
    expect(plain.stderr).toContain(warning);
    expect(onlyJson(plain)).toMatchObject({ isCalibrationText: true });

    const kept = JSON.parse(readFileSync(path.join(copy, 'quality.json'), 'utf8'));
    const marked = (entries: { isCalibrationText?: true }[]) =>
      entries.filter(({ isCalibrationText }) => isCalibrationText).length;
    expect([marked(kept.perplexities), marked(kept.comparisons)]).toEqual([1, 1]);
    expect(readFileSync(path.join(copy, 'README.md'), 'utf8')).toContain(
      'bundled:stories (its calibration text)',
    );
    for (const result of [quality, plain]) {
      const run = await runCli(['history', 'show', onlyJson(result).runId as string, '--json'], environment);
      expect(JSON.stringify(onlyJson(run).results)).toContain('"isCalibrationText":true');
    }
    const compared = await runCli(['compare', copy, '--json'], environment);
    expect(onlyJson(compared).warnings).toContain(
      'on-calibration was calibrated on the text that it was measured on (bundled:stories, 1 × 64 tokens)',
    );
    expect((await runCli(['verify', copy], environment)).exitCode).toBe(0);
    const shown = await runCli(['perplexity', copy, ...onIt, '--no-remember'], environment);
    expect(shown.stdout).toContain('bundled:stories, 1 window (its own calibration text)');
  });

  test('is warned of before a quantization that would be measured on it', async () => {
    const result = await runCli(
      [
        ...['quantize', bundled.model, '--recipe', 'gptq-4', '--calibration', 'bundled:stories'],
        ...['--windows', '1', '--context', '16', '--out', path.join(folder, 'measured-on-it'), '--json'],
        ...['--then-perplexity', 'bundled:stories', '--then-windows', '1', '--then-context', '16'],
      ],
      environment,
    );
    expect(onlyJson(result)).toMatchObject({ perplexity: { isCalibrationText: true } });
    expect((onlyJson(result).warnings as string[]).join()).toContain(
      'bundled:stories is both calibrated and measured on',
    );
  });

  test('any other text bears no mark', async () => {
    const result = await qualityOf(packages.four, '--no-samples', '--no-remember', '--json');
    expect(result.stderr).not.toContain('was calibrated on');
    expect(onlyJson(result)).not.toHaveProperty('isCalibrationText');
  });
});

describe('compare', () => {
  const compare = async (...args: string[]) =>
    onlyJson(await runCli(['compare', ...args, '--json'], environment));

  test('packages beside their model: measures what is missing, once, and keeps it', async () => {
    const args = [bundled.model, packages.two, packages.four, '--text', 'bundled:stories-validation'];
    args.push('--context', '64', '--windows', '2');
    const found = (await compare(...args)) as unknown as CompareResult;
    const group = found.groups.find(({ context }) => context === 64)!;
    expect(group).toMatchObject({ windows: 2, tokens: 2 * 63 });
    const [model, two, four] = group.values;
    expect(model).toMatchObject({ activationBits: 16, verdict: null });
    expect(two!.perplexity! / two!.perplexityRatio!).toBeCloseTo(model!.perplexity!, 6);
    expect(four!.perplexityRatio!).toBeLessThan(two!.perplexityRatio!);
    expect(found.subjects.map(({ name }) => name)).toEqual(['dbell-stories-7m', 'two', 'four']);
    expect(found.differences).toContainEqual({ field: 'binarizer.bits', values: [null, 2, 4] });
    expect(found.differences).toContainEqual({ field: 'activation bits', values: [null, 16, 8] });
    expect(found.agreements).toContainEqual({
      field: 'activation scales',
      values: [null, 'block', 'block'],
    });
    expect(group.values.map((value) => value?.activationScales)).toEqual([undefined, undefined, 'block']);

    const before = (await runCli(['history', 'list', '--json'], environment)).stdout;
    expect(await compare(...args)).toEqual(found);
    expect((await runCli(['history', 'list', '--json'], environment)).stdout).toBe(before);
    // Without a text it shows what the packages carry now.
    const kept = (await compare(packages.two, packages.four)) as unknown as CompareResult;
    expect(kept.groups.find(({ context }) => context === 64)!.values).toEqual([two, four]);
  });

  test('the parts of a package add up to its bytes', async () => {
    const { subjects } = (await compare(packages.two, packages.four)) as unknown as CompareResult;
    for (const { path: folderPath, bytes, bytesByPart, layers } of subjects) {
      const files = readdirSync(folderPath).map((name) => statSync(path.join(folderPath, name)).size);
      expect(bytes).toBe(files.reduce((sum, size) => sum + size, 0));
      expect(bytesByPart.reduce((sum, part) => sum + part.bytes, 0)).toBe(bytes);
      expect(bytesByPart.map(({ name }) => name)).toEqual([
        ...['codes', 'scales', 'offsets', 'embedding and head', 'norms', 'header', 'tokenizer, config, card'],
      ]);
      expect(layers).toHaveLength(8 * 7);
    }
    const codes = (index: number) => subjects[index]!.bytesByPart[0]!.bytes;
    // 6,291,456 weights at 2 and at 4 bits.
    expect([codes(0), codes(1)]).toEqual([6_291_456 / 4, 6_291_456 / 2]);
  });

  test('for people: what differs first, and a warning where figures do not compare', async () => {
    const copy = path.join(folder, 'copy', 'two');
    cpSync(packages.two, copy, { recursive: true });
    const fresh = JSON.parse(readFileSync(path.join(copy, 'quality.json'), 'utf8'));
    expect(fresh.comparisons.length).toBeGreaterThan(0);
    const { stdout, exitCode } = await runCli(['compare', packages.two, packages.four, copy], environment);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^DIFFERENCE +\S+\/two +four +copy\/two\nrecipe +gptq-2 +gptq-4 +gptq-2\n/);
    expect(stdout).toContain('the same in all: ');
    expect(stdout).toContain('LARGEST LAYER ERRORS');
    expect(stdout).toMatch(/all files +\d/);
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
    expect(stdout).not.toContain('\u001b');
  });

  test('a package that is none is named', async () => {
    const result = await runCli(['compare', packages.two, path.join(folder, 'none')], environment);
    expect(result).toMatchObject({ exitCode: 1, stdout: '' });
    expect(result.stderr).toContain(path.join(folder, 'none'));
  });
});

test('runs of packages of one model are runs of one model; of another model they are not', async () => {
  const runOf = async (model: string) =>
    onlyJson(
      await runCli(
        [
          'perplexity',
          model,
          '--text',
          'bundled:stories-validation',
          '--context',
          '64',
          '--windows',
          '1',
          '--json',
        ],
        environment,
      ),
    ).runId as string;
  const [two, four, original] = [
    await runOf(packages.two),
    await runOf(packages.four),
    await runOf(bundled.model),
  ];
  const warnings = async (...runs: string[]) =>
    onlyJson(await runCli(['history', 'compare', ...runs, '--json'], environment)).warnings as string[];
  expect(await warnings(two, four, original)).toEqual([]);
  const other = asset('models/stories260k/hf');
  if (other !== null)
    expect(await warnings(two, await runOf(other))).toContain('the runs are of different models');
});
