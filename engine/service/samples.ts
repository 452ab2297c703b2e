import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundledTexts, findTextFiles } from '../calibration/text-files.ts';
import type { Environment } from '../contract/environment.ts';

/** What comes with the product. */
export const samplesFolder = path.resolve(
  path.dirname(fileURLToPath(import.meta.url)),
  '..',
  '..',
  'resources',
);
const modelNames = ['dbell-stories-7m'];

/** Models and texts that come with the product and are there. */
export function samples(): Environment['samples'] {
  return {
    models: modelNames
      .map((name) => ({ name, path: path.join(samplesFolder, name) }))
      .filter((model) => existsSync(model.path)),
    texts: Object.keys(bundledTexts).map((source) => ({
      name: source.slice(source.indexOf(':') + 1),
      bytes: findTextFiles(source).files.reduce((sum, file) => sum + file.bytes, 0),
    })),
  };
}
