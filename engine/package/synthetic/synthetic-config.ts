import { DBellError } from '../../contract/errors.ts';
import type { Architecture } from '../../model/architecture.ts';
import { byteLevelStep, bytePairModel } from '../../model/byte-pair-model.ts';
import { ConfigReader } from '../../model/config-reader.ts';
import type { Family } from '../../model/families/family.ts';
import { describeModel } from '../../model/families/index.ts';
import type { ModelShape } from '../../model/model-shapes.ts';
import { ProblemList } from '../../model/problems.ts';
import { byteToCharacter } from '../../model/tokenizer-bytes.ts';

/** config.json of a model of the shape, without what says how it is stored. */
export function shapeConfig(shape: ModelShape): Record<string, unknown> {
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: shape.hiddenSize,
    intermediate_size: shape.intermediateSize,
    num_hidden_layers: shape.blockCount,
    num_attention_heads: shape.headCount,
    num_key_value_heads: shape.keyValueHeadCount,
    vocab_size: shape.vocabularySize,
    max_position_embeddings: shape.contextLength,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    hidden_act: 'silu',
    tie_word_embeddings: shape.tiedHead,
    bos_token_id: 1,
    eos_token_id: 2,
  };
}

/** The architecture that a shape's config.json describes. Throws DBellError `internal` for a shape that is none. */
export function describeShape(shape: ModelShape): { architecture: Architecture; family: Family } {
  const problems = new ProblemList();
  const described = describeModel(new ConfigReader(shapeConfig(shape), problems));
  if (described === null || problems.hasErrors)
    throw new DBellError(
      'internal',
      `the shape ${shape.name} describes no model: ${problems.items[0]?.message ?? 'unknown'}`,
    );
  const { architecture, family } = described;
  if (shape.tiedHead) return { architecture, family };
  return {
    family,
    architecture: { ...architecture, head: { ...architecture.head, weight: family.headWeight, tied: false } },
  };
}

/** Parameters of a model of the shape: linears, embedding, head where it is not the same, norms. */
export function shapeParameters(shape: ModelShape): number {
  const { hiddenSize, intermediateSize, blockCount, headCount, keyValueHeadCount, vocabularySize } = shape;
  const keyValueSize = (hiddenSize / headCount) * keyValueHeadCount;
  const block = 2 * hiddenSize * (hiddenSize + keyValueSize) + 3 * hiddenSize * intermediateSize;
  const tables = (shape.tiedHead ? 1 : 2) * vocabularySize * hiddenSize;
  return blockCount * (block + 2 * hiddenSize) + tables + hiddenSize;
}

/** A byte-level BPE with the 256 byte tokens and one merge: enough for a reader that asks for a tokenizer. */
export function byteLevelTokenizer(): Record<string, unknown> {
  const vocabulary: Record<string, number> = {};
  for (const [byte, character] of byteToCharacter.entries()) vocabulary[character] = byte;
  vocabulary.th = 256;
  const byteLevel = byteLevelStep(false);
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: bytePairModel(vocabulary, ['t h']),
  };
}
