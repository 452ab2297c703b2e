import { readFileSync, renameSync, statSync } from 'node:fs';
import path from 'node:path';
import { toErrorPayload } from '../contract/error-payload.ts';
import { type Settings, settingsSchema } from '../contract/settings.ts';
import { writeFileAtomically } from '../files/atomic.ts';
import { systemErrorCode } from '../files/errors.ts';
import { makeFolders } from '../files/folders.ts';
import { nameForDamaged } from '../history/database.ts';
import { settingsFile } from './home.ts';

/**
 * The settings in DBELL_HOME, as they are now: another studio on the same folder, or a person with an editor, may have changed them since. A file that cannot be read is left alone until a
 * setting is changed, and is kept under another name then; defaults hold meanwhile.
 */
export interface SettingsFile {
  get(): Settings;
  set(changes: Partial<Settings>): Settings;
}

/** What was read, and of which state of the file. */
interface Known {
  settings: Settings;
  /** Null: there was no file. */
  state: string | null;
  /** Why the file could not be used. */
  problem: string | null;
}

export function openSettings(home: string, warn: (message: string) => void): SettingsFile {
  const file = settingsFile(home);
  let known: Known | null = null;
  const current = (): Known => {
    const state = stateOf(file);
    if (known !== null && known.state === state) return known;
    known = { ...read(file), state };
    if (known.problem !== null)
      warn(`${file} cannot be used, so that default settings hold until one is changed: ${known.problem}`);
    return known;
  };
  return {
    get: () => ({ ...current().settings }),
    set(changes) {
      const { settings, problem } = current();
      const next = settingsSchema.parse({ ...settings, ...changes });
      makeFolders(path.dirname(file));
      if (problem !== null) {
        const kept = nameForDamaged(file);
        renameSync(file, kept);
        warn(`${file} could not be used; it was kept as ${kept}`);
      }
      writeFileAtomically(file, `${JSON.stringify(next, null, 2)}\n`);
      known = { settings: next, state: stateOf(file), problem: null };
      return { ...next };
    },
  };
}

/** Tells states of a file apart; null where there is none. */
function stateOf(file: string): string | null {
  const stats = statSync(file, { bigint: true, throwIfNoEntry: false });
  return stats === undefined ? null : `${stats.ino}/${stats.size}/${stats.mtimeNs}`;
}

function read(file: string): Pick<Known, 'settings' | 'problem'> {
  try {
    return { settings: settingsSchema.parse(JSON.parse(readFileSync(file, 'utf8'))), problem: null };
  } catch (error) {
    const problem = systemErrorCode(error) === 'ENOENT' ? null : toErrorPayload(error).message;
    return { settings: settingsSchema.parse({}), problem };
  }
}
