/** `npm run bench:gpu`: one run of at most five minutes on a machine with a GPU; `--help` says what it does. */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { formatBytes, formatDuration } from '../../engine/cli/format.ts';
import { table } from '../../engine/cli/table.ts';
import { machineConditions, momentaryConditions } from '../../engine/measure/conditions.ts';
import { type ModelShape, modelShapes } from '../../engine/model/model-shapes.ts';
import { adapterLabel, chooseAdapter } from '../../engine/runtime/webgpu/adapters.ts';
import { GpuContext } from '../../engine/runtime/webgpu/context.ts';
import { measureCopyBandwidth } from '../../engine/runtime/webgpu/copy-bandwidth.ts';
import { dawnHost } from '../../engine/runtime/webgpu/dawn-host.ts';
import { gpuDevice } from '../../engine/runtime/webgpu/gpu-device.ts';
import { GpuModel } from '../../engine/runtime/webgpu/model.ts';
import { findSoftwareAdapter, softwareAdapter } from '../acceptance/software-adapter.ts';
import { checkCorrectness } from './correctness.ts';
import { type Lengths, type ModelFigures, measureModel } from './measure-model.ts';
import { type BaselineFigures, type BaselineKind, measureBaseline } from './onnxruntime-baseline.ts';
import { bytesPerToken, randomPackage } from './random-package.ts';
import { measureWeightKernel } from './weight-kernel.ts';

const usage = `npm run bench:gpu -- [options]

On a machine with a GPU, through Dawn: checks the bundled model on it against
the CPU, then measures models of random weights at 1, 2 and 4 bits in the
shapes of TinyLlama-1.1B and SmolLM2-135M beside onnxruntime's WebGPU provider
with float32 and 4-bit weights (MatMulNBits). Prints tables and a line of JSON.
What five minutes leave no time for is left out and named.

  --device N      number of the adapter (dbell devices); default: the first GPU
  --shape NAMES   of ${Object.keys(modelShapes).join(', ')}; default: tinyllama-1.1b,smollm2-135m
  --software      on an adapter that computes on the processor, tiny by default
  --out FILE      write the JSON there too
  --help          show this
`;

