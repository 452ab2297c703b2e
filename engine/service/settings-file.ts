import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { toErrorPayload } from '../contract/error-payload.ts';
import { type Settings, settingsSchema } from '../contract/settings.ts';
import { writeFileAtomically } from '../files/atomic.ts';
import { makeFolders } from '../files/folders.ts';
import { settingsFile } from './home.ts';

/** The settings in DBELL_HOME. A file that cannot be read is left alone until a setting is changed; defaults hold meanwhile. */
export interface SettingsFile {
  get(): Settings;
  set(changes: Partial<Settings>): Settings;
}

export function openSettings(home: string, warn: (message: string) => void): SettingsFile {
  const file = settingsFile(home);
  let settings: Settings | null = null;
  const read = (): Settings => {
    if (!existsSync(file)) return settingsSchema.parse({});
    try {
      return settingsSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
    } catch (error) {
      warn(
        `${file} cannot be used, so that default settings hold until one is changed: ${toErrorPayload(error).message}`,
      );
      return settingsSchema.parse({});
    }
  };
  const get = (): Settings => {
    settings ??= read();
    return { ...settings };
  };
  return {
    get,
    set(changes) {
      const next = settingsSchema.parse({ ...get(), ...changes });
      makeFolders(path.dirname(file));
      writeFileAtomically(file, `${JSON.stringify(next, null, 2)}\n`);
      settings = next;
      return { ...next };
    },
  };
}
