import path from 'node:path';
import type { ActivationBits } from '../../contract/common.ts';
import { sumOfBytes } from '../../contract/itemised-bytes.ts';
import { limits } from '../../contract/limits.ts';
import type { BenchmarkResult, BenchmarkSubject } from '../../contract/measurement.ts';
import type { AddCommand } from '../command.ts';
import { exitCodes } from '../exit-codes.ts';
import { formatBytes, formatDuration, formatSpeed } from '../format.ts';
import {
  deviceOption,
  filePath,
  oneOf,
  wholeNumber,
  wholeNumberList,
  withOutputOptions,
} from '../options.ts';
import type { OutputOptions } from '../output.ts';
import { CommandEnd } from '../session.ts';
import { table } from '../table.ts';

interface BenchmarkOptions extends OutputOptions {
  baseline?: string;
  device?: string;
  threads?: number;
  promptTokens?: number[];
  depths?: number[];
  generateTokens?: number;
  repetitions?: number;
  activationBits?: ActivationBits;
  remember: boolean;
}

export const benchmarkCommand: AddCommand = (program, run) => {
  withOutputOptions(
    program
      .command('benchmark')
      .description('measure load time, speed, latency and memory')
      .argument('<model>', 'Hugging Face folder, .gguf file or package', filePath)
      .option('--baseline <model>', 'measure this too, the same way: the model in full precision', filePath)
      .option(...deviceOption)
      .option('--threads <count>', '0 = all cores (default: 0)', wholeNumber(0, limits.threads))
      .option('--prompt-tokens <counts>', 'prefill lengths (default: 128,512)', wholeNumberList(1))
      .option('--depths <counts>', 'tokens before those that are timed (default: 0,256)', wholeNumberList(0))
      .option(
        '--generate-tokens <count>',
        'tokens to time at each depth (default: 64)',
        wholeNumber(1, limits.generateTokens),
      )
      .option('--repetitions <count>', 'default: 5', wholeNumber(1, limits.repetitions))
      .option(
        '--activation-bits <bits>',
        '16, 8, 6 or 4 (default: what a package was made for; 16 for a model)',
        oneOf(16, 8, 6, 4),
      )
      .option('--no-remember', 'leave it out of the history'),
  )
    .addHelpText(
      'after',
      `
Each subject runs in a process of its own, so that its peak memory is its own.
Speeds are medians over the repetitions after a warm-up. "unstable" means that
the machine was busy or too uneven; the reasons are given.

Examples:
  dbell benchmark packed --baseline resources/dbell-stories-7m
  dbell benchmark model.gguf --prompt-tokens 128 --repetitions 3 --json`,
    )
    .action((model: string, options: BenchmarkOptions) =>
      run(options, async ({ client, output, followJob }) => {
        const { baseline, threads, promptTokens, generateTokens, repetitions } = options;
        const { jobId } = await client.call('benchmark', {
          model,
          baseline,
          device: options.device,
          threads,
          promptTokens,
          decodeDepths: options.depths,
          generateTokens,
          repetitions,
          activationBits: options.activationBits,
          remember: options.remember,
        });
        const result = await followJob(jobId, 'benchmark');
        output.result(result, () => describeBenchmark(result));
        if (result.baselineProblem) throw new CommandEnd(exitCodes.failure);
      }),
    );
};

