import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { SafeStorage } from 'electron';
import { DBellError } from '../../engine/contract/errors.ts';
import { fileError, systemErrorCode } from '../../engine/files/errors.ts';

/** The Hugging Face token, encrypted with a key that the system keeps. */
export interface TokenStore {
  has(): Promise<boolean>;
  /** Null where there is none or the system's key is another one by now. */
  get(): Promise<string | null>;
  /** Throws DBellError `disk-error` where the system has no key store: a token is never kept in the open. */
  set(token: string): Promise<void>;
  clear(): Promise<void>;
}

/** On Linux without a key ring Electron would "encrypt" with a password that everybody knows. */
const openBackends = ['basic_text', 'unknown'];

export function createTokenStore(
  file: string,
  safeStorage: Pick<
    SafeStorage,
    'isEncryptionAvailable' | 'encryptString' | 'decryptString' | 'getSelectedStorageBackend'
  >,
  platform: NodeJS.Platform = process.platform,
): TokenStore {
  const read = async (): Promise<Buffer | null> => {
    try {
      return await readFile(file);
    } catch (cause) {
      if (systemErrorCode(cause) === 'ENOENT') return null;
      throw fileError(cause, 'read', file);
    }
  };
  const isSecure = () =>
    safeStorage.isEncryptionAvailable() &&
    (platform !== 'linux' || !openBackends.includes(safeStorage.getSelectedStorageBackend()));
  return {
    has: async () => (await read()) !== null,
    async get() {
      const encrypted = await read();
      if (encrypted === null) return null;
      try {
        return safeStorage.decryptString(encrypted);
      } catch {
        return null;
      }
    },
    async set(token) {
      if (!isSecure()) {
        throw new DBellError(
          'disk-error',
          'the token cannot be kept: this system has no key store (on Linux: GNOME Keyring or KWallet); set HF_TOKEN when starting the program instead',
        );
      }
      const temporary = `${file}.tmp`;
      try {
        await mkdir(path.dirname(file), { recursive: true });
        await writeFile(temporary, safeStorage.encryptString(token), { mode: 0o600 });
        await rename(temporary, file);
      } catch (cause) {
        throw fileError(cause, 'write', file);
      }
    },
    clear: () => rm(file, { force: true }),
  };
}
