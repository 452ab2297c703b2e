import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { DBellError } from '../contract/errors.ts';

const resources = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', 'resources');

/** Texts that come with the product, by the name after `bundled:`. */
const bundledTexts: Readonly<Record<string, string>> = {
  general: 'dbell-stories/general.txt',
  stories: 'dbell-stories/stories.train.sample.txt',
  'stories-validation': 'dbell-stories/stories.valid.txt',
};

/** Path of a bundled text. Throws DBellError `invalid-input` naming the known ones. */
export function bundledTextPath(name: string): string {
  const relative = Object.hasOwn(bundledTexts, name) ? bundledTexts[name] : undefined;
  if (relative === undefined) {
    throw new DBellError(
      'invalid-input',
      `there is no bundled text "${name}"; there are: ${Object.keys(bundledTexts).join(', ')}`,
    );
  }
  const full = path.join(resources, relative);
  if (!existsSync(full)) {
    throw new DBellError('not-found', `the bundled text ${full} is missing; the installation is incomplete`);
  }
  return full;
}
