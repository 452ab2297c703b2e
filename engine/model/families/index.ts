import type { Architecture } from '../architecture.ts';
import { bitNetConfigOf } from '../bitnet.ts';
import type { ConfigReader } from '../config-reader.ts';
import { show } from '../problems.ts';
import { bitnet } from './bitnet.ts';
import type { Family } from './family.ts';
import { llama } from './llama.ts';
import { mistral } from './mistral.ts';
import { opt } from './opt.ts';
import { qwen2 } from './qwen2.ts';
import { qwen3 } from './qwen3.ts';

/** Every supported family. */
export const families: readonly Family[] = [llama, mistral, qwen2, qwen3, bitnet, opt];

/** The family that config.json's `model_type` names, or null with a problem recorded. */
export function findFamily(reader: ConfigReader): Family | null {
  const modelType = reader.raw('model_type');
  if (modelType === undefined) {
    reader.error('config-missing', 'model_type is missing');
    return null;
  }
  const family = families.find((candidate) => candidate.modelTypes.includes(modelType as string));
  if (family !== undefined) return family;
  reader.error(
    'unsupported-family',
    `model_type ${show(modelType)} is not supported; supported are ${families.flatMap((f) => f.modelTypes).join(', ')}`,
  );
  return null;
}

/** Describes a model by its config.json; null where problems were recorded. */
export function describeModel(reader: ConfigReader): { family: Family; architecture: Architecture } | null {
  const family = findFamily(reader);
  if (family === null) return null;
  const quantization = reader.raw('quantization_config');
  // BitNet's is read with the weights (bitnet.ts).
  if (quantization !== undefined && bitNetConfigOf(reader.config) === null) {
    const method = (quantization as { quant_method?: unknown }).quant_method;
    reader.error(
      'unsupported-quantization',
      method === 'dbell'
        ? 'this folder is a packed model already; the full-precision model is needed here'
        : `the weights are already quantized (quant_method ${show(method)}); the full-precision model is needed`,
    );
  }
  const architecture = family.describe(reader);
  return architecture === null ? null : { family, architecture };
}