/** One column for each subject, so that unlike numbers stand side by side. */
export function describeBenchmark(result: BenchmarkResult): string {
  const subjects: BenchmarkSubject[] = result.baseline ? [result, result.baseline] : [result];
  const row = (name: string, of: (subject: BenchmarkSubject) => string): string[] => [
    name,
    ...subjects.map(of),
  ];
  const lengths = (of: (subject: BenchmarkSubject) => Record<string, unknown>) =>
    [...new Set(subjects.flatMap((subject) => Object.keys(of(subject))))].sort(
      (a, b) => Number(a) - Number(b),
    );
  const speed = (value: number | undefined) => (value === undefined ? '–' : formatSpeed(value));
  const time = (value: number | undefined) => (value === undefined ? '–' : formatDuration(value));
  const rows = [
    row('weight files', ({ modelBytes }) => formatBytes(modelBytes)),
    row('load', ({ loadMs }) => formatDuration(loadMs)),
    row('peak memory', ({ peakRssBytes }) => formatBytes(peakRssBytes)),
    ...lengths(({ prefillTokensPerSecond }) => prefillTokensPerSecond).map((length) =>
      row(`prefill ${length} tokens`, (subject) => speed(subject.prefillTokensPerSecond[length])),
    ),
    ...lengths(({ decodeTokensPerSecond }) => decodeTokensPerSecond).map((depth) =>
      row(`decode at ${depth}`, (subject) => speed(subject.decodeTokensPerSecond[depth])),
    ),
    ...lengths(({ bytesReadPerToken }) => bytesReadPerToken).map((depth) =>
      row(`read per token at ${depth}`, ({ bytesReadPerToken }) => {
        const items = bytesReadPerToken[depth];
        return items === undefined ? '–' : formatBytes(sumOfBytes(items));
      }),
    ),
    ...lengths(({ memoryBandwidthShare }) => memoryBandwidthShare).map((depth) =>
      row(`of the memory's speed at ${depth}`, ({ memoryBandwidthShare }) =>
        memoryBandwidthShare[depth] === undefined
          ? 'in cache'
          : `${(100 * memoryBandwidthShare[depth]).toFixed(0)}%`,
      ),
    ),
    ...(subjects.some(({ deviceTimes }) => deviceTimes)
      ? [row('upload', ({ deviceTimes }) => (deviceTimes ? formatDuration(deviceTimes.uploadMs) : '–'))]
      : []),
    ...lengths(({ deviceTimes }) => deviceTimes?.prefillKernelMs ?? {}).map((length) =>
      row(`kernels of prefill ${length}`, ({ deviceTimes }) => time(deviceTimes?.prefillKernelMs[length])),
    ),
    ...lengths(({ deviceTimes }) => deviceTimes?.decodeKernelMs ?? {}).map((depth) =>
      row(`kernels of a token at ${depth}`, ({ deviceTimes }) => time(deviceTimes?.decodeKernelMs[depth])),
    ),
    row('first token', ({ timeToFirstTokenMs }) => formatDuration(timeToFirstTokenMs)),
    row('token p50', ({ tokenLatencyMs }) => formatDuration(tokenLatencyMs.p50)),
    row('token p95', ({ tokenLatencyMs }) => formatDuration(tokenLatencyMs.p95)),
    row('token p99', ({ tokenLatencyMs }) => formatDuration(tokenLatencyMs.p99)),
    row('activations', ({ activationBits }) => `${activationBits} bits`),
    row('computed by', ({ kernelPath }) => kernelPath),
    row('verdict', ({ stable }) => (stable ? 'stable' : 'unstable')),
  ];
  const notes = subjects.flatMap(({ model, device, stabilityNotes }) =>
    [...(device === 'cpu' ? [] : [`ran on ${device}`]), ...stabilityNotes].map(
      (note) => `${path.basename(model)}: ${note}`,
    ),
  );
  if (result.baselineProblem) notes.push(`the baseline was not measured: ${result.baselineProblem.message}`);
  if (result.memoryBandwidth)
    notes.push(
      result.memoryBandwidth.threads === 0
        ? `memory of the device: copied at ${formatBytes(result.memoryBandwidth.bytesPerSecond)}/s, bytes read and written together`
        : `memory: read at ${formatBytes(result.memoryBandwidth.bytesPerSecond)}/s in order by ${result.memoryBandwidth.threads} threads`,
    );
  return [
    table(
      [
        { title: '' },
        ...subjects.map(({ model }) => ({
          title: path.basename(model).slice(0, 28),
          align: 'right' as const,
          maximumWidth: 28,
        })),
      ],
      rows,
    ),
    ...notes,
  ].join('\n');
}
