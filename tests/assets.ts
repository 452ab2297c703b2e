import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

/** Bundled with the product: always there. */
export const bundled = {
  model: path.join(root, 'resources', 'dbell-stories-7m'),
  validationText: path.join(root, 'resources', 'dbell-stories', 'stories.valid.txt'),
  trainingText: path.join(root, 'resources', 'dbell-stories', 'stories.train.sample.txt'),
  generalText: path.join(root, 'resources', 'dbell-stories', 'general.txt'),
};

const assetsRoot = path.resolve(root, process.env.DBELL_ASSETS ?? '../shared');

/**
 * Path of a test asset that is not part of the project (`models/…`, `data/…`), or null where it is missing; then the test that needs it is skipped by
 * name. With DBELL_REQUIRE_ASSETS=1 a missing one is a failure.
 */
export function asset(relativePath: string): string | null {
  const full = path.join(assetsRoot, relativePath);
  if (existsSync(full)) return full;
  if (process.env.DBELL_REQUIRE_ASSETS === '1')
    throw new Error(`test asset ${relativePath} is missing under ${assetsRoot}`);
  return null;
}
