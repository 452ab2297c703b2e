import { existsSync } from 'node:fs';
import path from 'node:path';
import { bundledTexts, findTextFiles } from '../calibration/text-files.ts';
import type { Environment } from '../contract/environment.ts';
import { resourcesFolder } from '../files/unpacked.ts';

/** What comes with the product. */
export const samplesFolder = resourcesFolder(import.meta.dirname);
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
