import type { Activation, Architecture, FamilyName } from '../architecture.ts';
import type { ConfigReader } from '../config-reader.ts';

/** Everything that the program knows about a family of models; one file each. */
export interface Family {
  name: FamilyName;
  /** `model_type` values of config.json. */
  modelTypes: readonly string[];
  /** `general.architecture` values of GGUF files whose tensors have this family's names; empty where GGUF has none. */
  ggufArchitectures: readonly string[];
  /** What transformers assumes where config.json does not say. */
  tieWordEmbeddingsDefault: boolean;
  /** Name of the head's weight where it is stored by itself. */
  headWeight: string;
  /** Fields of config.json that messages name. */
  fields: { intermediateSize: string; contextLength: string };
  /** Prefix that checkpoints of the bare model (without a head) leave out, such as `model.`. */
  optionalPrefix: string;
  /**
   * Describes the model by its config.json. The head is described as tied; what the files hold decides later. Returns null where problems were
   * recorded in the reader.
   */
  describe(reader: ConfigReader): Architecture | null;
}

const activations: Record<string, Activation> = {
  silu: 'silu',
  swish: 'silu',
  relu: 'relu',
  relu2: 'relu_squared',
  gelu: 'gelu',
  gelu_new: 'gelu_tanh',
  gelu_fast: 'gelu_tanh',
  gelu_pytorch_tanh: 'gelu_tanh',
  quick_gelu: 'quick_gelu',
};

/** The activation that a config names. gelu_new, gelu_fast and gelu_pytorch_tanh are the same function, rounded differently. */
export function readActivation(reader: ConfigReader, key: string, fallback: string): Activation {
  const name = reader.string(key, fallback);
  const activation = Object.hasOwn(activations, name) ? activations[name] : undefined;
  if (activation !== undefined) return activation;
  reader.error(
    'unsupported-activation',
    `${key} is ${JSON.stringify(name)}, which is not supported; supported are ${Object.keys(activations).join(', ')}`,
  );
  return 'silu';
}
