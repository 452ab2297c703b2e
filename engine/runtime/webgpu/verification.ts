import { DBellError } from '../../contract/errors.ts';
import type { NativeLinear } from '../../native/runtime.ts';
import type { ActivationScales } from '../../quantize/recipe.ts';
import type { ActivationBits } from '../device.ts';
import { type GpuContext, readBack, UniformPages, usage } from './context.ts';
import type { GpuPackage } from './gpu-package.ts';
import { scalesOfRow } from './kernels/activations.ts';
import { chunkFields } from './kernels/kernel.ts';
import { Program, type StepDescription } from './program.ts';
import { createInputs, paddedWidth } from './scratch.ts';
import { type InputBuffers, inputSteps, linearSteps, type StageOptions } from './steps.ts';
import { trySubgroups } from './subgroup-check.ts';
import { type GpuLinear, WeightUploader } from './weights.ts';

/** Tokens of a check. */
const mostTokens = 64;

/**
 * Single steps of the WebGPU runtime on a package: the same kernels as inference, with what they computed on the way. The counterpart of `RuntimeVerification`; at most
 * 64 tokens. Throws DBellError.
 */
export class GpuVerification {
  readonly #context: GpuContext;
  readonly #source: GpuPackage;
  readonly #descriptions: ReadonlyMap<string, NativeLinear>;
  readonly #uploaded = new Map<string, Promise<GpuLinear>>();

  constructor(context: GpuContext, source: GpuPackage) {
    this.#context = context;
    this.#source = source;
    const linears = source.description.blocks.flatMap(({ q, k, v, o, gate, up, down }) => [
      ...[q, k, v, o, up, down],
      ...(gate ? [gate] : []),
    ]);
    this.#descriptions = new Map(linears.map((linear) => [linear.name, linear]));
  }

  /** How many buffers hold the linear's rows. */
  async partCount(name: string): Promise<number> {
    return (await this.#linear(name)).parts.length;
  }

  /** y `[tokens, out]` for x `[tokens, in]`, column scale and bias included. */
  async linearForward(name: string, x: Float32Array, activationBits: ActivationBits): Promise<Float32Array> {
    const linear = await this.#linear(name);
    const tokens = x.length / linear.inFeatures;
    return this.#session(linear, tokens, activationBits, async (run) => {
      run.write(run.x, x);
      const options = this.#options(activationBits);
      await run.dispatch([
        ...inputSteps(linear, { buffer: run.x, stride: linear.inFeatures }, run.inputs, options),
        ...linearSteps(linear, run.inputs, run.y, options),
      ]);
      const y = new Float32Array(await run.read(run.y.buffer, tokens * run.y.stride));
      return rowsOf(y, run.y.stride, linear.outFeatures);
    });
  }

  /** x̂ `[tokens, in]` and s of a linear's input, `[tokens]` or, by block, `[tokens, blocks]`. */
  async quantizeActivations(
    name: string,
    x: Float32Array,
    activationBits: 8 | 6 | 4,
  ): Promise<{ values: Int8Array; scales: Float32Array }> {
    const linear = await this.#linear(name);
    const { inFeatures, blocks } = linear;
    const tokens = x.length / inFeatures;
    return this.#session(linear, tokens, activationBits, async (run) => {
      run.write(run.x, x);
      const options = this.#options(activationBits);
      await run.dispatch(inputSteps(linear, { buffer: run.x, stride: inFeatures }, run.inputs, options));
      const values = new Int8Array(await run.read(run.inputs.quantized, tokens * blocks * 32));
      const perToken = scalesOfRow(options.activationScales, blocks);
      const side = new Float32Array(await run.read(run.inputs.side, tokens * (blocks + perToken)));
      return {
        values: rowsOf(values, blocks * 128, inFeatures),
        scales: rowsOf(side, blocks + perToken, perToken, blocks),
      };
    });
  }

  /** The exact integers for given x̂ `[tokens, in]`, as `RuntimeVerification.maskedSums` has them. */
  maskedSums(name: string, values: Int8Array): Promise<Int32Array> {
    return this.#sums(name, values, 'linear');
  }

  /** The same of the residual columns: `[tokens, out, ceil(count / 128)]`. */
  residualSums(name: string, values: Int8Array): Promise<Int32Array> {
    return this.#sums(name, values, 'residual');
  }

  async #sums(name: string, values: Int8Array, of: 'linear' | 'residual'): Promise<Int32Array> {
    const linear = await this.#linear(name);
    const { inFeatures, outFeatures } = linear;
    const tokens = values.length / inFeatures;
    const counted = of === 'linear' ? linear : linear.residual?.linear;
    if (!counted) throw new DBellError('invalid-input', `${name} has no residual columns`);
    const perRow = counted.blocks * (counted.layout === 'structured' ? 6 : 1);
    return this.#session(linear, tokens, 8, async (run) => {
      const options = {
        ...this.#options(8),
        record: { integers: run.create(tokens * run.y.stride * perRow), of },
      };
      const { packed, side } = packActivations(values, tokens, linear.blocks, options.activationScales);
      run.write(run.inputs.quantized, packed);
      run.write(run.inputs.side, side);
      await run.dispatch(linearSteps(linear, run.inputs, run.y, options));
      const result = new Int32Array(await run.read(options.record.integers, tokens * run.y.stride * perRow));
      return rowsOf(result, run.y.stride * perRow, outFeatures * perRow);
    });
  }

  #options(activationBits: ActivationBits): StageOptions {
    const { activationScales } = this.#source.description;
    return { activationBits, activationScales, packedDot: this.#context.hasPackedDot, fusedMultiply: false };
  }

  #linear(name: string): Promise<GpuLinear> {
    const description = this.#descriptions.get(name);
    if (!description) throw new DBellError('not-found', `the package has no quantized linear named ${name}`);
    let linear = this.#uploaded.get(name);
    if (!linear) {
      linear = new WeightUploader(this.#context, this.#source).linear(description);
      this.#uploaded.set(name, linear);
    }
    return linear;
  }

  /** Buffers for one linear and so many tokens, given back afterwards. */
  async #session<T>(
    linear: GpuLinear,
    tokens: number,
    activationBits: ActivationBits,
    action: (run: Run) => Promise<T>,
  ): Promise<T> {
    if (!Number.isInteger(tokens) || tokens < 1 || tokens > mostTokens)
      throw new DBellError(
        'invalid-input',
        `${tokens} tokens; 1 to ${mostTokens} are possible, of ${linear.inFeatures} values each`,
      );
    const run = new Run(this.#context, linear, tokens, activationBits);
    try {
      return await this.#context.checked(linear.name, async () => {
        await trySubgroups(this.#context);
        return action(run);
      });
    } finally {
      run.destroy();
    }
  }
}

