import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DBellError, type ErrorCode } from '../../engine/contract/errors.ts';
import { openModel } from '../../engine/model/open.ts';
import type { ModelSource } from '../../engine/model/source.ts';
import {
  copyTinyModel,
  editJson,
  editTensors,
  type GgufPair,
  type GgufTensorInput,
  handmadeGguf,
  makeGguf,
  readSafetensors,
  type SafetensorsHeaderObject,
  withPair,
  writeSafetensors,
} from './model-fixtures.ts';

export interface Row {
  name: string;
  /** Makes the broken model in `folder` (which does not exist yet) and returns what is opened: the folder unless said otherwise. */
  make: (folder: string) => string | undefined;
  code?: ErrorCode;
  /** For damage that only reading shows: reads and returns what was thrown. */
  read?: (model: ModelSource) => unknown;
  /** The whole message; FOLDER stands for the model's folder. */
  message: string;
}

export const weightFile = 'model.safetensors';
export const q = 'model.layers.1.self_attn.q_proj.weight';

export function config(base: string, changes: Record<string, unknown>): Row['make'] {
  return (folder) => {
    copyTinyModel(base, folder);
    editJson(path.join(folder, 'config.json'), (value) => {
      for (const [key, change] of Object.entries(changes))
        if (change === undefined) delete value[key];
        else value[key] = change;
    });
    return undefined;
  };
}

export function tensors(base: string, edit: Parameters<typeof editTensors>[1]): Row['make'] {
  return (folder) => {
    editTensors(copyTinyModel(base, folder), edit);
    return undefined;
  };
}

export function header(
  edit: (header: SafetensorsHeaderObject) => void,
  text?: (header: string) => string,
): Row['make'] {
  return (folder) => {
    const file = path.join(copyTinyModel('llama-plain', folder), weightFile);
    writeSafetensors(file, readSafetensors(file), edit, text);
    return undefined;
  };
}

export function bytes(edit: (file: string) => void): Row['make'] {
  return (folder) => {
    edit(path.join(copyTinyModel('llama-plain', folder), weightFile));
    return undefined;
  };
}

/** Overwrites the header's length field. */
export function lengthField(value: bigint): Row['make'] {
  return bytes((file) => {
    const content = readFileSync(file);
    content.writeBigUInt64LE(value, 0);
    writeFileSync(file, content);
  });
}

export function file(name: string, content: string | Uint8Array | null): Row['make'] {
  return (folder) => {
    const target = path.join(copyTinyModel('llama-plain', folder), name);
    if (content === null) rmSync(target);
    else writeFileSync(target, content);
    return undefined;
  };
}

export function shards(
  edit: (folder: string, index: { weight_map: Record<string, unknown> }) => void,
): Row['make'] {
  return (folder) => {
    copyTinyModel('llama-plain', folder);
    const all = [...readSafetensors(path.join(folder, weightFile))];
    const index: { weight_map: Record<string, unknown> } = { weight_map: {} };
    for (const [number, part] of [all.slice(0, 8), all.slice(8)].entries()) {
      const name = `model-0000${number + 1}-of-00002.safetensors`;
      writeSafetensors(path.join(folder, name), new Map(part));
      for (const [tensor] of part) index.weight_map[tensor] = name;
    }
    rmSync(path.join(folder, weightFile));
    edit(folder, index);
    writeFileSync(path.join(folder, 'model.safetensors.index.json'), JSON.stringify(index));
    return undefined;
  };
}

export function gguf(
  edit: (parts: { pairs: GgufPair[]; tensors: GgufTensorInput[] }) => void,
  options?: Parameters<typeof makeGguf>[2],
  cut?: number,
): Row['make'] {
  return (folder) => {
    mkdirSync(folder, { recursive: true });
    const parts = handmadeGguf();
    edit(parts);
    const made = makeGguf(parts.pairs, parts.tensors, options);
    const target = path.join(folder, 'model.gguf');
    writeFileSync(target, cut === undefined ? made : made.subarray(0, made.length - cut));
    return target;
  };
}

export const pair =
  (key: string, value: [GgufPair[1], unknown] | undefined) => (parts: { pairs: GgufPair[] }) => {
    parts.pairs = withPair(parts.pairs, key, value);
  };

/** Runs a table: every model is made, opened, and refused with exactly its message and code. */
export function testBrokenInputs(tables: Record<string, Row[]>): void {
  let root: string;
  beforeAll(() => {
    root = mkdtempSync(path.join(tmpdir(), 'dbell-broken-'));
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  describe.each(Object.entries(tables))('%s', (table, cases) => {
    test.each(cases)('$name', async (row) => {
      const folder = path.join(root, `${table} ${row.name}`.replaceAll(/[^a-z0-9]+/gi, '-'));
      const opened = row.make(folder) ?? folder;
      const error = await openModel(opened).then(
        (model) => row.read?.(model),
        (reason: unknown) => reason,
      );
      expect(error).toBeInstanceOf(DBellError);
      expect((error as DBellError).message.replaceAll(folder, 'FOLDER')).toBe(row.message);
      expect((error as DBellError).code).toBe(row.code ?? 'invalid-model');
    });
  });
}
