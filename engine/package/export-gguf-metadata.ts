import { DBellError } from '../contract/errors.ts';
import type { Architecture, FamilyName, Position } from '../model/architecture.ts';
import { cannotBeExported, type GgufMetadataValue } from './export-gguf-file.ts';
import type { PackageSource } from './types.ts';

/** `general.architecture` of each family; null where llama.cpp has none. Mistral is a LLaMA to it. */
const architectures: Record<FamilyName, string | null> = {
  llama: 'llama',
  mistral: 'llama',
  qwen2: 'qwen2',
  qwen3: 'qwen3',
  // llama.cpp's `bitnet` computes with silu.
  bitnet: null,
  opt: null,
};

/** The layout of quantized blocks that every program since 2023 expects. */
const quantizationVersion = 2;

/**
 * What GGUF says of the model's shape.
 *
 * @throws DBellError `unsupported-model` for models that llama.cpp would not run, or not as they are
 */
export function modelMetadata(
  source: { architecture: Architecture; quality: Pick<PackageSource['quality'], 'license'> },
  name: string,
): { architecture: string; metadata: Map<string, GgufMetadataValue>; notes: string[] } {
  const a = source.architecture;
  const architecture = architectures[a.family];
  if (architecture === null) throw unsupported(`llama.cpp has no models of the family ${a.family}`);
  if (a.activation !== 'silu')
    throw unsupported(`llama.cpp computes this family with silu, the model has ${a.activation}`);
  const { position } = a;
  if (position.kind !== 'rope') throw unsupported('GGUF has no learned positions');
  const notes: string[] = [];
  let { contextLength } = a;
  if (a.slidingWindow !== null && a.slidingWindow < contextLength) {
    contextLength = a.slidingWindow;
    notes.push(
      `the context is cut from ${a.contextLength} to ${contextLength}: llama.cpp computes this family without its sliding window`,
    );
  }
  const metadata = new Map<string, GgufMetadataValue>();
  const text = (key: string, value: string) => metadata.set(key, { type: 'string', value });
  const integer = (key: string, value: number) =>
    metadata.set(`${architecture}.${key}`, { type: 'uint32', value });
  const float = (key: string, value: number) =>
    metadata.set(`${architecture}.${key}`, { type: 'float32', value });
  text('general.architecture', architecture);
  text('general.type', 'model');
  text('general.name', name);
  if (source.quality.license !== null) text('general.license', source.quality.license);
  metadata.set('general.quantization_version', { type: 'uint32', value: quantizationVersion });
  integer('context_length', contextLength);
  integer('embedding_length', a.hiddenSize);
  integer('block_count', a.blocks.length);
  integer('feed_forward_length', a.intermediateSize);
  integer('attention.head_count', a.headCount);
  integer('attention.head_count_kv', a.keyValueHeadCount);
  integer('attention.key_length', a.headDimension);
  integer('attention.value_length', a.headDimension);
  float('attention.layer_norm_rms_epsilon', epsilonOf(a));
  integer('vocab_size', a.vocabularySize);
  integer('rope.dimension_count', position.rotaryDimensions);
  float('rope.freq_base', position.theta);
  if (position.scaling.kind === 'linear') {
    text(`${architecture}.rope.scaling.type`, 'linear');
    float('rope.scaling.factor', position.scaling.factor);
  }
  return { architecture, metadata, notes };
}

/** llama.cpp has one epsilon for all norms. */
function epsilonOf(architecture: Architecture): number {
  const norms = architecture.blocks.flatMap((block) => [
    block.attentionNorm,
    block.mlpNorm,
    block.queryNorm,
    block.keyNorm,
  ]);
  const epsilons = new Set(
    [...norms, architecture.finalNorm].flatMap((norm) => (norm === null ? [] : [norm.epsilon])),
  );
  const [epsilon] = epsilons;
  if (epsilons.size !== 1 || epsilon === undefined)
    throw unsupported(`its norms have different epsilons (${[...epsilons].join(', ')})`);
  return epsilon;
}

/**
 * `rope_freqs.weight`: by how much the frequency of each rotary pair is divided, `[rotaryDimensions / 2]`, for LLaMA-3's scaling (its reference code,
 * apply_scaling); null for others.
 */
export function ropeFactors(position: Position): Float32Array | null {
  if (position.kind !== 'rope' || position.scaling.kind !== 'llama3') return null;
  const { theta, rotaryDimensions, scaling } = position;
  const { factor, lowFrequencyFactor, highFrequencyFactor, originalContextLength } = scaling;
  return Float32Array.from({ length: rotaryDimensions / 2 }, (_, pair) => {
    const waveLength = 2 * Math.PI * theta ** ((2 * pair) / rotaryDimensions);
    if (waveLength < originalContextLength / highFrequencyFactor) return 1;
    if (waveLength > originalContextLength / lowFrequencyFactor) return factor;
    const smooth =
      (originalContextLength / waveLength - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}

function unsupported(reason: string): DBellError {
  return new DBellError('unsupported-model', `${cannotBeExported}${reason}`);
}