/** One linear's buffers and what is done with them. */
class Run {
  readonly x: GPUBuffer;
  readonly y: { buffer: GPUBuffer; stride: number };
  readonly inputs: InputBuffers;
  readonly #context: GpuContext;
  readonly #tokens: number;
  readonly #uniforms: UniformPages;
  readonly #chunk: GPUBuffer;
  readonly #buffers: GPUBuffer[] = [];

  constructor(context: GpuContext, linear: GpuLinear, tokens: number, activationBits: ActivationBits) {
    this.#context = context;
    this.#tokens = tokens;
    this.#uniforms = new UniformPages(context);
    const stride = paddedWidth(linear.outFeatures);
    const rows = mostTokens;
    this.x = this.create(rows * linear.inFeatures);
    this.y = { buffer: this.create(rows * stride), stride };
    this.inputs = createInputs((_, words) => this.create(words), rows, {
      columns: linear.inFeatures,
      gathered: linear.residual?.count ?? 0,
      integer: activationBits !== 16,
    });
    this.#chunk = this.create(chunkFields.length, usage.uniform);
  }

  create(words: number, extraUsage = 0): GPUBuffer {
    const buffer = this.#context.createBuffer('scratch', 'check', 4 * words, extraUsage);
    this.#buffers.push(buffer);
    return buffer;
  }

  write(buffer: GPUBuffer, values: Float32Array | Uint32Array): void {
    this.#context.device.queue.writeBuffer(buffer, 0, Uint8Array.from(bytesOf(values)));
  }

  async dispatch(steps: StepDescription[]): Promise<void> {
    const { device } = this.#context;
    const program = await Program.build(this.#context, this.#chunk, this.#uniforms, steps);
    this.write(this.#chunk, Uint32Array.of(this.#tokens, 0, 0, 0));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    program.encode(pass, this.#tokens);
    pass.end();
    device.queue.submit([encoder.finish()]);
  }

  async read(buffer: GPUBuffer, words: number): Promise<ArrayBuffer> {
    const { device } = this.#context;
    const staging = device.createBuffer({ size: 4 * words, usage: usage.mapRead | usage.copyTarget });
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, staging, 0, 4 * words);
    device.queue.submit([encoder.finish()]);
    const bytes = await readBack(this.#context, staging, 4 * words);
    staging.destroy();
    return bytes;
  }

  destroy(): void {
    this.#uniforms.destroy();
    for (const buffer of this.#buffers) this.#context.destroyBuffer('scratch', buffer);
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array | Uint32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** x̂ as the quantizing kernel leaves it, with scales of 1: `[tokens, blocks · 32]` words, and beside them `[tokens, blocks + 1]` or `[tokens, blocks + blocks]`. */
function packActivations(
  values: Int8Array,
  tokens: number,
  blocks: number,
  scales: ActivationScales,
): { packed: Uint32Array; side: Uint32Array } {
  const width = values.length / tokens;
  const bytes = new Int8Array(tokens * blocks * 128);
  const perToken = blocks + scalesOfRow(scales, blocks);
  const side = new Int32Array(tokens * perToken);
  for (let token = 0; token < tokens; token++) {
    const row = values.subarray(token * width, (token + 1) * width);
    bytes.set(row, token * blocks * 128);
    for (const [column, value] of row.entries()) side[token * perToken + Math.floor(column / 128)]! += value;
    new Float32Array(side.buffer).fill(1, token * perToken + blocks, (token + 1) * perToken);
  }
  return { packed: new Uint32Array(bytes.buffer), side: new Uint32Array(side.buffer) };
}

/** `width` values from `first` on of every `stride`. */
function rowsOf<T extends Float32Array | Int32Array | Int8Array>(
  values: T,
  stride: number,
  width: number,
  first = 0,
): T {
  const rows = values.length / stride;
  const result = values.slice(0, rows * width) as T;
  for (let row = 0; row < rows; row++)
    result.set(values.subarray(row * stride + first, row * stride + first + width), row * width);
  return result;
}
