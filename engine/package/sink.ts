import { existsSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { temporarySuffix } from '../files/atomic.ts';
import { fileError } from '../files/errors.ts';
import { makeFolders } from '../files/folders.ts';
import type { QuantizationSink } from '../quantize/sink.ts';
import { blockFileName, openBlockFile, writeBlockFile } from './block-file.ts';
import { finishPackage } from './finish.ts';

export interface PackageSinkOptions {
  /** `OUT.partial`; blocks are kept in its `blocks`, the package is put together in its `package`. */
  workDirectory: string;
  /** Where the package appears, on the same volume. */
  outputDirectory: string;
  /** Blocks of another fingerprint are ignored. The pipeline's checkpoint guards the folder already; empty is fine there. */
  fingerprint?: string;
}

/** A sink that makes a package folder (docs/format.md). */
export function createPackageSink(options: PackageSinkOptions): QuantizationSink {
  const workDirectory = path.resolve(options.workDirectory);
  const outputDirectory = path.resolve(options.outputDirectory);
  const fingerprint = options.fingerprint ?? '';
  const blocksFolder = path.join(workDirectory, 'blocks');
  return {
    storedBlocks() {
      if (!existsSync(blocksFolder)) return [];
      const stored: number[] = [];
      for (const name of readdirSync(blocksFolder).sort()) {
        const filePath = path.join(blocksFolder, name);
        if (name.endsWith(temporarySuffix)) rmSync(filePath, { force: true });
        const index = blockIndexOf(name);
        if (index !== null && isStored(filePath, name, index, fingerprint)) stored.push(index);
      }
      return stored;
    },
    writeBlock(block) {
      try {
        makeFolders(blocksFolder);
      } catch (cause) {
        throw fileError(cause, 'create the folder', blocksFolder);
      }
      writeBlockFile(path.join(blocksFolder, blockFileName(block.index)), block, fingerprint);
    },
    finish(summary) {
      return finishPackage({ ...summary, workDirectory, outputDirectory, blocksFolder });
    },
  };
}

function blockIndexOf(name: string): number | null {
  const match = /^block-(\d{5,})\.safetensors$/.exec(name);
  return match ? Number(match[1]) : null;
}

function isStored(filePath: string, name: string, index: number, fingerprint: string): boolean {
  try {
    const block = openBlockFile(filePath, name);
    block.source.close();
    return block.index === index && block.fingerprint === fingerprint;
  } catch {
    // A damaged file is no stored block; the pipeline says so and what to do.
    return false;
  }
}
