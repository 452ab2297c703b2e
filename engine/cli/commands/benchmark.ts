import path from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import type { ActivationBits, KeyValueCache } from '../../contract/common.ts';
import { sumOfBytes } from '../../contract/itemised-bytes.ts';
import { limits } from '../../contract/limits.ts';
import type {
  BenchmarkPeer,
  BenchmarkResult,
  BenchmarkSubject,
  KernelTable,
  PeerRequest,
  SpeedRatio,
  SyntheticModel,
} from '../../contract/measurement.ts';
import type { AddCommand } from '../command.ts';
import { exitCodes } from '../exit-codes.ts';
import { formatBytes, formatCounted, formatDuration, formatSpeed } from '../format.ts';
import {
  deviceOption,
  filePath,
  keyValueCacheOption,
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
  shape?: string;
  shapeBits?: SyntheticModel['levels'];
  shapeTables?: SyntheticModel['tables'];
  peers?: PeerRequest[];
  kernels?: boolean;
  device?: string;
  threads?: number;
  promptTokens?: number[];
  depths?: number[];
  generateTokens?: number;
  repetitions?: number;
  activationBits?: ActivationBits;
  kvCache?: KeyValueCache;
  remember: boolean;
}

export const benchmarkCommand: AddCommand = (program, run) => {
  withOutputOptions(
    program
      .command('benchmark')
      .description('measure load time, speed, latency and memory')
      .argument('[model]', 'Hugging Face folder, .gguf file or package', filePath)
      .option('--shape <name>', 'random weights in the shape of a model, in place of one: tinyllama-1.1b …')
      .option('--shape-bits <bits>', 'of its linears: 1, ternary, 2 or 4 (default: 1)', shapeLevels)
      .option(
        '--shape-tables <bits>',
        'its embedding and head: grid (as its linears), 16, 8, 6 or 4 (default: grid)',
        shapeTables,
      )
      .option('--kernels', 'weight kernels of every instruction set by themselves, in place of a model')
      .option(
        '--peers <names>',
        'other programs in turns with it: onnxruntime[:float32|int8|int4], llama.cpp[:TYPE]',
        peerList,
      )
      .option('--baseline <model>', 'measure this too, the same way: the model in full precision', filePath)
      .option(...keyValueCacheOption)
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
  dbell benchmark model.gguf --prompt-tokens 128 --repetitions 3 --json
  dbell benchmark --shape tinyllama-1.1b --peers llama.cpp,onnxruntime:int4

A shape has random weights: its speed and memory are those of a model of that
size, its text and quality are nothing. Peers run in turns with the model, one
measurement each; ratios are of neighbours. llama.cpp is found by
node-llama-cpp, where that is installed.`,
    )
    .action((model: string | undefined, options: BenchmarkOptions, command: Command) => {
      const { shape, shapeBits, shapeTables } = options;
      if (options.kernels)
        return run(options, async ({ client, output }) => {
          const measured = await client.call('measureKernels', { threads: options.threads });
          output.result(measured, () => describeKernels(measured));
        });
      if (model !== undefined && shape !== undefined)
        command.error(`error: give a model or --shape, not both: ${model} and ${shape}`);
      if (model === undefined && shape === undefined)
        command.error('error: give a model, a shape by --shape, or --kernels');
      if (shape === undefined && (shapeBits !== undefined || shapeTables !== undefined))
        command.error('error: --shape-bits and --shape-tables belong to --shape');
      return run(options, async ({ client, output, followJob }) => {
        const { baseline, threads, promptTokens, generateTokens, repetitions } = options;
        const { jobId } = await client.call('benchmark', {
          model,
          synthetic: shape === undefined ? undefined : { shape, levels: shapeBits, tables: shapeTables },
          peers: options.peers,
          baseline,
          device: options.device,
          threads,
          promptTokens,
          decodeDepths: options.depths,
          generateTokens,
          repetitions,
          activationBits: options.activationBits,
          keyValueCache: options.kvCache,
          remember: options.remember,
        });
        const result = await followJob(jobId, 'benchmark');
        output.result(result, () => describeBenchmark(result));
        if (result.baselineProblem || result.peers?.some(({ problem }) => problem !== undefined))
          throw new CommandEnd(exitCodes.failure);
      });
    });
};

const levelsOf: Readonly<Record<string, SyntheticModel['levels']>> = { 1: 2, ternary: 3, 2: 4, 4: 16 };

function shapeLevels(text: string): SyntheticModel['levels'] {
  const levels = levelsOf[text];
  if (levels === undefined) throw new InvalidArgumentError('Allowed: 1, ternary, 2, 4.');
  return levels;
}

function shapeTables(text: string): SyntheticModel['tables'] {
  return text === 'grid' ? 'grid' : oneOf(16, 8, 6, 4)(text);
}

/** `onnxruntime:int8,llama.cpp`. */
function peerList(text: string): PeerRequest[] {
  return text.split(',').map((name) => {
    const [engine, type] = name.trim().split(':');
    if (engine !== 'onnxruntime' && engine !== 'llama.cpp')
      throw new InvalidArgumentError(
        'Allowed: onnxruntime, llama.cpp, each with :TYPE behind it or without.',
      );
    return { engine, type };
  });
}

/** A table for each number of threads and tokens. */
export function describeKernels({ rows, peaks, bandwidth, chosen }: KernelTable): string {
  const parts: string[] = [];
  const billions = (value: number) => (value / 1e9).toPrecision(3);
  for (const { threads, bytesPerSecond } of bandwidth) {
    parts.push(
      `${threads === 1 ? '1 thread' : `${threads} threads`}: memory read at ${billions(bytesPerSecond)} GB/s; int8 ${peaks
        .filter((peak) => peak.threads === threads)
        .map(
          (peak) => `${billions(peak.operationsPerSecond)} GOPS with ${peak.kernels} (${peak.instruction})`,
        )
        .join(', ')}`,
    );
    for (const tokens of new Set(rows.map((row) => row.tokens))) {
      const shown = rows.filter((row) => row.threads === threads && row.tokens === tokens);
      const columns = ['', 'rows × columns', 'µs', 'GB/s', 'of memory', 'GOPS', 'of int8 peak'];
      parts.push(
        table(
          columns.map((title, index) => ({
            title: index === 0 ? (tokens === 1 ? 'one token' : `${tokens} tokens`) : title,
            align: index === 0 ? ('left' as const) : ('right' as const),
          })),
          shown.map((row) => [
            `${row.kernels}, ${row.storage}`,
            `${row.rows} × ${row.columns}`,
            row.microseconds.toPrecision(3),
            billions(row.bytesPerSecond),
            `${(100 * row.bandwidthShare).toFixed(0)}%`,
            billions(row.operationsPerSecond),
            `${(100 * row.peakShare).toFixed(0)}%`,
          ]),
        ),
      );
    }
  }
  return [...parts, `packages run with ${chosen} here`].join('\n\n');
}

/** Other programs: their speeds, and ours in theirs. */
export function describePeers(peers: readonly BenchmarkPeer[]): string {
  const rows = peers.flatMap(({ engine, type, subject, prefillRatio, decodeRatio, problem }) => {
    if (subject === null) return [[`${engine} ${type}`, problem?.message ?? 'not measured', '', '']];
    const ratio = (value: SpeedRatio | undefined) =>
      value === undefined
        ? '–'
        : `${value.median.toFixed(2)}×  (${value.smallest.toFixed(2)} … ${value.largest.toFixed(2)})`;
    const lengths = (values: Record<string, number>) =>
      Object.keys(values).sort((a, b) => Number(a) - Number(b));
    return [
      ...lengths(subject.prefillTokensPerSecond).map((length) => [
        `${engine} ${type}`,
        `prefill ${length}`,
        formatSpeed(subject.prefillTokensPerSecond[length] ?? 0),
        ratio(prefillRatio[length]),
      ]),
      ...lengths(subject.decodeTokensPerSecond).map((depth) => [
        `${engine} ${type}`,
        `decode at ${depth}`,
        formatSpeed(subject.decodeTokensPerSecond[depth] ?? 0),
        ratio(decodeRatio[depth]),
      ]),
      [`${engine} ${type}`, 'peak memory', formatBytes(subject.peakRssBytes), ''],
    ];
  });
  const facts = peers.flatMap(({ engine, type, version, weights, weightRatio }) =>
    version === null
      ? []
      : [
          `${engine} ${type}: ${version}; weights: ${weights}${weightRatio === 1 ? '' : `, ${weightRatio.toFixed(3)} times as many as the model has`}`,
        ],
  );
  const columns = [
    { title: 'beside' },
    { title: '' },
    { title: 'its own', align: 'right' as const },
    { title: 'ours / its (smallest … largest)' },
  ];
  return [table(columns, rows), ...facts].join('\n');
}

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
    ...lengths(({ memoryBandwidth, bytesReadPerToken }) => (memoryBandwidth ? bytesReadPerToken : {})).map(
      (depth) =>
        row(
          `of the memory's speed at ${depth}`,
          ({ memoryBandwidth, bytesReadPerToken, memoryBandwidthShare }) => {
            if (!memoryBandwidth || bytesReadPerToken[depth] === undefined) return '–';
            const share = memoryBandwidthShare[depth];
            return share === undefined ? 'in cache' : `${(100 * share).toFixed(0)}%`;
          },
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
    row(
      'activations',
      ({ activationBits, activationScales }) =>
        `${activationBits} bits${activationScales === undefined ? '' : ` by ${activationScales}`}`,
    ),
    ...(subjects.some(({ keyValueCache }) => keyValueCache !== undefined)
      ? [row('cache', ({ keyValueCache = 'f32' }) => keyValueCache)]
      : []),
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
        : `memory: read at ${formatBytes(result.memoryBandwidth.bytesPerSecond)}/s in order by ${formatCounted(result.memoryBandwidth.threads, 'thread')}`,
    );
  if (result.layerPaths)
    notes.push(
      `kernels: ${result.layerPaths.map(({ path: kernel, layers }) => `${kernel} (${layers})`).join('; ')}`,
    );
  if (result.synthetic)
    notes.push(
      `${result.model}: the weights are random: speed and memory are those of such a model, its quality is nothing`,
    );
  return [
    table(
      [
        { title: '' },
        ...subjects.map(({ model }) => ({
          // A shape's label has a comma behind its name; the whole of it stands in the notes.
          title: path.basename(result.synthetic ? (model.split(',')[0] as string) : model).slice(0, 28),
          align: 'right' as const,
          maximumWidth: 28,
        })),
      ],
      rows,
    ),
    ...(result.peers && result.peers.length > 0 ? ['', describePeers(result.peers)] : []),
    ...notes,
  ].join('\n');
}
