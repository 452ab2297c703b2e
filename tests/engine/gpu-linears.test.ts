import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openPackage } from '../../engine/package/open.ts';
import type { GpuContext } from '../../engine/runtime/webgpu/context.ts';
import { openGpuPackage } from '../../engine/runtime/webgpu/open-gpu-package.ts';
import { GpuVerification } from '../../engine/runtime/webgpu/verification.ts';
import { type CheckWay, checkOptions, describeGpuLinears } from './gpu-linears-suite.ts';
import { openTestContext, testAdapter } from './gpu-support.ts';
import { packTinyModel } from './package-support.ts';
import { writeWideModel } from './wide-model.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-gpu-'));
const adapter = await testAdapter();
const contexts = new Map<CheckWay, GpuContext>();

beforeAll(async () => {
  writeWideModel(path.join(folder, 'wide'));
  if (adapter === null) return;
  for (const way of Object.keys(checkOptions) as CheckWay[])
    contexts.set(way, await openTestContext(adapter, checkOptions[way]));
});
afterAll(() => {
  for (const context of contexts.values()) context.close();
  rmSync(folder, { recursive: true, force: true });
});

describeGpuLinears(
  adapter !== null,
  async (way, source) => new GpuVerification(contexts.get(way)!, openGpuPackage(source)),
);

describe.skipIf(adapter === null)('weights that are larger than a buffer may be', () => {
  test('are cut by rows', async () => {
    const out = await packTinyModel(path.join(folder, 'wide'), path.join(folder, 'cut'));
    const source = await openPackage(out);
    const check = new GpuVerification(contexts.get('cut')!, openGpuPackage(source));
    expect(await check.partCount('model.layers.0.mlp.down_proj')).toBeGreaterThan(1);
    source.close();
  });

  test('and refused where 16 rows are too large', async () => {
    const source = await openPackage(path.join(folder, 'cut'));
    const context = await openTestContext(adapter!, { maximumWeightBytes: 2000 });
    const check = new GpuVerification(context, openGpuPackage(source));
    await expect(check.partCount('model.layers.0.mlp.down_proj')).rejects.toThrow(
      /down_proj: 16 rows take \d+ bytes; the device binds 2000 at most; use --device cpu/,
    );
    context.close();
    source.close();
  });
});
