import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { file, type Row, shards, weightFile } from './model-broken-table.ts';
import { copyTinyModel, editJson } from './model-fixtures.ts';

const q1 = 'model.layers.1.self_attn.q_proj.weight';

export const folderRows: Row[] = [
  {
    name: 'does not exist',
    make: () => undefined,
    code: 'not-found',
    message: 'FOLDER: there is no such file or folder',
  },
  {
    name: 'is empty',
    make: (folder) => {
      mkdirSync(folder);
      return undefined;
    },
    code: 'not-found',
    message:
      'FOLDER: config.json is missing; a Hugging Face model folder has one (and 2 more problems; inspect lists all)',
  },
  {
    name: 'is a text file',
    make: (folder) => {
      mkdirSync(folder);
      writeFileSync(path.join(folder, 'notes.txt'), 'hello');
      return path.join(folder, 'notes.txt');
    },
    code: 'unsupported-model',
    message: 'FOLDER/notes.txt: a model is a Hugging Face folder or a .gguf file',
  },
  {
    name: 'is a pipe',
    make: (folder) => {
      mkdirSync(folder);
      execFileSync('mkfifo', [path.join(folder, 'model.gguf')]);
      return path.join(folder, 'model.gguf');
    },
    message: 'FOLDER/model.gguf: this is neither a folder nor a regular file',
  },
  {
    name: 'is a link to itself',
    make: (folder) => {
      symlinkSync(folder, folder);
      return undefined;
    },
    message: 'FOLDER: the link leads to itself',
  },
  {
    name: 'holds a GGUF file only',
    make: (folder) => {
      mkdirSync(folder);
      writeFileSync(path.join(folder, 'small.Q4_1.gguf'), '');
      return undefined;
    },
    code: 'not-found',
    message: 'FOLDER: config.json is missing; to use small.Q4_1.gguf, give the path of that file',
  },
  {
    name: 'has no config',
    make: file('config.json', null),
    code: 'not-found',
    message: 'FOLDER: config.json is missing; a Hugging Face model folder has one',
  },
  {
    name: 'has a config cut in half',
    make: file('config.json', '{"model_type": "lla'),
    message: 'FOLDER: config.json is not valid JSON',
  },
  {
    name: 'has a config that names a size twice',
    make: file('config.json', '{"model_type":"llama","hidden_size":32,"hidden_size":64}'),
    message: 'FOLDER: config.json names "hidden_size" twice',
  },
  {
    name: 'has a huge config',
    make: (folder) => {
      truncateSync(path.join(copyTinyModel('llama-plain', folder), 'config.json'), 2 ** 30);
      return undefined;
    },
    message: 'FOLDER: config.json has 1,073,741,824 bytes, more than the limit of 16,777,216',
  },
  {
    name: 'has no weights',
    make: file(weightFile, null),
    code: 'not-found',
    message: 'FOLDER: no weights: neither model.safetensors nor model.safetensors.index.json is there',
  },
  {
    name: 'has pickled weights only',
    make: (folder) => {
      copyTinyModel('llama-plain', folder);
      renameSync(path.join(folder, weightFile), path.join(folder, 'pytorch_model.bin'));
      return undefined;
    },
    code: 'unsupported-model',
    message:
      'FOLDER: pytorch_model.bin holds pickled Python objects, which can run code when they are opened; convert the model to safetensors',
  },
  {
    name: 'has a shard but no index',
    make: (folder) => {
      copyTinyModel('llama-plain', folder);
      renameSync(path.join(folder, weightFile), path.join(folder, 'model-00001-of-00002.safetensors'));
      return undefined;
    },
    code: 'not-found',
    message:
      'FOLDER: model-00001-of-00002.safetensors is there but neither model.safetensors nor model.safetensors.index.json; the download is incomplete',
  },
  {
    name: 'has weights that are a pipe',
    make: (folder) => {
      copyTinyModel('llama-plain', folder);
      rmSync(path.join(folder, weightFile));
      execFileSync('mkfifo', [path.join(folder, weightFile)]);
      return undefined;
    },
    message: 'FOLDER: model.safetensors is not a regular file',
  },
  {
    name: 'has weights that are a link out of it',
    make: (folder) => {
      copyTinyModel('llama-plain', folder);
      renameSync(path.join(folder, weightFile), `${folder}.elsewhere`);
      symlinkSync(`${folder}.elsewhere`, path.join(folder, weightFile));
      return undefined;
    },
    message:
      "FOLDER: model.safetensors is a link out of the model's folder, to FOLDER.elsewhere; copy the file instead",
  },
  {
    name: 'has a tokenizer that is a link out of it',
    make: (folder) => {
      copyTinyModel('llama-plain', folder);
      rmSync(path.join(folder, 'tokenizer.json'));
      symlinkSync('/etc/passwd', path.join(folder, 'tokenizer.json'));
      return undefined;
    },
    message:
      "FOLDER: tokenizer.json is a link out of the model's folder, to /etc/passwd; copy the file instead",
  },
  {
    name: 'has weights that are a dangling link',
    make: (folder) => {
      copyTinyModel('llama-plain', folder);
      rmSync(path.join(folder, weightFile));
      symlinkSync('../../blobs/gone', path.join(folder, weightFile));
      return undefined;
    },
    message:
      'FOLDER: model.safetensors is a link to a file that is not there; download the model again or connect the drive it lies on',
  },
  {
    name: 'has weights that are a link to itself',
    make: (folder) => {
      copyTinyModel('llama-plain', folder);
      rmSync(path.join(folder, weightFile));
      symlinkSync(weightFile, path.join(folder, weightFile));
      return undefined;
    },
    message: 'FOLDER: model.safetensors is a link that leads to itself',
  },
  {
    name: 'has no tokenizer',
    make: file('tokenizer.json', null),
    code: 'not-found',
    message: 'FOLDER: tokenizer.json is missing',
  },
  {
    name: 'has a SentencePiece model only',
    make: (folder) => {
      copyTinyModel('llama-plain', folder);
      renameSync(path.join(folder, 'tokenizer.json'), path.join(folder, 'tokenizer.model'));
      return undefined;
    },
    code: 'unsupported-model',
    message:
      'FOLDER: the tokenizer is there as tokenizer.model only; save it as tokenizer.json (the "fast" format) first',
  },
  {
    name: 'has the tokenizer of a larger model',
    make: (folder) => {
      copyTinyModel('llama-plain', folder);
      editJson(path.join(folder, 'tokenizer.json'), (value) => {
        (value.added_tokens as { id: number }[])[0]!.id = 32_000;
      });
      return undefined;
    },
    message:
      'FOLDER: tokenizer.json has token id 32,000 but config.json says vocab_size 288; the tokenizer belongs to another model',
  },
  {
    name: 'has a generation config with an odd id',
    make: file('generation_config.json', '{"eos_token_id": ["</s>"]}'),
    message:
      'FOLDER: generation_config.json: eos_token_id is ["</s>"]; it must be a token id or a list of token ids',
  },
  {
    name: 'has lost a shard',
    make: shards((folder) => rmSync(path.join(folder, 'model-00002-of-00002.safetensors'))),
    code: 'not-found',
    message:
      'FOLDER: 1 of 2 weight files is missing: model-00002-of-00002.safetensors; complete the download',
  },
  {
    name: 'has an index without a map',
    make: shards((_, index) => Object.assign(index, { weight_map: ['a'] })),
    message: 'FOLDER: model.safetensors.index.json: weight_map is not an object',
  },
  {
    name: 'has an index that leads out of it',
    make: shards((_, index) => {
      index.weight_map[q1] = '../../../etc/model.safetensors';
    }),
    message:
      'FOLDER: model.safetensors.index.json: tensor "model.layers.1.self_attn.q_proj.weight" lies in "../../../etc/model.safetensors", which is no safetensors file name',
  },
  {
    name: 'has an index of a pickle',
    make: shards((_, index) => {
      index.weight_map[q1] = 'pytorch_model.bin';
    }),
    message:
      'FOLDER: model.safetensors.index.json: tensor "model.layers.1.self_attn.q_proj.weight" lies in "pytorch_model.bin", which is no safetensors file name',
  },
  {
    name: 'has an index that names the wrong shard',
    make: shards((_, index) => {
      index.weight_map[q1] = 'model-00001-of-00002.safetensors';
    }),
    message:
      'FOLDER: model.safetensors.index.json says that model-00001-of-00002.safetensors holds "model.layers.1.self_attn.q_proj.weight", but it does not; the files do not belong together',
  },
  {
    name: 'has a tensor in two shards',
    make: shards((folder, index) => {
      execFileSync('cp', [
        path.join(folder, 'model-00001-of-00002.safetensors'),
        path.join(folder, 'model-00003-of-00002.safetensors'),
      ]);
      index.weight_map.more = 'model-00003-of-00002.safetensors';
    }),
    message:
      'FOLDER: tensor "model.embed_tokens.weight" is stored in model-00001-of-00002.safetensors and in model-00003-of-00002.safetensors (and 8 more problems; inspect lists all)',
  },
];
