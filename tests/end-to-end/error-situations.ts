import { execFileSync } from 'node:child_process';
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { exportText } from '../../engine/history/export.ts';
import { configRows } from '../engine/model-broken-rows-configs.ts';
import { folderRows } from '../engine/model-broken-rows-folders.ts';
import { ggufHeaderRows, ggufTensorRows } from '../engine/model-broken-rows-gguf.ts';
import { safetensorsRows } from '../engine/model-broken-rows-safetensors.ts';
import { weightRows } from '../engine/model-broken-rows-weights.ts';
import type { Row } from '../engine/model-broken-table.ts';
import { config } from '../engine/package-damage.ts';
import { packTinyModel } from '../engine/package-support.ts';
import { runOf } from './seeded-history.ts';

/** Real broken inputs, as a person would come with them, and what the page has to say of each. */
export interface Situation {
  name: string;
  /** Makes it at `target`, where nothing is yet; returns what is typed where that is something else. */
  make: (target: string) => string | undefined | Promise<string | undefined>;
  /** Parts of the message: what, which value, which limit, what to do. TARGET stands for its path. */
  says: string[];
}

/** Rows of the engine's table of broken models, with their whole messages. */
function fromTable(kind: string, rows: Row[], names: string[]): Situation[] {
  return names.map((name) => {
    const row = rows.find((candidate) => candidate.name === name);
    if (row === undefined) throw new Error(`there is no broken input "${name}"`);
    const message = row.message
      .replace(/^FOLDER(\/[^:]+)?: /, '')
      .replace(/ \(and \d+ more problems?; inspect lists all\)$/, '')
      .replaceAll('FOLDER', 'TARGET');
    return { name: `${kind} ${name}`, make: row.make, says: [message] };
  });
}

export const modelSituations: Situation[] = [
  ...fromTable('a safetensors file that', safetensorsRows, [
    'is cut by one byte',
    'claims a header of 2^63 bytes',
    'is a web page',
  ]),
  ...fromTable('a folder that', folderRows, [
    'has lost a shard',
    'has weights that are a link out of it',
    'has pickled weights only',
    'has the tokenizer of a larger model',
  ]),
  ...fromTable('a config that', configRows, [
    'names an unknown family',
    'has a width that heads do not divide',
  ]),
  ...fromTable('weights with', weightRows, ['a linear of another width']),
  ...fromTable('a GGUF file that', ggufHeaderRows, [
    'is cut in its first bytes',
    'has another magic',
    'claims 2^61 tensors',
  ]),
  ...fromTable('a GGUF file with', ggufTensorRows, ['the last tensor cut by a byte']),
  {
    name: 'a package of a newer version',
    async make(target) {
      await packTinyModel('llama-untied', target);
      config((quantization) => Object.assign(quantization, { format_version: 2 }))(target);
      return undefined;
    },
    says: ['format version 2, this program reads up to version 1; update DBell Studio'],
  },
  {
    name: 'a damaged package',
    async make(target) {
      await packTinyModel('llama-untied', target);
      truncateSync(path.join(target, 'model.safetensors'), 1000);
      return undefined;
    },
    says: ['model.safetensors', '1,000 bytes'],
  },
];

/** A model that only reading its weights shows to be broken. */
export const unreadableWeights = fromTable('weights with', weightRows, ['NaN in a linear'])[0]!;

const written = (content: string | Uint8Array) => (target: string) => {
  writeFileSync(target, content);
  return undefined;
};

export const textSituations: Situation[] = [
  {
    name: 'that is not there',
    make: () => undefined,
    says: ['text TARGET does not exist; give a file, a folder or one of bundled:'],
  },
  { name: 'that is empty', make: written(''), says: ['is empty (0 bytes)'] },
  {
    name: 'of blanks',
    make: written(' \n'.repeat(500)),
    says: ['holds no text: 1000 bytes, all of them blank'],
  },
  {
    name: 'that is too short',
    make: written('One day, a little fox went to the river.'),
    says: ['is too short: ', 'tokens are missing', 'Add text, or ask for fewer or shorter windows'],
  },
  {
    name: 'that is not UTF-8',
    make: written(
      Buffer.concat([Buffer.from('One day, '), Buffer.from([0xe9, 0x20, 0xff]), Buffer.alloc(64, 'a')]),
    ),
    says: ['is not valid UTF-8: byte 9 starts no character; convert the file to UTF-8'],
  },
  {
    name: 'that is a program',
    make: written(Buffer.concat([Buffer.from('\u007fELF'), Buffer.alloc(600)])),
    says: ['is no text: byte 4 is zero; give a UTF-8 text file'],
  },
  {
    name: 'of lines that are no JSON',
    make(target) {
      writeFileSync(`${target}.jsonl`, '{"text":"one"}\n{"text"\n');
      return `${target}.jsonl`;
    },
    says: ['line 2: not valid JSON', 'each line must be an object with a field text'],
  },
  {
    name: 'that is a pipe',
    make(target) {
      execFileSync('mkfifo', [target]);
      return undefined;
    },
    says: ['is not a regular file'],
  },
];

export const outputSituations: Situation[] = [
  {
    name: 'that exists and is not empty',
    make(target) {
      mkdirSync(target);
      writeFileSync(path.join(target, 'precious.txt'), 'mine');
      return undefined;
    },
    says: ['TARGET', 'exists already; choose another'],
  },
  {
    name: 'below a file',
    make(target) {
      writeFileSync(target, '');
      return path.join(target, 'package');
    },
    says: ['TARGET'],
  },
  {
    name: 'with a name that marks unfinished work',
    make: (target) => `${target}.partial`,
    says: ['ends in .partial, which marks unfinished work; choose another name'],
  },
  {
    name: 'with a name beyond what file systems take',
    make: (target) => `${target}${'n'.repeat(250)}`,
    says: ['bytes; at most 239 leave room', 'choose a shorter name'],
  },
  {
    name: 'whose work folder is somebody else’s',
    make(target) {
      mkdirSync(`${target}.partial`);
      writeFileSync(path.join(`${target}.partial`, 'notes.txt'), 'mine');
      return undefined;
    },
    says: ['holds files but no unfinished run', 'move it away or choose another output'],
  },
];

const whole = exportText([runOf({ runId: 'never', modelName: 'never' })], 'json');

export const historySituations: Situation[] = [
  {
    name: 'cut in half',
    make: written(whole.slice(0, whole.length / 2)),
    says: ['is not an exported history'],
  },
  {
    name: 'of a newer version',
    make: written(whole.replace('"version": 1', '"version": 2')),
    says: ['was exported by a newer version', 'version 2, this one reads 1', 'update DBell Studio'],
  },
  {
    name: 'that is another JSON file',
    make: written('{"model_type": "llama"}'),
    says: ['is not an exported history'],
  },
];
