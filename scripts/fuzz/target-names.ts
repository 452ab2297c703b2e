/** The readers that are fuzzed. */
export const targetNames = ['safetensors', 'gguf', 'package'] as const;
export type TargetName = (typeof targetNames)[number];
