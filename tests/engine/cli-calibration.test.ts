import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { bundled } from '../assets.ts';
import { onlyJson, runCli, startCli } from './cli-run.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-cli-calibration-'));
const environment = { DBELL_HOME: path.join(folder, 'home') };
afterAll(() => rmSync(folder, { recursive: true }));

const self = ['--calibration', 'self', '--seed', '7', '--windows', '2', '--context', '24'];

test('a model writes its own calibration text, shown before, named and verified after', async () => {
  const preview = onlyJson(
    await runCli(['calibration', 'preview', bundled.model, ...self, '--json'], environment),
  );
  expect(preview).toMatchObject({
    textName: 'written by the model itself',
    ...{ textSha256: null, fingerprint: null, context: 24, totalTokens: 48 },
  });
  const out = path.join(folder, 'out');
  const made = onlyJson(
    await runCli(
      [
        'quantize',
        bundled.model,
        '--recipe',
        'gptq-4',
        ...self,
        '--self-top-p',
        '0.9',
        '--out',
        out,
        '--json',
      ],
      environment,
    ),
  );
  expect(made.calibration).toMatchObject({
    ...{ name: 'written by the model itself', windows: 2, context: 24 },
    self: { seed: 7, temperature: 1, topP: 0.9, hasConversations: false },
  });
  const kept = JSON.parse(readFileSync(path.join(out, 'quality.json'), 'utf8')).calibration;
  expect(kept.source.self).toEqual({ seed: 7, temperature: 1, topP: 0.9, hasConversations: false });
  expect(kept.fingerprint).toBe((made.calibration as { fingerprint: string }).fingerprint);
  expect((await runCli(['verify', out, '--against', bundled.model], environment)).exitCode).toBe(0);
});

test('a run that is interrupted while its text is written, and again while it quantizes, gives the same package', async () => {
  const args = (out: string) => [
    ...['quantize', bundled.model, '--recipe', 'gptq-4', '--calibration', 'self', '--seed', '3'],
    ...['--windows', '24', '--context', '48', '--out', out],
  ];
  const whole = path.join(folder, 'whole');
  expect((await runCli(args(whole), environment)).exitCode).toBe(0);

  const parts = path.join(folder, 'parts');
  const writing = startCli([...args(parts), '--events'], environment);
  await writing.until('"stage":"write text"');
  writing.child.kill('SIGINT');
  const stopped = await writing.done;
  expect(stopped.exitCode).toBe(130);
  expect(stopped.stderr).toContain(`Go on with: npx dbell resume ${parts}`);
  const quantizing = startCli(['resume', parts, '--events'], environment);
  await quantizing.until('"type":"job-layer"');
  // The text is complete by now, and is not written once more.
  const kept = JSON.parse(readFileSync(path.join(`${parts}.partial`, 'self-text.json'), 'utf8'));
  expect(kept.windowsDone).toBe(24);
  quantizing.child.kill('SIGINT');
  expect((await quantizing.done).exitCode).toBe(130);
  expect((await runCli(['resume', parts], environment)).exitCode).toBe(0);
  for (const name of readdirSync(whole))
    expect(readFileSync(path.join(parts, name)).equals(readFileSync(path.join(whole, name))), name).toBe(
      true,
    );
});

test('a preview for people shows the text', async () => {
  const { stdout, exitCode } = await runCli(
    [
      'calibration',
      'preview',
      bundled.model,
      '--calibration',
      'bundled:stories',
      '--windows',
      '1',
      '--context',
      '16',
    ],
    environment,
  );
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/^text +bundled:stories\n/);
  expect(stdout).toContain('window 1, first 16 tokens\n');
});

test('how it is written is refused where nothing is written', async () => {
  const result = await runCli(
    ['calibration', 'preview', bundled.model, '--self-temperature', '1'],
    environment,
  );
  expect(result).toMatchObject({ exitCode: 2, stdout: '' });
  expect(result.stderr).toContain('give --calibration self too');
});
