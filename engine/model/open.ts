import { realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { DBellError } from '../contract/errors.ts';
import type { Architecture } from './architecture.ts';
import { type ByteSource, FileSource, readBytes } from './byte-source.ts';
import { readGgufFile } from './gguf/read.ts';
import { readHuggingFaceFolder } from './huggingface.ts';
import { type LowBitSummary, summariseLowBit } from './low-bit-model.ts';
import { OpenedModel, type OpenedParts } from './opened-model.ts';
import { ProblemList } from './problems.ts';
import type { ModelProblem, ModelSource } from './source.ts';
import { createTokenizer } from './tokenizer-huggingface.ts';
import { WeightReader } from './weights.ts';

/** What can be said about a model from its headers. */
export interface ModelInspection {
  path: string;
  format: 'huggingface' | 'gguf' | null;
  /** Null where errors keep the model from being described. */
  architecture: Architecture | null;
  parameterCount: number | null;
  fileBytes: number;
  /** Stored types of the weights with their numbers of tensors and bytes. */
  storedTypes: Record<string, { tensors: number; bytes: number }>;
  /** Where every linear has two to four levels, judged by the stored types and some rows of float weights; else null. */
  lowBit: LowBitSummary | null;
  license: string | null;
  hasChatTemplate: boolean;
  problems: ModelProblem[];
}

/**
 * Opens a Hugging Face folder or a .gguf file: headers are read and validated, weights later on demand. Throws DBellError `not-found`,
 * `unsupported-model` or `invalid-model` with the first problem; inspectModel lists all.
 */
export async function openModel(modelPath: string): Promise<ModelSource> {
  const problems = new ProblemList();
  const sources: ByteSource[] = [];
  try {
    const parts = await readModel(modelPath, problems, sources);
    problems.throwIfErrors(modelPath);
    if (parts === null)
      throw new DBellError('internal', `${modelPath}: reading gave neither a model nor a problem`);
    return new OpenedModel(parts);
  } catch (error) {
    for (const source of sources) source.close();
    throw error;
  }
}

/** Reads a model's headers and reports everything that is wrong with it. Throws only `not-found` (no such path) and `disk-error`. */
export async function inspectModel(modelPath: string): Promise<ModelInspection> {
  const problems = new ProblemList();
  const sources: ByteSource[] = [];
  try {
    const parts = await readModel(modelPath, problems, sources);
    if (parts !== null) tryTokenizer(parts, problems);
    const storedTypes: ModelInspection['storedTypes'] = {};
    for (const { storedType, bytes } of parts?.weights.values() ?? []) {
      storedTypes[storedType] ??= { tensors: 0, bytes: 0 };
      storedTypes[storedType].tensors++;
      storedTypes[storedType].bytes += bytes;
    }
    return {
      path: parts?.path ?? modelPath,
      format: parts?.format ?? null,
      architecture: parts?.architecture ?? null,
      parameterCount: parts?.parameterCount ?? null,
      fileBytes: sources.reduce((sum, source) => sum + source.size, 0),
      storedTypes,
      lowBit: parts === null || problems.hasErrors ? null : lowBitOf(parts, problems),
      license: parts?.license ?? null,
      hasChatTemplate: parts?.chatTemplate != null,
      problems: problems.items,
    };
  } finally {
    for (const source of sources) source.close();
  }
}

function lowBitOf(parts: OpenedParts, problems: ProblemList): LowBitSummary | null {
  const reader = new WeightReader(parts.weights);
  try {
    const summary = summariseLowBit(
      parts.architecture,
      (name) => parts.weights.get(name)?.storedType,
      (name, begin, rows) => reader.readRows(name, begin, rows),
    );
    return typeof summary === 'string' ? null : summary;
  } catch (error) {
    // Rows that cannot be read say nothing about levels, but are worth a word.
    if (!(error instanceof DBellError)) throw error;
    problems.error('weight-damaged', error.message);
    return null;
  }
}

async function readModel(
  modelPath: string,
  problems: ProblemList,
  sources: ByteSource[],
): Promise<OpenedParts | null> {
  const { real, isFolder } = locate(modelPath);
  if (isFolder) return readHuggingFaceFolder(real, problems, sources);
  if (isGguf(real)) return readGgufFile(real, problems, sources);
  problems.error('unsupported-format', 'a model is a Hugging Face folder or a .gguf file');
  return null;
}

/** What only building the tokenizer shows. */
function tryTokenizer(parts: OpenedParts, problems: ProblemList): void {
  try {
    createTokenizer(parts.tokenizer, { modelVocabularySize: parts.architecture.vocabularySize });
  } catch (error) {
    if (!(error instanceof DBellError)) throw error;
    problems.error(
      error.code === 'unsupported-model' ? 'unsupported-tokenizer' : 'tokenizer-damaged',
      error.message,
    );
  }
}

/** By the name, or by the first bytes where the name says nothing (files of a Hub cache are named by their hash). */
function isGguf(file: string): boolean {
  if (file.toLowerCase().endsWith('.gguf')) return true;
  if (statSync(file).size < 4) return false;
  const source = new FileSource(file, path.basename(file));
  try {
    return Buffer.from(readBytes(source, 0, 4)).toString('latin1') === 'GGUF';
  } finally {
    source.close();
  }
}

function locate(modelPath: string): { real: string; isFolder: boolean } {
  try {
    const real = realpathSync(modelPath);
    const stats = statSync(real);
    // Opening a pipe or a device would wait or act.
    if (!stats.isDirectory() && !stats.isFile())
      throw new DBellError('invalid-model', `${modelPath}: this is neither a folder nor a regular file`);
    return { real, isFolder: stats.isDirectory() };
  } catch (cause) {
    if (cause instanceof DBellError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new DBellError('not-found', `${modelPath}: there is no such file or folder`, { cause });
    if (code === 'ELOOP')
      throw new DBellError('invalid-model', `${modelPath}: the link leads to itself`, { cause });
    throw new DBellError('disk-error', `${modelPath} cannot be read: ${(cause as Error).message}`, { cause });
  }
}
