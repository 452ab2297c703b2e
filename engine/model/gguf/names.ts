/** ggml's tensor names to those of the LLaMA family's Hugging Face checkpoints. */
const outer: Record<string, string> = {
  token_embd: 'model.embed_tokens',
  output_norm: 'model.norm',
  output: 'lm_head',
};

const inBlock: Record<string, string> = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  attn_q_norm: 'self_attn.q_norm',
  attn_k_norm: 'self_attn.k_norm',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
};

/** Hugging Face name of a GGUF tensor; the name itself where the families have no such tensor. */
export function huggingFaceName(name: string): string {
  const match = /^(?:blk\.(\d+)\.)?([a-z_]+)\.(weight|bias)$/.exec(name);
  if (match === null) return name;
  const [, layer, stem, part] = match as unknown as [string, string | undefined, string, string];
  const table = layer === undefined ? outer : inBlock;
  if (!Object.hasOwn(table, stem)) return name;
  return layer === undefined
    ? `${table[stem]}.${part}`
    : `model.layers.${Number(layer)}.${table[stem]}.${part}`;
}

const outerNames = new Map(Object.entries(outer).map(([gguf, name]) => [name, gguf]));
const blockNames = new Map(Object.entries(inBlock).map(([gguf, name]) => [name, gguf]));

/** GGUF name of a tensor of the LLaMA family's Hugging Face checkpoints, or null where GGUF has none. */
export function ggufName(name: string): string | null {
  const match = /^(?:model\.layers\.(\d+)\.)?(.+)\.(weight|bias)$/.exec(name);
  if (match === null) return null;
  const [, layer, module, part] = match as unknown as [string, string | undefined, string, string];
  const stem = (layer === undefined ? outerNames : blockNames).get(module);
  if (stem === undefined) return null;
  return layer === undefined ? `${stem}.${part}` : `blk.${layer}.${stem}.${part}`;
}
