import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { asset, bundled } from '../assets.ts';
import { onlyJson, runCli, startCli } from './cli-run.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-cli-measure-'));
const environment = { DBELL_HOME: path.join(folder, 'home') };
afterAll(() => rmSync(folder, { recursive: true }));

test('what --greedy would leave without effect is refused with it', async () => {
  const args = ['generate', bundled.model, '--prompt', 'One', '--greedy', '--temperature', '0.5'];
  const result = await runCli(args, environment);
  expect(result).toMatchObject({ exitCode: 2, stdout: '' });
  expect(result.stderr).toContain('--temperature');
});

describe('generate', () => {
  const greedy = [
    'generate',
    bundled.model,
    '--prompt',
    'One day, a little fox',
    '--greedy',
    '--tokens',
    '24',
  ];

  test('gives the known greedy continuation as one JSON object', async () => {
    const result = await runCli([...greedy, '--json'], environment);
    expect(result.exitCode).toBe(0);
    expect(onlyJson(result)).toMatchObject({
      tokenIds: [
        448, 983, 488, 267, 416, 352, 441, 12, 259, 1042, 694, 1652, 448, 983, 12, 512, 1373, 384, 259, 425,
        1338, 14, 983, 312,
      ],
      finishReason: 'length',
      activationBits: 16,
      kernelPath: 'onnxruntime-cpu',
    });
  });

  test('streams prompt and text on standard output, and everything else on standard error', async () => {
    const result = await runCli(greedy, environment);
    expect(result.stdout).toBe(
      'One day, a little fox named Max decided to help his friend, a wise old fox named Max, by giving him a special treat. Max was\n',
    );
    expect(result.stderr).toContain('24 tokens');
  });

  test('--events gives JSON Lines whose pieces of text are the whole text', async () => {
    const result = await runCli([...greedy, '--events'], environment);
    const lines = result.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const text = lines.filter(({ type }) => type === 'job-text').map((event) => event.text);
    const last = lines.at(-1);
    expect(last).toMatchObject({ type: 'result', result: { finishReason: 'length' } });
    expect(text.join('')).toBe(last.result.text);
    const states = lines.filter(({ type }) => type === 'job-state').map(({ job }) => job.state);
    expect(states).toEqual(['running', 'finished']);
  });

  test('the same seed gives the same text, another seed another', async () => {
    const sampled = (seed: string) =>
      runCli(
        [
          'generate',
          bundled.model,
          '--prompt',
          'Once',
          '--tokens',
          '16',
          '--temperature',
          '1.2',
          '--seed',
          seed,
          '--json',
        ],
        environment,
      );
    const [first, again, other] = (await Promise.all([sampled('1'), sampled('1'), sampled('2')])).map(
      onlyJson,
    );
    expect(first!.tokenIds).toEqual(again!.tokenIds);
    expect(first!.tokenIds).not.toEqual(other!.tokenIds);
  });

  test('a stop text ends it and is not shown', async () => {
    const result = onlyJson(await runCli([...greedy, '--stop', 'decided to', '--json'], environment));
    expect(result).toMatchObject({ text: ' named Max ', finishReason: 'stop-text' });
  });

  test('a prompt longer than the context is wrong usage, with both numbers', async () => {
    const result = await runCli(
      ['generate', bundled.model, '--prompt', 'word '.repeat(600), '--json'],
      environment,
    );
    expect(result.exitCode).toBe(2);
    expect(onlyJson(result)).toMatchObject({
      error: { code: 'invalid-input', message: expect.stringMatching(/\d+ tokens.*context length is 512/) },
    });
  });

  test('Ctrl-C ends it with 130 and what there was', async () => {
    const running = startCli([...greedy.slice(0, -1), '100000', '--stop', '\u0001', '--json'], environment);
    await running.until('load');
    running.child.kill('SIGINT');
    const result = await running.done;
    expect(result.exitCode).toBe(130);
    onlyJson(result);
  });

  test('a model without a chat template answers in a plain format, visibly', async () => {
    const result = await runCli(
      ['chat', bundled.model, '--prompt', 'Hello', '--tokens', '4', '--greedy', '--json'],
      environment,
    );
    expect(onlyJson(result)).toMatchObject({
      template: 'plain',
      warnings: [expect.stringContaining('plain')],
    });
    expect(result.stderr).toContain('no chat template');
  });
});

