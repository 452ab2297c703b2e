import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bundled } from '../assets.ts';
import { onlyJson, type RunningCli, runCli, startCli } from './cli-run.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-cli-quantize-'));
const environment = { DBELL_HOME: path.join(folder, 'home') };
/** A history of a test's own. */
const newEnvironment = () => ({ DBELL_HOME: path.join(folder, `home-${count++}`) });
/** State of every run in a history. */
async function statesIn(home: { DBELL_HOME: string }): Promise<string[]> {
  const { runs } = onlyJson(await runCli(['history', 'list', '--json'], home));
  return (runs as { state: string }[]).map(({ state }) => state);
}
afterAll(() => rmSync(folder, { recursive: true }));

/** Small enough to be quick, long enough to be killed in the middle. */
const text = path.join(folder, 'stories.txt');
writeFileSync(text, readFileSync(bundled.trainingText).subarray(0, 100_000));
const settings = [
  ...['--recipe', 'gptq-4', '--calibration', text],
  ...['--windows', '2', '--context', '64', '--threads', '1'],
];
let count = 0;
const newOut = () => path.join(folder, `out-${count++}`);
const quantize = (out: string, ...more: string[]) => [
  'quantize',
  bundled.model,
  ...settings,
  '--out',
  out,
  ...more,
];

/** Name and hash of every file of a package. */
function contentOf(out: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(out)
      .sort()
      .map((name) => [
        name,
        createHash('sha256')
          .update(readFileSync(path.join(out, name)))
          .digest('hex'),
      ]),
  );
}

const undisturbed = path.join(folder, 'undisturbed');
let expectedContent: Record<string, string>;
beforeAll(async () => {
  const result = await runCli(quantize(undisturbed, '--json'), environment);
  if (result.exitCode !== 0) throw new Error(result.stderr);
  expectedContent = contentOf(undisturbed);
});

/** Process ids of a process's children (Linux). */
function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter(Boolean)
    .map(Number);
}

/** Resolves when a block has been stored, so that there is something to resume. */
async function untilBlockStored(running: RunningCli): Promise<void> {
  await running.until('"blockIndex":1');
}

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

