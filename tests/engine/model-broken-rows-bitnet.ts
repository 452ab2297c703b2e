import { config, type Row, tensors } from './model-broken-table.ts';
import { float32Tensor } from './model-fixtures.ts';

const w = 'model.layers.1.self_attn.q_proj.weight';
const quantization = (value: Record<string, unknown>): Row['make'] =>
  config('llama-bitnet', { quantization_config: { quant_method: 'bitnet', ...value } });

export const bitNetRows: Row[] = [
  {
    name: 'has a linear class that is unknown',
    make: quantization({ linear_class: 'bitblas' }),
    code: 'unsupported-model',
    message:
      'FOLDER: config.json: quantization_config: linear_class "bitblas" is not supported; supported are bitlinear, autobitlinear',
  },
  {
    name: 'has a mode that is unknown',
    make: quantization({ linear_class: 'autobitlinear', quantization_mode: 'lazy' }),
    code: 'unsupported-model',
    message:
      'FOLDER: config.json: quantization_config: quantization_mode "lazy" is not supported; supported are offline, online',
  },
  {
    name: 'has norms inside of its linears',
    make: quantization({ use_rms_norm: true }),
    code: 'unsupported-model',
    message:
      'FOLDER: config.json: quantization_config: use_rms_norm is true: models with a norm inside of each linear are not supported',
  },
  {
    name: 'names unconverted modules oddly',
    make: quantization({ modules_to_not_convert: 'lm_head' }),
    code: 'unsupported-model',
    message:
      'FOLDER: config.json: quantization_config: modules_to_not_convert "lm_head" is not a list of module names',
  },
  {
    name: 'lacks a scale',
    make: tensors('llama-bitnet', (all) => void all.delete(`${w}_scale`)),
    message: `FOLDER: "${w}" holds packed ternary weights but "${w}_scale" is missing (and 1 more problem; inspect lists all)`,
  },
  {
    name: 'has a scale without a weight',
    make: tensors('llama-bitnet', (all) => void all.delete(w)),
    message: `FOLDER: "${w}_scale" is stored but "${w}" is not (and 1 more problem; inspect lists all)`,
  },
  {
    name: 'has a scale of two numbers',
    make: tensors('llama-bitnet', (all) => void all.set(`${w}_scale`, float32Tensor([2], 1))),
    message: `FOLDER: "${w}_scale" is F32 [2]; one number of F32, F16 or BF16 was expected (and 1 more problem; inspect lists all)`,
  },
  {
    name: 'has a scale of zero',
    make: tensors('llama-bitnet', (all) => void all.set(`${w}_scale`, float32Tensor([1], 0))),
    message: `FOLDER: "${w}_scale" is 0; it must be a finite number above 0 (and 1 more problem; inspect lists all)`,
  },
  {
    name: 'has a scale that is not a number',
    make: tensors('llama-bitnet', (all) => void all.set(`${w}_scale`, float32Tensor([1], Number.NaN))),
    message: `FOLDER: "${w}_scale" is NaN; it must be a finite number above 0 (and 1 more problem; inspect lists all)`,
  },
  {
    name: 'has a scale whose inverse overflows',
    make: tensors('llama-bitnet', (all) => void all.set(`${w}_scale`, float32Tensor([1], 1e-45))),
    message: `FOLDER: "${w}_scale" is 1.401298464324817e-45, whose inverse is no usable scale (and 1 more problem; inspect lists all)`,
  },
  {
    name: 'has packed rows of another number',
    make: tensors('llama-bitnet', (all) => {
      const tensor = all.get(w)!;
      all.set(w, { ...tensor, shape: [7, 32], bytes: tensor.bytes.subarray(0, 7 * 32) });
    }),
    message:
      'FOLDER: layer 1 q_proj: weight is [28, 32] but config.json implies [32, 32] (num_attention_heads 4 × head_dim 8); the weights belong to another model',
  },
  {
    name: 'has packed weights of one dimension',
    make: tensors('llama-bitnet', (all) => {
      const tensor = all.get(w)!;
      all.set(w, { ...tensor, shape: [256] });
    }),
    message: `FOLDER: "${w}": packed ternary weights are [out / 4, in], this is [256] (and 1 more problem; inspect lists all)`,
  },
  {
    name: 'has float weights that are to be divided by a scale',
    make: tensors('llama-bitnet', (all) => void all.set(w, float32Tensor([32, 32], 1))),
    code: 'unsupported-model',
    message: `FOLDER: "${w}" is stored as F32 with a weight_scale; bitlinear has packed U8 weights (and 1 more problem; inspect lists all)`,
  },
  {
    name: 'holds the code 3',
    make: tensors('llama-bitnet', (all) => {
      const tensor = all.get(w)!;
      const bytes = Uint8Array.from(tensor.bytes);
      bytes[5 * 32 + 9] = 0b00110000;
      all.set(w, { ...tensor, bytes });
    }),
    read: (model) => {
      try {
        model.readFloat32(w);
      } catch (error) {
        return error;
      }
      return null;
    },
    message: `model.safetensors: tensor "${w}" holds the code 3 at [21, 9]; ternary codes are 0, 1 and 2; the file is damaged`,
  },
];
