import { posix } from 'node:path';
import { DBellError } from '../contract/errors.ts';
import { tokenizerFileNames } from '../model/huggingface-tokenizer-files.ts';
import { shortly } from './failures.ts';
import { hubLimits } from './limits.ts';
import type { RepositoryFile } from './repository-file.ts';

/** One way to have a model, with the files that it needs. */
export interface FileChoice {
  format: 'huggingface' | 'gguf';
  /** The GGUF file's path in the repository; null for the folder. */
  file: string | null;
  files: RepositoryFile[];
}

const singleName = 'model.safetensors';
export const indexName = 'model.safetensors.index.json';

/** What the reader of Hugging Face folders looks at, besides weights (engine/model/huggingface.ts). */
const companionNames = ['config.json', 'generation_config.json', ...tokenizerFileNames];

/** A weight file's name that is safe on every system and that the reader takes. */
const shardName = /^[\w][\w.-]{0,200}\.safetensors$/;
/** The same for a GGUF file, in whatever folder of the repository. */
const ggufName = /^[\w][\w.+ ()[\]-]{0,200}\.gguf$/i;
/** A folder of the repository, above a GGUF file. */
const folderName = /^\w[\w.+ ()[\]-]{0,200}$/;
/** One of several files into which a GGUF was split. */
const splitGguf = /-\d{5}-of-\d{5}\.gguf$/i;
/** Beside a model: a projector of pictures, an importance matrix. */
const noModelGguf = /(^|[.-])(mmproj|imatrix)[.-]/i;

/**
 * Names of the weight files of a Hugging Face folder.
 *
 * @param index the parsed model.safetensors.index.json, where the folder has one and no model.safetensors
 * @returns names, or why there are none, in words
 */
export function weightFileNames(
  files: readonly RepositoryFile[],
  index: Record<string, unknown> | null,
): { names: string[] } | { problem: string; isMissing: boolean } {
  const here = new Set(files.map(({ path }) => path));
  if (here.has(singleName)) return { names: [singleName] };
  if (index !== null) {
    const map = index.weight_map;
    const values = typeof map === 'object' && map !== null ? Object.values(map) : [];
    const names = [...new Set(values)];
    const bad = names.find((name) => typeof name !== 'string' || !shardName.test(name) || !here.has(name));
    if (names.length === 0 || bad !== undefined) {
      return {
        problem: `${indexName} names ${bad === undefined ? 'no files' : shortly(JSON.stringify(bad))}, which the repository does not have`,
        isMissing: false,
      };
    }
    return { names: (names as string[]).sort() };
  }
  const pickled = files.find(({ path }) => /^[^/]+\.(bin|pt|pth|ckpt)$/.test(path));
  return {
    problem:
      pickled === undefined
        ? `the repository has neither ${singleName} nor ${indexName}`
        : `its weights are pickled Python objects (${shortly(pickled.path)}), which can run code when they are opened and are never loaded; look for a safetensors version`,
    isMissing: true,
  };
}

/** The Hugging Face folder with these weight files. */
export function folderChoice(files: readonly RepositoryFile[], weights: readonly string[]): FileChoice {
  const wanted = new Set([...companionNames, ...weights]);
  if (!weights.includes(singleName)) wanted.add(indexName);
  const chosen = files.filter(
    ({ path, bytes }) => wanted.has(path) || (path === 'README.md' && bytes <= hubLimits.modelCardBytes),
  );
  // Small files first: what is wrong with a model shows before its weights are fetched.
  return { format: 'huggingface', file: null, files: chosen.sort((a, b) => a.bytes - b.bytes) };
}

/** Every GGUF file that is a model by itself, smallest first. */
export function ggufChoices(files: readonly RepositoryFile[]): FileChoice[] {
  return files
    .filter(({ path }) => {
      const name = posix.basename(path);
      const folders = path.split('/').slice(0, -1);
      if (!folders.every((folder) => folderName.test(folder))) return false;
      return ggufName.test(name) && !splitGguf.test(name) && !noModelGguf.test(name);
    })
    .sort((a, b) => a.bytes - b.bytes)
    .map((file) => ({ format: 'gguf', file: file.path, files: [file] }));
}

/** The choice that a person has asked for. Throws DBellError `invalid-input` or `not-found` that names the possible ones. */
export function choose(choices: readonly FileChoice[], file: string | null, name: string): FileChoice {
  const ggufs = choices.filter(({ format }) => format === 'gguf');
  if (file !== null) {
    const found = ggufs.find((choice) => choice.file === file);
    if (found) return found;
    throw new DBellError(
      'not-found',
      `${name} has no GGUF file ${shortly(JSON.stringify(file))} that can be used; it has ${namesOf(ggufs)}`,
    );
  }
  const folder = choices.find(({ format }) => format === 'huggingface');
  const only = folder ?? (ggufs.length === 1 ? ggufs[0] : undefined);
  if (only) return only;
  throw ggufs.length === 0
    ? new DBellError('unsupported-model', `${name} has no weights that can be used here`)
    : new DBellError('invalid-input', `${name} has several GGUF files; choose one of ${namesOf(ggufs)}`);
}

function namesOf(ggufs: readonly FileChoice[]): string {
  const names = ggufs.slice(0, 20).map(({ file }) => file);
  const more = ggufs.length - names.length;
  return names.length === 0 ? 'none' : names.join(', ') + (more > 0 ? ` and ${more} more` : '');
}