async function untilGone(pid: number): Promise<void> {
  while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe('quantize', () => {
  test('writes a package and says its true size', async () => {
    const out = newOut();
    const result = await runCli(quantize(out, '--json'), environment);
    expect(result.exitCode).toBe(0);
    const made = onlyJson(result);
    expect(made).toMatchObject({
      package: out,
      recipe: 'gptq-4',
      activationBits: 8,
      blocks: 8,
      resumedTimes: 0,
      calibration: { name: 'stories.txt', windows: 2, context: 64 },
    });
    expect(made.storedBitsPerWeight).toBeCloseTo(4.25, 2);
    expect(existsSync(`${out}.partial`)).toBe(false);
    expect(contentOf(out)).toEqual(expectedContent);
  });

  test('says what it is doing in plain lines, and the result within 80 columns', async () => {
    const out = newOut();
    const result = await runCli(quantize(out), environment);
    expect(result.exitCode).toBe(0);
    expect(result.stdout).toContain('bits per weight');
    expect(result.stderr).toContain('block 1/8');
    expect(`${result.stdout}${result.stderr}`).not.toContain('\u001b');
    for (const line of result.stdout.split('\n'))
      expect(line.replaceAll(folder, '').length).toBeLessThanOrEqual(80);
  });

  test('--events names every quantized layer', async () => {
    const { stdout } = await runCli(quantize(newOut(), '--events'), environment);
    const events = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const layers = events.filter(({ type }) => type === 'job-layer');
    expect(new Set(layers.map(({ layer }) => layer.name)).size).toBe(8 * 7);
    expect(events.at(-1)).toMatchObject({ type: 'result', result: { recipe: 'gptq-4' } });
  });

  test('an output that exists is refused before any work', async () => {
    const out = newOut();
    mkdirSync(out);
    const result = await runCli(quantize(out, '--json'), environment);
    expect(result.exitCode).toBe(1);
    expect(onlyJson(result)).toMatchObject({
      error: { code: 'output-exists', message: expect.stringContaining(out) },
    });
    expect(readdirSync(out)).toEqual([]);
    expect(existsSync(`${out}.partial`)).toBe(false);
  });

  test('an output inside the model is refused and nothing is written there', async () => {
    const before = readdirSync(bundled.model);
    // A name that begins as the way out does is one inside.
    for (const name of ['packed', '..packed']) {
      const result = await runCli(quantize(path.join(bundled.model, name)), environment);
      expect(result.exitCode).toBe(2);
      expect(result.stderr).toContain('never written to');
    }
    expect(readdirSync(bundled.model)).toEqual(before);
  });

  test('says before the work that the package cannot be exported to GGUF, as estimate does', async () => {
    const model = path.resolve('tests/fixtures/model/tiny/llama-plain');
    const note =
      /note: a package of this recipe cannot be exported to GGUF: layers of 48\s+columns, no\s+multiple/;
    const estimated = await runCli(['estimate', model, '--recipe', 'rtn-4'], environment);
    expect(estimated.stdout).toMatch(note);
    const made = await runCli(['quantize', model, '--recipe', 'rtn-4', '--out', newOut()], environment);
    expect(made.exitCode).toBe(0);
    expect(made.stderr).toMatch(note);
  });

  test.each([
    ['an unknown recipe', ['--recipe', 'best'], 2, 'dbellquant'],
    ['an unknown setting', ['--set', 'colour=red'], 2, 'colour'],
    [
      'a setting out of range',
      ['--set', 'targets.damping=7'],
      2,
      'targets.damping=7 is not possible; allowed: at most 1',
    ],
    [
      'a name that two settings have',
      ['--set', 'damping=0.1'],
      2,
      '--set damping: could mean targets.damping, compensation.damping; give one of these',
    ],
    ['a text that does not exist', ['--calibration', '/does/not/exist.txt'], 1, '/does/not/exist.txt'],
    ['more windows than the text has', ['--windows', '100000'], 1, '100000'],
    ['a context beyond the model', ['--context', '4096'], 2, '512'],
  ])('%s is refused before anything is written', async (_, change, exitCode, named) => {
    const out = newOut();
    const result = await runCli([...quantize(out), ...change], environment);
    expect(result).toMatchObject({ exitCode, stdout: '' });
    expect(result.stderr).toContain(named);
    expect(existsSync(out) || existsSync(`${out}.partial`)).toBe(false);
  });

  test('a model that does not exist is refused', async () => {
    const result = await runCli(
      ['quantize', '/no/model', ...settings, '--out', newOut(), '--json'],
      environment,
    );
    expect(result.exitCode).toBe(1);
    expect(onlyJson(result)).toMatchObject({ error: { code: 'not-found' } });
  });
});

describe('a package', () => {
  test('is verified against its model', async () => {
    const result = await runCli(['verify', undisturbed, '--against', bundled.model, '--json'], environment);
    expect(result.exitCode).toBe(0);
    expect(onlyJson(result)).toMatchObject({ ok: true, problems: [], package: undisturbed });
  });

  test('that is damaged is not ok: exit code 1, and what is wrong', async () => {
    const damaged = newOut();
    cpSync(undisturbed, damaged, { recursive: true });
    const file = path.join(damaged, 'model.safetensors');
    const bytes = readFileSync(file);
    bytes[bytes.length - 100]! ^= 1;
    writeFileSync(file, bytes);
    const result = await runCli(['verify', damaged, '--json'], environment);
    expect(result.exitCode).toBe(1);
    const { ok, problems } = onlyJson(result) as { ok: boolean; problems: { message: string }[] };
    expect(ok).toBe(false);
    expect(problems.map(({ message }) => message).join()).toContain('model.safetensors');
  });

  test('says what it is', async () => {
    const result = await runCli(['inspect', undisturbed, '--json'], environment);
    expect(onlyJson(result)).toMatchObject({
      format: 'package',
      usable: true,
      family: 'llama',
      package: { recipe: 'gptq-4', activationBits: 8, embeddingBits: 16 },
    });
  });

  test('is measured by the packed runtime and remembers its perplexity', async () => {
    const out = newOut();
    cpSync(undisturbed, out, { recursive: true });
    const args = ['perplexity', out, '--text', text, '--context', '64', '--windows', '4', '--json'];
    const forgotten = onlyJson(await runCli([...args, '--no-remember'], environment));
    expect(forgotten).toMatchObject({ recipe: 'gptq-4', activationBits: 8, runId: null });
    expect(forgotten.kernelPath).not.toBe('onnxruntime-cpu');
    expect(contentOf(out)).toEqual(expectedContent);
    const measured = onlyJson(await runCli(args, environment));
    expect(measured.perplexity).toBe(forgotten.perplexity);
    const { package: described } = onlyJson(await runCli(['inspect', out, '--json'], environment));
    expect(described).toMatchObject({ perplexities: [{ perplexity: measured.perplexity, tokens: 252 }] });
  });

  test('warns where it is run with fewer activation bits than it was made for', async () => {
    const result = await runCli(
      [
        'generate',
        undisturbed,
        '--prompt',
        'Once',
        '--tokens',
        '2',
        '--greedy',
        '--activation-bits',
        '6',
        '--json',
      ],
      environment,
    );
    expect(onlyJson(result)).toMatchObject({ activationBits: 6 });
    expect(result.stderr).toContain('warning: the package was made for activations of 8 bits');
  });
});

describe('resume', () => {
  test('after Ctrl-C: 130, how to go on, and then the same bytes', async () => {
    const out = newOut();
    const home = newEnvironment();
    const running = startCli(quantize(out, '--events'), home);
    await untilBlockStored(running);
    running.child.kill('SIGINT');
    const interrupted = await running.done;
    expect(interrupted.exitCode).toBe(130);
    expect(interrupted.stderr).toContain(`dbell resume ${out}`);
    expect(existsSync(out)).toBe(false);
    expect(await statesIn(home)).toEqual(['stopped']);
    const result = await runCli(['resume', out, '--json'], home);
    expect(result.exitCode).toBe(0);
    expect(onlyJson(result)).toMatchObject({ package: out, resumedTimes: 1 });
    expect(contentOf(out)).toEqual(expectedContent);
    expect(existsSync(`${out}.partial`)).toBe(false);
    expect(await statesIn(home)).toEqual(['finished']);
  });

  test('after the work process is killed: a clear failure, and then the same bytes', async () => {
    const out = newOut();
    const home = newEnvironment();
    const running = startCli(quantize(out, '--events'), home);
    await untilBlockStored(running);
    for (const pid of childrenOf(running.child.pid!)) process.kill(pid, 'SIGKILL');
    const failed = await running.done;
    expect(failed.exitCode).toBe(1);
    expect(failed.stdout.trimEnd().split('\n').at(-1)).toContain('"code":"worker-died"');
    expect(failed.stderr).toContain('SIGKILL');
    expect(failed.stderr).toContain(`dbell resume ${out}`);
    expect(await statesIn(home)).toEqual(['failed']);
    const result = await runCli(['resume', `${out}.partial`, '--json'], home);
    expect(result.exitCode).toBe(0);
    expect(contentOf(out)).toEqual(expectedContent);
    expect(await statesIn(home)).toEqual(['finished']);
  });

  test('after the service is killed: the work process ends itself, and then the same bytes', async () => {
    const out = newOut();
    const home = newEnvironment();
    const running = startCli(quantize(out, '--events'), home);
    await untilBlockStored(running);
    const workers = childrenOf(running.child.pid!);
    expect(workers).toHaveLength(1);
    running.child.kill('SIGKILL');
    await running.done;
    await untilGone(workers[0]!);
    expect(existsSync(out)).toBe(false);
    expect(await statesIn(home)).toEqual(['interrupted']);
    const result = await runCli(['resume', out, '--json'], home);
    expect(result.exitCode).toBe(0);
    expect(contentOf(out)).toEqual(expectedContent);
    expect(await statesIn(home)).toEqual(['finished']);
  });

  test('a run whose package stands but which was killed before it could say so is ended well', async () => {
    const out = newOut();
    const home = newEnvironment();
    const running = startCli(quantize(out, '--events'), home);
    await untilBlockStored(running);
    running.child.kill('SIGKILL');
    await running.done;
    rmSync(`${out}.partial`, { recursive: true });
    cpSync(undisturbed, out, { recursive: true });
    expect(await statesIn(home)).toEqual(['interrupted']);
    const result = await runCli(['resume', out, '--json'], home);
    expect(result.exitCode).toBe(0);
    expect(onlyJson(result)).toMatchObject({ package: out, durationMs: null, calibration: { windows: 2 } });
    expect(await statesIn(home)).toEqual(['finished']);
    expect(contentOf(out)).toEqual(expectedContent);
  });

  test('the same request again goes on with what it has begun', async () => {
    const out = newOut();
    const running = startCli(quantize(out, '--events'), environment);
    await untilBlockStored(running);
    running.child.kill('SIGKILL');
    await running.done;
    const result = await runCli(quantize(out, '--json'), environment);
    expect(result.exitCode).toBe(0);
    expect(onlyJson(result)).toMatchObject({ resumedTimes: 1 });
    expect(contentOf(out)).toEqual(expectedContent);
  });

  test('another request for an unfinished output is refused and says what differs', async () => {
    const out = newOut();
    const running = startCli(quantize(out, '--events'), environment);
    await untilBlockStored(running);
    running.child.kill('SIGINT');
    await running.done;
    const result = await runCli([...quantize(out, '--json'), '--windows', '5'], environment);
    expect(result.exitCode).toBe(1);
    expect(onlyJson(result)).toMatchObject({
      error: { code: 'output-exists', message: expect.stringContaining('another windows') },
    });
  });

  test('two processes on one output: one works, the other is refused', async () => {
    const out = newOut();
    const longer = ['--windows', '96'];
    const first = startCli(quantize(out, '--events', ...longer), environment);
    await untilBlockStored(first);
    const second = await runCli(quantize(out, '--json', ...longer), environment);
    expect(second.exitCode).toBe(1);
    expect(onlyJson(second)).toMatchObject({
      error: { code: 'output-exists', message: expect.stringContaining('process') },
    });
    expect((await first.done).exitCode).toBe(0);
  });

  test.each([
    ['nothing there', () => newOut(), 1, 'no unfinished run'],
    ['a complete package', () => undisturbed, 2, 'nothing to resume'],
    ['a folder that is no package', () => bundled.model, 1, 'no unfinished run'],
    [
      'a damaged run file',
      () => {
        const out = newOut();
        mkdirSync(`${out}.partial`);
        writeFileSync(`${out}.partial/run.json`, '{');
        return out;
      },
      1,
      'not valid JSON',
    ],
  ])('is refused with %s', async (_, out, exitCode, message) => {
    const result = await runCli(['resume', out()], environment);
    expect(result).toMatchObject({ exitCode, stdout: '' });
    expect(result.stderr).toContain(message);
  });
});
