import type { Command } from 'commander';
import {
  type EmbeddingBits,
  type FloatDevice,
  floatDeviceSchema,
  type Setting,
} from '../../contract/common.ts';
import { limits } from '../../contract/limits.ts';
import { oneOf, setting, wholeNumber } from '../options.ts';
import type { OutputOptions } from '../output.ts';

export interface QuantizationOptions extends OutputOptions {
  recipe: string;
  windows?: number;
  context?: number;
  activationBits?: 16 | 8 | 6 | 4;
  embeddingBits?: EmbeddingBits;
  set?: Setting[];
  threads?: number;
  floatDevice?: FloatDevice;
}

/** What `estimate` and `quantize` share. */
export function withQuantizationOptions(command: Command): Command {
  return command
    .requiredOption('--recipe <name>', 'how to quantize ("dbell recipes" lists them)')
    .option('--windows <count>', 'calibration windows (default: 64)', wholeNumber(1, limits.windowCount))
    .option(
      '--context <tokens>',
      "tokens of a window (default: 2048, or the model's own context if shorter)",
      wholeNumber(2, limits.contextTokens),
    )
    .option('--activation-bits <bits>', "16, 8, 6 or 4 (default: the recipe's own, 8)", oneOf(16, 8, 6, 4))
    .option(
      '--embedding-bits <bits>',
      '16, 8, 6 or 4, for embedding and head (default: 16)',
      oneOf(16, 8, 6, 4),
    )
    .option(
      '--set <key=value>',
      'change one field of the recipe ("dbell recipes --json" has the fields); may be repeated',
      setting,
    )
    .option('--threads <count>', '0 = all cores (default: 0)', wholeNumber(0, limits.threads))
    .option(
      '--float-device <name>',
      'cpu, webgpu or cuda: what runs the original model while calibrating (default: cpu)',
      oneOf(...floatDeviceSchema.options),
    );
}
