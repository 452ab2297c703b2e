import type { Architecture } from './architecture.ts';
import type { ByteSource } from './byte-source.ts';
import type { GgufMetadata } from './gguf/metadata.ts';
import type { LowBitWeight, ModelProblem, ModelSource, TensorInfo, TokenizerDefinition } from './source.ts';
import type { WeightLocation } from './weight-location.ts';
import { hashSources, WeightReader } from './weights.ts';

/** What the readers of both formats hand over. */
export interface OpenedParts {
  path: string;
  format: 'huggingface' | 'gguf';
  architecture: Architecture;
  config: Record<string, unknown>;
  generationConfig: Record<string, unknown> | null;
  weights: Map<string, WeightLocation>;
  parameterCount: number;
  sources: ByteSource[];
  tokenizer: TokenizerDefinition;
  tokenizerFiles: Map<string, Uint8Array>;
  chatTemplate: string | null;
  license: string | null;
  ggufMetadata: GgufMetadata | null;
  warnings: ModelProblem[];
}

/** ModelSource over files of either format. */
export class OpenedModel implements ModelSource {
  readonly path: string;
  readonly format: 'huggingface' | 'gguf';
  readonly architecture: Architecture;
  readonly config: Record<string, unknown>;
  readonly generationConfig: Record<string, unknown> | null;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly tokenizer: TokenizerDefinition;
  readonly tokenizerFiles: ReadonlyMap<string, Uint8Array>;
  readonly chatTemplate: string | null;
  readonly license: string | null;
  readonly ggufMetadata: GgufMetadata | null;
  readonly parameterCount: number;
  readonly fileBytes: number;
  readonly warnings: ModelProblem[];
  readonly #reader: WeightReader;
  readonly #sources: ByteSource[];
  #fingerprint: Promise<string> | null = null;

  constructor(parts: OpenedParts) {
    this.path = parts.path;
    this.format = parts.format;
    this.architecture = parts.architecture;
    this.config = parts.config;
    this.generationConfig = parts.generationConfig;
    this.tokenizer = parts.tokenizer;
    this.tokenizerFiles = parts.tokenizerFiles;
    this.chatTemplate = parts.chatTemplate;
    this.license = parts.license;
    this.ggufMetadata = parts.ggufMetadata;
    this.parameterCount = parts.parameterCount;
    this.warnings = parts.warnings;
    this.#reader = new WeightReader(parts.weights);
    this.#sources = parts.sources;
    this.fileBytes = parts.sources.reduce((sum, source) => sum + source.size, 0);
    this.tensors = new Map(
      [...parts.weights].map(([name, { storedType, shape, bytes }]) => [
        name,
        { name, storedType, shape, storedBytes: bytes },
      ]),
    );
  }

  fingerprint(): Promise<string> {
    this.#fingerprint ??= hashSources(JSON.stringify(this.architecture), this.#sources);
    return this.#fingerprint;
  }

  readFloat32(name: string, into?: Float32Array): Float32Array {
    return this.#reader.read(name, into);
  }

  readRowsFloat32(name: string, begin: number, count: number, into?: Float32Array): Float32Array {
    return this.#reader.readRows(name, begin, count, into);
  }

  lowBitWeight(name: string): LowBitWeight | null {
    return this.#reader.readLowBit(name);
  }

  close(): void {
    for (const source of this.#sources) source.close();
  }
}
