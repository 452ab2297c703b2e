import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { openModel } from '../../engine/model/open.ts';
import type { ModelSource } from '../../engine/model/source.ts';
import { createTokenizer } from '../../engine/model/tokenizer-huggingface.ts';
import { packageTarget } from './package-target.ts';
import type { Target } from './target.ts';
import type { TargetName } from './target-names.ts';

const fixtures = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', 'tests', 'fixtures');
/** Finds of earlier runs, kept; they are seeds too. */
const corpus = path.join(fixtures, 'fuzz');

function filesIn(folder: string, ending: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => path.join(folder, name))
    .sort();
}

function safetensorsHeaderBytes(bytes: Uint8Array): number {
  if (bytes.length < 8) return bytes.length;
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  return length < BigInt(bytes.length) ? Number(length) + 16 : bytes.length;
}

/** Reads every tensor and the tokenizer, as quantizing would. */
function readWhole(source: ModelSource): void {
  try {
    for (const name of source.tensors.keys()) source.readFloat32(name);
    createTokenizer(source.tokenizer, { modelVocabularySize: source.architecture.vocabularySize }).encode(
      'a b',
    );
  } finally {
    source.close();
  }
}

function safetensorsTarget(folder: string): Target {
  const models = filesIn(path.join(fixtures, 'model', 'tiny'), 'model.safetensors');
  const work = path.join(folder, 'model');
  return {
    seeds: models.map((file) => {
      const bytes = new Uint8Array(readFileSync(file));
      return { name: path.dirname(file), bytes, headerBytes: safetensorsHeaderBytes(bytes) };
    }),
    async read(bytes, seed) {
      rmSync(work, { recursive: true, force: true });
      cpSync(seed.name, work, { recursive: true, filter: (file) => !file.endsWith('.safetensors') });
      writeFileSync(path.join(work, 'model.safetensors'), bytes);
      readWhole(await openModel(work));
    },
  };
}

function ggufTarget(folder: string): Target {
  const work = path.join(folder, 'model.gguf');
  return {
    seeds: [...filesIn(path.join(fixtures, 'model'), '.gguf'), ...filesIn(path.join(corpus, 'gguf'), '')].map(
      (file) => {
        const bytes = new Uint8Array(readFileSync(file));
        return { name: file, bytes, headerBytes: Math.min(bytes.length, 16_384) };
      },
    ),
    async read(bytes) {
      writeFileSync(work, bytes);
      readWhole(await openModel(work));
    },
  };
}

/** Makes what a target needs in `folder`. */
export async function prepareTarget(name: TargetName, folder: string): Promise<Target> {
  const makers = { safetensors: safetensorsTarget, gguf: ggufTarget, package: packageTarget };
  const target = makers[name](folder);
  if (target.seeds.length === 0) throw new Error(`no seeds for the ${name} reader under ${fixtures}`);
  return target;
}