describe('benchmark', () => {
  test('measures a model and a baseline the same way, each in a process of its own', async () => {
    const result = await runCli(
      [
        ...['benchmark', bundled.model, '--baseline', bundled.model, '--prompt-tokens', '16,4096'],
        ...['--depths', '0', '--generate-tokens', '4', '--repetitions', '1', '--json'],
      ],
      environment,
    );
    expect(result.exitCode).toBe(0);
    const figures = {
      prefillTokensPerSecond: { 16: expect.any(Number) },
      decodeTokensPerSecond: { 0: expect.any(Number) },
      kernelPath: 'onnxruntime-cpu',
      stable: false,
      conditions: expect.objectContaining({ omittedPromptTokens: [4096] }),
    };
    const measured = onlyJson(result);
    expect(measured).toMatchObject({ ...figures, baseline: figures });
    expect(measured.peakRssBytes).toBeGreaterThan(measured.modelBytes as number);
  });

  test('of a package says how its activations were rounded, where they were', async () => {
    const out = path.join(folder, 'rounded');
    const model = path.resolve('tests/fixtures/model/tiny/llama-plain');
    const made = await runCli(['quantize', model, '--recipe', 'rtn-4', '--out', out], environment);
    expect(made.exitCode).toBe(0);
    const benchmark = (...more: string[]) =>
      runCli(
        [
          ...['benchmark', out, '--prompt-tokens', '8', '--depths', '0', '--generate-tokens', '2'],
          ...['--repetitions', '1', '--no-remember', ...more],
        ],
        environment,
      );
    expect(onlyJson(await benchmark('--json'))).toMatchObject({
      activationBits: 8,
      activationScales: 'block',
    });
    expect(onlyJson(await benchmark('--json', '--activation-bits', '16'))).not.toHaveProperty(
      'activationScales',
    );
    expect((await benchmark()).stdout).toMatch(/^activations +8 bits by block$/m);
  });

  test('knows before the first measurement what is wrong with the baseline', async () => {
    const baseline = path.join(folder, 'nowhere');
    const result = await runCli(
      ['benchmark', bundled.model, '--baseline', baseline, '--prompt-tokens', '16', '--json'],
      environment,
    );
    expect(onlyJson(result)).toMatchObject({ error: { code: 'not-found' } });
    expect(result.stderr).toMatch(/^dbell: .*nowhere/);
  });

  test('lengths that do not fit the model are wrong usage', async () => {
    const result = await runCli(['benchmark', bundled.model, '--prompt-tokens', '4096'], environment);
    expect(result).toMatchObject({ exitCode: 2, stdout: '' });
    expect(result.stderr).toContain('512');
  });
});

describe('perplexity', () => {
  const text = asset('data/tinystories-sample/tinystories_sample.txt');
  const stories = asset('models/stories260k/hf');

  test.skipIf(!text || !stories)('equals the independent reference', async () => {
    const result = await runCli(
      ['perplexity', stories!, '--text', text!, '--context', '256', '--windows', '64', '--json'],
      environment,
    );
    const measured = onlyJson(result);
    expect(measured).toMatchObject({ tokens: 64 * 255, context: 256, windows: 64, separatorId: 1 });
    expect(Math.abs((measured.perplexity as number) / 4.1355 - 1)).toBeLessThan(0.003);
  });

  test('stands with its tokens and its context', async () => {
    const { stdout } = await runCli(
      [
        'perplexity',
        bundled.model,
        '--text',
        'bundled:stories-validation',
        '--context',
        '64',
        '--windows',
        '2',
      ],
      environment,
    );
    expect(stdout).toMatch(/^perplexity +\d+\.\d+ \(126 tokens, context 64\)$/m);
  });

  test('stands without a run where the history cannot be kept, with the reason', async () => {
    const home = path.join(folder, 'a-file');
    writeFileSync(home, 'precious');
    const result = await runCli(
      [
        'perplexity',
        bundled.model,
        '--text',
        'bundled:stories-validation',
        '--context',
        '32',
        '--windows',
        '1',
        '--json',
      ],
      { DBELL_HOME: home },
    );
    expect(result.exitCode).toBe(0);
    expect(onlyJson(result)).toMatchObject({ tokens: 31, runId: null });
    expect(result.stderr).toMatch(
      /^warning: this run is missing in the history: .*a-file.*of another kind, stands there/m,
    );
    expect(readFileSync(home, 'utf8')).toBe('precious');
  });

  test.each([
    ['a text that does not exist', 'missing.txt', undefined, 'not-found', 1],
    ['an unknown bundled text', 'bundled:poems', undefined, 'not-found', 1],
    ['an empty text', 'empty.txt', '', 'invalid-text', 1],
    ['a text that is too short', 'short.txt', 'A few words.', 'invalid-text', 1],
  ])('refuses %s', async (_, name, content, code, exitCode) => {
    const file = name.includes(':') ? name : path.join(folder, name);
    if (content !== undefined) writeFileSync(file, content);
    const result = await runCli(
      ['perplexity', bundled.model, '--text', file, '--context', '64', '--json'],
      environment,
    );
    expect(result.exitCode).toBe(exitCode);
    expect(onlyJson(result)).toMatchObject({ error: { code } });
  });
});
