import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { createTokenizer } from '../../engine/model/tokenizer-huggingface.ts';
import { openPackage } from '../../engine/package/open.ts';
import { createPackedTextModel } from '../../engine/runtime/packed-text-model.ts';
import type { Seed, Target } from './target.ts';

const fixtures = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', 'tests', 'fixtures');

/** Files of a package that its reader parses itself. */
const mutated = ['model.safetensors', 'config.json', 'quality.json'];

/** Names of seeds are `package folder|file`; kept finds lie in tests/fixtures/fuzz/package/<package>/<file>.<anything>. */
export function packageTarget(folder: string): Target {
  const work = path.join(folder, 'package');
  const seeds: Seed[] = [];
  const add = (base: string, file: string, from: string) => {
    const bytes = new Uint8Array(readFileSync(from));
    // The weights' header and the first tensors; all of the JSON.
    const header = file.endsWith('.json') ? bytes.length : Math.min(bytes.length, 8192);
    seeds.push({ name: `${base}|${file}`, bytes, headerBytes: header });
  };
  for (const name of readdirSync(path.join(fixtures, 'package')).sort()) {
    const base = path.join(fixtures, 'package', name);
    if (!existsSync(path.join(base, 'config.json'))) continue;
    for (const file of mutated) add(base, file, path.join(base, file));
    const finds = path.join(fixtures, 'fuzz', 'package', name);
    if (!existsSync(finds)) continue;
    for (const find of readdirSync(finds).sort()) {
      const file = mutated.find((candidate) => find.startsWith(`${candidate}.`));
      if (file !== undefined) add(base, file, path.join(finds, find));
    }
  }
  return {
    seeds,
    async read(bytes, seed) {
      const [base, file] = seed.name.split('|') as [string, string];
      rmSync(work, { recursive: true, force: true });
      cpSync(base, work, { recursive: true });
      writeFileSync(path.join(work, file), bytes);
      if (file === 'model.safetensors') stateSize(work, bytes.length);
      await runModel(work);
      await readEverything(work);
    },
  };
}

/** A reader that compares sizes first would never look at the header of a file that grew or shrank. */
function stateSize(work: string, bytes: number): void {
  const file = path.join(work, 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8'));
  config.quantization_config.files['model.safetensors'].bytes = bytes;
  writeFileSync(file, JSON.stringify(config));
}

/** Headers are checked, values are not: what the native code maps and computes with may be anything. */
async function runModel(work: string): Promise<void> {
  const model = await createPackedTextModel(work, { threads: 1 });
  try {
    const session = await model.createSession({ contextLength: 8 });
    await session.feed(Int32Array.of(1, 0, model.vocabularySize - 1));
    session.close();
  } finally {
    await model.close();
  }
}

/** Everything that the product reads of a package: all values checked, each tensor unpacked. */
async function readEverything(work: string): Promise<void> {
  const opened = await openPackage(work);
  try {
    for (const { index } of opened.architecture.blocks) opened.dequantizedBlock(index);
    const model = opened.asModelSource();
    for (const name of model.tensors.keys()) model.readFloat32(name);
    const { vocabularySize } = opened.architecture;
    createTokenizer(opened.tokenizer, { modelVocabularySize: vocabularySize }).encode('a b');
  } finally {
    opened.close();
  }
}
