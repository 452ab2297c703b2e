import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { FileSource, readBytes } from '../../engine/model/byte-source.ts';
import { openModel } from '../../engine/model/open.ts';
import { tinyModels } from './package-support.ts';

const root = mkdtempSync(path.join(tmpdir(), 'dbell-changed-files-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const refused = expect.objectContaining({
  code: 'invalid-model',
  message: expect.stringMatching(/^model\.safetensors was written to at .*, while it was in use/),
});

function copyOfModel(): { folder: string; weights: string } {
  const folder = mkdtempSync(path.join(root, 'model-'));
  cpSync(path.join(tinyModels, 'llama-plain'), folder, { recursive: true });
  const weights = path.join(folder, 'model.safetensors');
  // As old as a model is that nobody has touched just now.
  utimesSync(weights, 1_700_000_000, 1_700_000_000);
  return { folder, weights };
}

test('weights that are written to while a model is open are not mixed with those read before', async () => {
  const { folder, weights } = copyOfModel();
  const model = await openModel(folder);
  try {
    const name = 'model.layers.0.self_attn.q_proj.weight';
    expect(model.readFloat32(name).some((value) => value !== 0)).toBe(true);
    writeFileSync(weights, readFileSync(weights).fill(0, 50_000));
    expect(() => model.readFloat32(name)).toThrow(refused);
    expect(() => model.readRowsFloat32(name, 0, 1)).toThrow(refused);
    await expect(model.fingerprint()).rejects.toThrow(refused);
  } finally {
    model.close();
  }
});

test('bytes appended are a change too', () => {
  const { weights } = copyOfModel();
  const source = new FileSource(weights, 'model.safetensors');
  expect(readBytes(source, 0, 8)).toHaveLength(8);
  writeFileSync(weights, 'x', { flag: 'a' });
  expect(() => readBytes(source, 0, 8)).toThrow(refused);
  source.close();
});

test('a file that is replaced or deleted stays what it was for whoever has it open', async () => {
  const { folder, weights } = copyOfModel();
  const model = await openModel(folder);
  try {
    const fingerprint = await model.fingerprint();
    const other = path.join(root, 'other.safetensors');
    writeFileSync(other, 'something else');
    renameSync(other, weights);
    const before = model.readFloat32('model.norm.weight');
    rmSync(folder, { recursive: true });
    expect(model.readFloat32('model.norm.weight')).toEqual(before);
    expect(await model.fingerprint()).toBe(fingerprint);
  } finally {
    model.close();
  }
});
