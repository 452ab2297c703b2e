import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type DownloadInput, type DownloadResult, downloadInputSchema } from '../../engine/contract/hub.ts';
import { connectionTo, type HubConnection } from '../../engine/hub/connection.ts';
import { downloadModel } from '../../engine/hub/download.ts';
import type { HubTimes } from '../../engine/hub/limits.ts';
import { DownloadStore } from '../../engine/hub/store.ts';
import { commitOf, type FakeRepository } from './hub-server.ts';

export const tinyModel = path.join(import.meta.dirname, '..', 'fixtures', 'model', 'tiny', 'llama-plain');

/** Bytes that look random and are the same each time. */
export function noise(length: number, seed = 'noise'): Buffer {
  const blocks: Buffer[] = [];
  for (let at = 0; at < length; at += 32) blocks.push(createHash('sha256').update(`${seed} ${at}`).digest());
  return Buffer.concat(blocks).subarray(0, length);
}

/** A folder of a model as a repository: safetensors and GGUF as large files. */
export function repositoryOf(folder: string, more: Partial<FakeRepository> = {}): FakeRepository {
  const files: FakeRepository['files'] = {};
  for (const name of readdirSync(folder)) {
    // Reference values of the fixture, no part of the model.
    if (name === 'expected.json' || !statSync(path.join(folder, name)).isFile()) continue;
    files[name] = {
      content: readFileSync(path.join(folder, name)),
      isLarge: /\.(safetensors|gguf)$/.test(name),
    };
  }
  return { files, commit: commitOf(folder), license: 'apache-2.0', modelType: 'llama', ...more };
}

/** Short enough for tests, long enough for a busy machine. */
export const shortTimes: HubTimes = { answerMs: 5000, stallMs: 1500, retryMs: 5 };

/** Downloads into a folder of its own, as a work process would. */
export class Downloads {
  readonly base = mkdtempSync(path.join(os.tmpdir(), 'dbell-hub-'));
  readonly folder = path.join(this.base, 'models');
  readonly storeFile = path.join(this.base, 'downloads.sqlite');
  readonly messages: string[] = [];

  connection(
    endpoint: string,
    token: string | null = null,
    signal = new AbortController().signal,
  ): HubConnection {
    return connectionTo(endpoint, token, signal, shortTimes);
  }

  async fetch(
    endpoint: string,
    input: Omit<Partial<DownloadInput>, 'name'> & { name: string },
    options: { token?: string; border?: () => Promise<void>; onBytes?: (done: number) => void } = {},
  ): Promise<DownloadResult> {
    const store = new DownloadStore(this.storeFile);
    try {
      return await downloadModel(
        this.connection(endpoint, options.token ?? null),
        downloadInputSchema.parse(input),
        {
          folder: this.folder,
          store,
          onProgress: ({ bytesDone }) => options.onBytes?.(bytesDone),
          onMessage: (message) => this.messages.push(message),
          border: options.border ?? (async () => {}),
        },
      );
    } finally {
      store.close();
    }
  }

  remove(): void {
    rmSync(this.base, { recursive: true, force: true });
  }
}