const { values } = parseArgs({
  options: {
    device: { type: 'string' },
    shape: { type: 'string' },
    software: { type: 'boolean', default: false },
    out: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  process.stdout.write(usage);
  process.exit(0);
}

/** A part that began before may end within the rest of five minutes. */
const allowedMs = 240_000;
const startedAt = performance.now();
const leftOut: string[] = [];
/** Does what there is time for; a failure of one part is named and leaves the others. */
async function part<T>(name: string, action: () => Promise<T>): Promise<T | null> {
  if (performance.now() - startedAt > allowedMs) {
    leftOut.push(`${name}: no time left`);
    return null;
  }
  const partAt = performance.now();
  try {
    const result = await action();
    process.stderr.write(`${name}: ${formatDuration(performance.now() - partAt)}\n`);
    return result;
  } catch (error) {
    leftOut.push(`${name}: ${(error as Error).message}`);
    process.stderr.write(`${leftOut.at(-1)}\n`);
    return null;
  }
}

const lengths: Lengths = values.software
  ? { prefill: 128, firstToken: 32, decode: 8, repetitions: 1 }
  : { prefill: 512, firstToken: 128, decode: 64, repetitions: 3 };
const wantedShapes = (values.shape ?? (values.software ? 'tiny' : 'tinyllama-1.1b,smollm2-135m'))
  .split(',')
  .map((name) => {
    const shape = modelShapes[name as keyof typeof modelShapes];
    if (!shape)
      throw new Error(`there is no shape ${name}; ${Object.keys(modelShapes).join(', ')} are possible`);
    return shape;
  });
const bits = [1, 2, 4] as const;
const matrix = values.software ? { rows: 512, columns: 1408 } : { rows: 4096, columns: 11_008 };

if (values.software) findSoftwareAdapter();
const index = values.software
  ? await softwareAdapter()
  : chooseAdapter(await dawnHost.listAdapters(), values.device === undefined ? null : Number(values.device));
const opened = await dawnHost.openAdapter(index);
const context = await GpuContext.open(opened);
const { device } = await gpuDevice(index);

interface Measured extends ModelFigures {
  shape: string;
  bits: number;
  uploadMs: number;
  weightBytes: number;
  cacheBytes: number;
  scratchBytes: number;
  /** Decode speed · bytes of linears and head a token / copy bandwidth. */
  bandwidthShare: number | null;
}

const correctness = await part('correctness', () =>
  checkCorrectness(context, device, ['rtn-1', 'gptq-2', 'rtn-4', 'grid-3'], values.software ? 1 : 32),
);
const copy = await part('copy bandwidth', () => measureCopyBandwidth(context));
const kernels: { bits: number; bytesPerSecond: number; shareOfCopy: number | null }[] = [];
for (const planes of bits) {
  const measured = await part(`kernel ${matrix.rows}×${matrix.columns} at ${planes} bits`, () =>
    measureWeightKernel(context, matrix.rows, matrix.columns, planes),
  );
  if (measured)
    kernels.push({
      bits: planes,
      bytesPerSecond: measured.bytesPerSecond,
      shareOfCopy: copy ? measured.bytesPerSecond / copy.bytesPerSecond : null,
    });
}
const models: Measured[] = [];
const baselines: (BaselineFigures & { shape: string })[] = [];
for (const shape of wantedShapes) {
  for (const planes of bits) {
    const measured = await part(`${shape.name}, ${planes} bits`, () => measureShape(shape, planes));
    if (measured) models.push(measured);
  }
  for (const kind of ['MatMulNBits 4 bits', 'float32'] as BaselineKind[]) {
    const measured = await part(`${shape.name}, onnxruntime ${kind}`, () =>
      measureBaseline(shape, kind, lengths),
    );
    if (measured) baselines.push({ ...measured, shape: shape.name });
  }
}
context.close();

async function measureShape(shape: ModelShape, planes: number): Promise<Measured> {
  const source = randomPackage(shape, planes);
  const model = await GpuModel.load(context, source, { activationBits: 8, keyValueCache: 'f32' }, () => {});
  try {
    const { figures, session } = await measureModel(model, shape.vocabularySize, lengths);
    return {
      shape: shape.name,
      bits: planes,
      ...figures,
      uploadMs: model.uploadMs,
      weightBytes: model.memoryBytes.weights!,
      cacheBytes: session.cacheBytes,
      scratchBytes: session.scratchBytes,
      bandwidthShare: copy
        ? (figures.decodeTokensPerSecond * bytesPerToken(source)) / copy.bytesPerSecond
        : null,
    };
  } finally {
    model.close();
  }
}

const result = {
  adapter: adapterLabel(opened.description),
  driver: opened.driver,
  hasPackedDot: context.hasPackedDot,
  machine: machineConditions(),
  moment: momentaryConditions(),
  lengths,
  correctness,
  copy,
  matrix,
  kernels,
  models,
  baselines,
  leftOut,
  durationMs: performance.now() - startedAt,
};
process.stdout.write(`${describe()}\n\n${JSON.stringify(result)}\n`);
if (values.out) writeFileSync(values.out, `${JSON.stringify(result, null, 2)}\n`);
process.exitCode = correctness?.every(({ passed }) => passed) && leftOut.length === 0 ? 0 : 1;

function describe(): string {
  const right = (title: string) => ({ title, align: 'right' as const });
  const share = (value: number | null) => (value === null ? '–' : `${(100 * value).toFixed(1)}%`);
  const number = (value: number) => value.toPrecision(3);
  const ratio = (model: Measured, kind: BaselineKind, of: 'decode' | 'prefill') => {
    const baseline = baselines.find((each) => each.shape === model.shape && each.kind === kind);
    if (!baseline) return '–';
    const field = of === 'decode' ? 'decodeTokensPerSecond' : 'prefillTokensPerSecond';
    return `${(model[field] / baseline[field]).toFixed(2)}×`;
  };
  const rows = models.map((model) => [
    `${model.shape}, ${model.bits} bits`,
    number(model.decodeTokensPerSecond),
    model.decodeKernelMs === null ? '–' : number(model.decodeKernelMs),
    number(model.prefillTokensPerSecond),
    formatDuration(model.timeToFirstTokenMs),
    formatDuration(model.uploadMs),
    formatBytes(model.weightBytes),
    formatBytes(model.cacheBytes + model.scratchBytes),
    share(model.bandwidthShare),
    ratio(model, 'MatMulNBits 4 bits', 'decode'),
    ratio(model, 'MatMulNBits 4 bits', 'prefill'),
    ratio(model, 'float32', 'decode'),
    ratio(model, 'float32', 'prefill'),
  ]);
  const blank = Array.from({ length: 8 }, () => '');
  const others = baselines.map((baseline) => [
    `${baseline.shape}, onnxruntime ${baseline.kind}`,
    number(baseline.decodeTokensPerSecond),
    '–',
    number(baseline.prefillTokensPerSecond),
    formatDuration(baseline.timeToFirstTokenMs),
    ...blank,
  ]);
  return [
    `${result.adapter}; driver: ${result.driver || 'not told'}; packed dot product: ${context.hasPackedDot ? 'yes' : 'no'}`,
    copy
      ? `copy bandwidth ${formatBytes(copy.bytesPerSecond)}/s, bytes read and written together`
      : 'copy bandwidth not measured',
    ...(correctness ?? []).map(
      (each) =>
        `${each.recipe}: ${each.integersThatDiffer} of ${each.integers} integers differ, ${each.greedyIdsThatDiffer} of ${each.greedyIds} greedy ids at A16 (${each.greedyIdsThatDifferAt8} at A8), perplexity over ${each.tokens} tokens by ${share(each.perplexityDifference[16])} at A16, ${share(each.perplexityDifference[8])} at A8${each.passed ? '' : ' FAILED'}`,
    ),
    ...kernels.map(
      (kernel) =>
        `${matrix.rows}×${matrix.columns} at ${kernel.bits} bits: ${formatBytes(kernel.bytesPerSecond)}/s of weights, ${share(kernel.shareOfCopy)} of copying`,
    ),
    '',
    table(
      [
        { title: '' },
        ...[
          'decode tok/s',
          'kernels ms',
          `prefill ${lengths.prefill} tok/s`,
          'first token',
          'upload',
          'weights',
        ]
          .concat([
            'cache, scratch',
            'of copying',
            'decode/4-bit',
            'prefill/4-bit',
            'decode/f32',
            'prefill/f32',
          ])
          .map(right),
      ],
      [...rows, ...others],
    ),
    ...leftOut.map((each) => `left out: ${each}`),
  ].join('\n');
}
