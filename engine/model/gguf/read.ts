import path from 'node:path';
import { DBellError } from '../../contract/errors.ts';
import { assemble } from '../assemble.ts';
import { type ByteSource, FileSource } from '../byte-source.ts';
import { ConfigReader } from '../config-reader.ts';
import { describeModel } from '../families/index.ts';
import { type GgufTokenizer, tokenizerFromGguf } from '../gguf-tokenizer.ts';
import type { OpenedParts } from '../opened-model.ts';
import { count, type ProblemList, quote } from '../problems.ts';
import type { WeightLocation } from '../weight-location.ts';
import { WeightReader } from '../weights.ts';
import { configFromGguf, ggufFields } from './config.ts';
import { type GgufHeader, parseGgufHeader } from './header.ts';
import type { GgufMetadata } from './metadata.ts';
import { huggingFaceName } from './names.ts';

const ROPE_FACTORS = 'rope_freqs.weight';

/** The largest head has a few hundred dimensions; a tensor of divisors that is larger is damage. */
const MAX_ROPE_FACTORS = 8192;

/**
 * Reads a GGUF file as if it were the Hugging Face folder it was made from: names, row order and config.json are translated back, the tokenizer is built
 * from the metadata. Problems are recorded; the result is null where the model cannot be used. The opened file is pushed to `sources`.
 */
export function readGgufFile(
  filePath: string,
  problems: ProblemList,
  sources: ByteSource[],
): OpenedParts | null {
  const source = new FileSource(filePath, path.basename(filePath));
  sources.push(source);
  const parsed = parseGgufHeader(source);
  problems.addAll(parsed.problems);
  const { header } = parsed;
  if (header === null) return null;
  const ropeFactors = readRopeFactors(header, source, problems);
  const config = configFromGguf(header, ropeFactors, source.name, problems);
  if (config === null) return null;
  const architectureName = String(header.metadata.get('general.architecture'));
  const sourceNames = Object.fromEntries(
    Object.entries(ggufFields).map(([field, key]) => [field, `${architectureName}.${key}`]),
  );
  const reader = new ConfigReader(config, problems, 'the metadata', sourceNames);
  const described = describeModel(reader);
  const tokenizer = readTokenizer(header.metadata, config.vocab_size, source.name, problems);
  if (described === null || problems.hasErrors || tokenizer === null) return null;

  const { architecture } = described;
  const isInterleaved = architectureName === 'llama';
  const stored = new Map<string, WeightLocation>();
  for (const [name, tensor] of header.tensors) {
    if (name === ROPE_FACTORS) continue;
    const translated = huggingFaceName(name);
    if (stored.has(translated))
      problems.error(
        'tensor-twice',
        `${source.name}: two tensors mean ${quote(translated)}, one is ${quote(name)}`,
      );
    const location: WeightLocation = { source, ...tensor };
    // llama.cpp's converter puts the two elements of each rotary pair side by side for this architecture, and for no other one here.
    if (isInterleaved && /\.attn_q\.(weight|bias)$/.test(name))
      location.interleavedHeads = architecture.headCount;
    if (isInterleaved && /\.attn_k\.(weight|bias)$/.test(name))
      location.interleavedHeads = architecture.keyValueHeadCount;
    stored.set(translated, location);
  }
  const assembled = assemble(described.family, architecture, reader, stored, problems);
  if (assembled === null || problems.hasErrors) return null;
  const license = header.metadata.get('general.license');
  return {
    path: filePath,
    format: 'gguf',
    architecture: assembled.architecture,
    config: { ...config, tie_word_embeddings: assembled.architecture.head.tied },
    generationConfig: null,
    weights: assembled.weights,
    parameterCount: assembled.parameterCount,
    sources,
    tokenizer: { tokenizer: tokenizer.tokenizer, config: tokenizer.config },
    tokenizerFiles: tokenizer.files,
    chatTemplate: tokenizer.chatTemplate,
    license: typeof license === 'string' ? license : null,
    ggufMetadata: header.metadata,
    warnings: problems.items,
  };
}

function readRopeFactors(header: GgufHeader, source: ByteSource, problems: ProblemList): Float32Array | null {
  const tensor = header.tensors.get(ROPE_FACTORS);
  if (tensor === undefined) return null;
  if (tensor.storedType !== 'F32' || tensor.shape.length !== 1 || tensor.shape[0]! > MAX_ROPE_FACTORS) {
    problems.error(
      'unsupported-rope',
      `${source.name}: ${ROPE_FACTORS} is ${tensor.storedType} [${tensor.shape.join(', ')}]; a list of F32 was expected`,
    );
    return null;
  }
  try {
    return new WeightReader(new Map([[ROPE_FACTORS, { source, ...tensor }]])).read(ROPE_FACTORS);
  } catch (error) {
    if (!(error instanceof DBellError)) throw error;
    problems.error('weight-not-finite', error.message);
    return null;
  }
}

function readTokenizer(
  metadata: GgufMetadata,
  vocabularySize: unknown,
  fileName: string,
  problems: ProblemList,
): GgufTokenizer | null {
  const tokens = metadata.get('tokenizer.ggml.tokens');
  if (Array.isArray(tokens) && typeof vocabularySize === 'number' && tokens.length > vocabularySize) {
    problems.error(
      'tokenizer-mismatch',
      `${fileName}: the tokenizer has ${count(tokens.length)} tokens but the model's vocabulary ${count(vocabularySize)}`,
    );
    return null;
  }
  try {
    const tokenizer = tokenizerFromGguf(metadata);
    for (const warning of tokenizer.warnings.slice(0, 5))
      problems.warning('tokenizer', `${fileName}: ${warning}`);
    return tokenizer;
  } catch (error) {
    if (!(error instanceof DBellError)) throw error;
    problems.error(
      error.code === 'unsupported-model' ? 'unsupported-tokenizer' : 'tokenizer-damaged',
      `${fileName}: ${error.message}`,
    );
    return null;
  }
}
