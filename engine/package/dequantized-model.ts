import { DBellError } from '../contract/errors.ts';
import type { Architecture } from '../model/architecture.ts';
import type { ModelProblem, ModelSource, TensorInfo, TokenizerDefinition } from '../model/source.ts';
import { dequantize } from '../quantize/dequantize.ts';
import { scaleColumns } from '../quantize/scaled-columns.ts';
import type { PackageSource } from './types.ts';

/**
 * A package as a full-precision model: linears are dequantized as they are read, their column scales multiplied in. What it computes is what the
 * packed runtime computes with activations at 16 bits, up to rounding.
 */
export class DequantizedModel implements ModelSource {
  readonly path: string;
  readonly format = 'huggingface';
  readonly architecture: Architecture;
  readonly config: Record<string, unknown>;
  readonly generationConfig: Record<string, unknown> | null;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly tokenizer: TokenizerDefinition;
  readonly tokenizerFiles: ReadonlyMap<string, Uint8Array>;
  readonly chatTemplate: string | null;
  readonly license: string | null;
  readonly parameterCount: number;
  readonly fileBytes: number;
  readonly warnings: ModelProblem[] = [];
  readonly #package: PackageSource;
  /** Linear by the name of its weight, and by the name of its bias. */
  readonly #linearOfWeight = new Map<string, string>();
  readonly #linearOfBias = new Map<string, string>();

  constructor(source: PackageSource) {
    this.#package = source;
    this.path = source.path;
    this.architecture = source.architecture;
    const { quantization_config: _, ...config } = source.config;
    this.config = config;
    this.generationConfig = source.generationConfig;
    this.tokenizer = source.tokenizer;
    this.tokenizerFiles = source.tokenizerFiles;
    this.chatTemplate = source.chatTemplate;
    this.license = source.quality.license;
    this.parameterCount = source.quality.total.parameters;
    this.fileBytes = source.modelBytes;
    const tensors = new Map<string, TensorInfo>();
    const add = (name: string, shape: number[], storedBytes: number) =>
      tensors.set(name, { name, storedType: 'F32', shape, storedBytes });
    for (const table of [source.embedding, source.head])
      add(table.name, [table.rows, table.columns], table.storedBytes);
    for (const location of source.floats.values()) add(location.name, location.shape, location.byteLength);
    for (const stage of source.architecture.blocks.flatMap((block) => block.stages))
      for (const { name, bias, outFeatures, inFeatures } of stage.linears) {
        const linear = source.linears.get(name);
        this.#linearOfWeight.set(`${name}.weight`, name);
        add(`${name}.weight`, [outFeatures, inFeatures], linear?.storedBytes ?? 0);
        if (bias === null) continue;
        this.#linearOfBias.set(bias, name);
        add(bias, [outFeatures], linear?.bias?.byteLength ?? 0);
      }
    this.tensors = tensors;
  }

  async fingerprint(): Promise<string> {
    return this.#package.quantization.files['model.safetensors']?.sha256 ?? '';
  }

  readFloat32(name: string, into?: Float32Array): Float32Array {
    return copied(name, this.#read(name), into);
  }

  readRowsFloat32(name: string, begin: number, count: number, into?: Float32Array): Float32Array {
    const linear = this.#linearOfWeight.get(name);
    if (linear === undefined) return copied(name, this.#package.readRowsFloat32(name, begin, count), into);
    const columns = this.tensors.get(name)?.shape[1] ?? 0;
    return copied(name, this.#read(name).slice(begin * columns, (begin + count) * columns), into);
  }

  close(): void {}

  #read(name: string): Float32Array {
    const biased = this.#linearOfBias.get(name);
    if (biased !== undefined) {
      const location = this.#package.linears.get(biased)?.bias;
      if (location) return new Float32Array(this.#package.readBytes(location).buffer);
    }
    const linearName = this.#linearOfWeight.get(name);
    if (linearName === undefined) return this.#package.readFloat32(name);
    const linear = this.#package.readLinear(linearName);
    const weight = dequantize(linear);
    return linear.columnScale === null ? weight : scaleColumns(weight, linear.columnScale);
  }
}

function copied(name: string, values: Float32Array, into: Float32Array | undefined): Float32Array {
  if (into === undefined) return values;
  if (into.length !== values.length)
    throw new DBellError('invalid-input', `${name} has ${values.length} values, the target ${into.length}`);
  into.set(values);
  return into;
}
