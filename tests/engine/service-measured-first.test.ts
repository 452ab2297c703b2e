import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { benchmarkInputSchema } from '../../engine/contract/measurement.ts';
import { createHistoryAccess } from '../../engine/service/history-access.ts';
import { benchmarkJob } from '../../engine/service/jobs/measurement.ts';
import { JobQueue } from '../../engine/service/jobs/queue.ts';
import { childProcessHost, type ProcessHost } from '../../engine/service/process-host.ts';
import { bundled } from '../assets.ts';
import { onlyJson, runCli, startCli } from './cli-run.ts';

/** What was measured outlives whatever ends the measurement behind it. */

const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-measured-first-'));
const environment = { DBELL_HOME: path.join(folder, 'home') };
const tiny = fileURLToPath(new URL('../fixtures/model/tiny/llama-plain', import.meta.url));
const packed = path.join(folder, 'packed');
beforeAll(async () => {
  const made = await runCli(['quantize', bundled.model, '--recipe', 'rtn-4', '--out', packed], environment);
  expect(made.exitCode).toBe(0);
});
afterAll(() => rmSync(folder, { recursive: true }));

const history = createHistoryAccess(path.join(folder, 'history.sqlite'), {}, { warn() {}, changed() {} });
afterAll(() => history.close());

const short = { promptTokens: [8], decodeDepths: [0], generateTokens: 2, repetitions: 1 };
/** Check, memory, the model, its baseline: each in a process of its own. */
const processOfBaseline = 4;

function queueWhose(baseline: (process: ReturnType<ProcessHost['start']>) => void) {
  let starts = 0;
  const messages: string[] = [];
  const queue = new JobQueue(
    {
      start() {
        const process = childProcessHost.start();
        if (++starts === processOfBaseline) baseline(process);
        return process;
      },
    },
    (event) => {
      if (event.type === 'job-message') messages.push(event.message);
    },
  );
  return { queue, messages };
}

test('a baseline whose process dies does not cost the benchmark of the model', async () => {
  const { queue, messages } = queueWhose((process) => process.kill());
  const input = benchmarkInputSchema.parse({ model: packed, baseline: bundled.model, ...short });
  const { jobId, runId } = queue.add(benchmarkJob(history.runs, input));
  const job = await queue.wait(jobId);
  expect(job).toMatchObject({
    state: 'finished',
    result: { baseline: null, baselineProblem: { code: 'worker-died' }, kernelPath: expect.any(String) },
  });
  expect(messages.at(-1)).toContain(`${bundled.model} was not benchmarked beside ${packed}`);
  expect(history.open().show(runId!).metrics.decodeTokensPerSecond).toBeGreaterThan(0);
});

test('a benchmark that is stopped at its baseline is remembered as far as it came', async () => {
  const { queue } = queueWhose(() => setImmediate(() => queue.stop(jobId)));
  const input = benchmarkInputSchema.parse({ model: packed, baseline: bundled.model, ...short });
  const { jobId, runId } = queue.add(benchmarkJob(history.runs, input));
  expect(await queue.wait(jobId)).toMatchObject({
    state: 'stopped',
    error: { code: 'stopped', message: expect.stringContaining(`is kept as run ${runId}`) },
  });
  expect(history.open().show(runId!)).toMatchObject({ state: 'finished', results: { benchmark: {} } });
});

test('what follows a quantization is kept one by one', async () => {
  const text = path.join(folder, 'soon-gone.txt');
  writeFileSync(text, readFileSync(bundled.trainingText).subarray(0, 20_000));
  const own = { DBELL_HOME: path.join(folder, 'own') };
  const running = startCli(
    [
      ...['quantize', bundled.model, '--recipe', 'rtn-4', '--out', path.join(folder, 'followed'), '--events'],
      ...['--then-perplexity', 'bundled:stories-validation', '--then-quality', text],
      ...['--then-windows', '2', '--then-context', '64'],
    ],
    own,
  );
  await running.until('"blockIndex":0');
  rmSync(text);
  const { exitCode, stderr } = await running.done;
  expect(exitCode).toBe(1);
  expect(stderr).toContain('was not measured as asked');
  const { runs } = onlyJson(await runCli(['history', 'list', '--json'], own)) as {
    runs: { metrics: Record<string, number> }[];
  };
  expect(runs[0]!.metrics).toMatchObject({ perplexity: expect.any(Number), perplexityTokens: 126 });
});

test('a prompt that does not fit is known before the figures are measured', async () => {
  const result = await runCli(
    [
      ...['quality', packed, '--against', bundled.model, '--text', 'bundled:stories-validation'],
      ...['--context', '64', '--windows', '2', '--prompt', 'word '.repeat(600)],
    ],
    environment,
  );
  expect(result).toMatchObject({ exitCode: 2, stdout: '' });
  expect(result.stderr).toContain('the context length is 512');
  expect(result.stderr).not.toContain('window 1/2');
});

test.each([
  ['quality', packed, '--against', path.join(folder, 'nowhere'), '--text', 'bundled:stories-validation'],
  ['quality', packed, '--against', tiny, '--text', path.join(folder, 'nowhere')],
  ['perplexity', packed, '--text', path.join(folder, 'nowhere')],
])('%s %s %s: what does not exist is known before a model is loaded', async (...args) => {
  const result = await runCli(args, environment);
  expect(result).toMatchObject({ exitCode: 1, stdout: '' });
  expect(result.stderr).toMatch(/^dbell: .*nowhere.* (does not exist|no such file)/m);
  expect(result.stderr).not.toContain('load');
});
