import { bitNetRows } from './model-broken-rows-bitnet.ts';
import { configRows } from './model-broken-rows-configs.ts';
import { folderRows } from './model-broken-rows-folders.ts';
import { ggufHeaderRows, ggufMetadataRows, ggufTensorRows } from './model-broken-rows-gguf.ts';
import { safetensorsRows } from './model-broken-rows-safetensors.ts';
import { weightRows } from './model-broken-rows-weights.ts';
import { testBrokenInputs } from './model-broken-table.ts';

testBrokenInputs({
  'a safetensors file that': safetensorsRows,
  'weights with': weightRows,
  'a folder that': folderRows,
  'a config that': configRows,
  'a BitNet folder that': bitNetRows,
  'a GGUF file that': ggufHeaderRows,
  'a GGUF with tensors with': ggufTensorRows,
  'a GGUF with metadata of': ggufMetadataRows,
});
