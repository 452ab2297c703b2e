import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BenchmarkResult } from '../../engine/contract/measurement.ts';
import { openPackage } from '../../engine/package/open.ts';
import { parseDeviceChoice, resolveDevice } from '../../engine/runtime/devices.ts';
import { createPackedTextModel } from '../../engine/runtime/packed-text-model.ts';
import { adapterLabel, chooseAdapter, isSoftwareAdapter } from '../../engine/runtime/webgpu/adapters.ts';
import { dawnHost } from '../../engine/runtime/webgpu/dawn-host.ts';
import { describeAdapters, gpuDevice } from '../../engine/runtime/webgpu/gpu-device.ts';
import { type GpuProvider, hostProvider } from '../../engine/runtime/webgpu/provider.ts';
import { cutRowGroups } from '../../engine/runtime/webgpu/weights.ts';
import { softwareAdapterEnvironment } from '../../scripts/acceptance/software-adapter.ts';
import { onlyJson, runCli } from './cli-run.ts';
import { openTestContext, sharedDevice, testAdapter } from './gpu-support.ts';
import { packTinyModel, tinyModels } from './package-support.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-gpu-'));
const adapter = await testAdapter();
const ids = Int32Array.of(5, 6, 7, 8);
let packed: string;

beforeAll(async () => {
  packed = await packTinyModel('llama-plain', path.join(folder, 'packed'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const graphics = { name: 'Some Graphics 9', backend: 'vulkan', isSoftware: false };
const software = { name: 'llvmpipe (LLVM 15.0.6, 256 bits)', backend: 'vulkan', isSoftware: true };

/** Adapters that are listed but not opened. */
function listing(...adapters: (typeof graphics)[]): GpuProvider {
  return hostProvider({
    listAdapters: async () => adapters,
    openAdapter: async () => {
      throw new Error('not to be opened');
    },
  });
}

describe('which device', () => {
  test('software adapters are known by their names, and named so', () => {
    for (const name of ['SwiftShader Device (Subzero)', software.name, 'Microsoft Basic Render Driver'])
      expect(isSoftwareAdapter(name), name).toBe(true);
    for (const name of ['NVIDIA H100 80GB HBM3', 'Apple M2', 'Intel(R) Arc(tm) A770 Graphics'])
      expect(isSoftwareAdapter(name), name).toBe(false);
    expect(adapterLabel(software)).toBe('llvmpipe (LLVM 15.0.6, 256 bits), software adapter (vulkan)');
    expect(adapterLabel(graphics)).toBe('Some Graphics 9 (vulkan)');
  });

  test('the first that is no software adapter, or the one asked for', () => {
    expect(chooseAdapter([software, graphics], null)).toBe(1);
    expect(chooseAdapter([software, graphics], 0)).toBe(0);
    expect(() => chooseAdapter([graphics], 3)).toThrow(
      'there is no adapter number 3: gpu:0 is Some Graphics 9 (vulkan)',
    );
    expect(() => chooseAdapter([software], null)).toThrow(
      /^no GPU found: gpu:0 is llvmpipe .* by its number$/,
    );
  });

  test('what is no device is refused', () => {
    expect(parseDeviceChoice('gpu:12')).toEqual({ kind: 'gpu', index: 12 });
    for (const text of ['', 'GPU', 'gpu:', 'gpu:-1', 'gpu:1234', 'cuda', 'gpu:0 '])
      expect(() => parseDeviceChoice(text), text).toThrow('cpu, gpu, gpu:N');
  });

  test('auto takes the CPU where there is no GPU, and says why; gpu never does', async () => {
    const { device, notes } = await resolveDevice('auto', listing(software));
    expect(device.name).toBe('cpu');
    expect(notes).toEqual([
      {
        level: 'info',
        message: expect.stringMatching(/^running on the CPU: no GPU found: gpu:0 is llvmpipe/),
      },
    ]);
    const found = await resolveDevice('auto', listing(software, graphics));
    expect(found.device.name).toBe('Some Graphics 9 (vulkan)');
    await expect(resolveDevice('gpu', listing(software))).rejects.toMatchObject({ code: 'gpu-unavailable' });
    const asked = await resolveDevice('gpu:0', listing(software));
    expect(asked.notes).toEqual([
      { level: 'warning', message: expect.stringContaining('computes on the processor') },
    ]);
  });

  test('a host that fails otherwise is not taken for one without a GPU', async () => {
    const broken: GpuProvider = {
      ...listing(),
      listAdapters: () => Promise.reject(new Error('driver crashed')),
    };
    await expect(resolveDevice('auto', broken)).rejects.toThrow('driver crashed');
  });
});

test('weights are cut into whole row groups', () => {
  expect(cutRowGroups('w', 10, 100, 20, 420)).toEqual([
    { first: 0, count: 4 },
    { first: 4, count: 4 },
    { first: 8, count: 2 },
  ]);
  expect(cutRowGroups('w', 70_000, 1, 0, 1e9).map(({ count }) => count)).toEqual([65_535, 4465]);
  expect(() => cutRowGroups('w', 10, 100, 20, 119)).toThrow('w: 16 rows take 120 bytes');
});

describe.skipIf(adapter === null)('what goes wrong on a device is said', () => {
  test('the adapters are listed with their drivers', async () => {
    const list = await describeAdapters();
    expect(list[adapter!]).toMatchObject({
      name: expect.any(String),
      backend: expect.any(String),
      problem: null,
    });
  });

  test('a limit that the adapter misses', async () => {
    await expect(
      openTestContext(adapter!, { limits: { maxComputeWorkgroupStorageSize: 4096 } }),
    ).rejects.toMatchObject({
      code: 'gpu-unavailable',
      message: expect.stringMatching(
        /cannot run packed models: its maxComputeWorkgroupStorageSize is 4096, 16384 is needed; use --device cpu$/,
      ),
    });
  });

  test('a device that is lost, before, during and after a wait', async () => {
    const context = await openTestContext(adapter!);
    const model = await createPackedTextModel(packed, { threads: 1, device: sharedDevice(context) });
    const session = await model.createSession();
    await session.feed(ids);
    const waiting = session.feed(ids);
    context.device.destroy();
    const lost = {
      code: 'device-lost',
      message: expect.stringMatching(/was lost \(.*start again to go on$/),
    };
    await expect(waiting).rejects.toMatchObject(lost);
    await expect(session.feed(ids)).rejects.toMatchObject(lost);
    await expect(model.createSession()).rejects.toMatchObject(lost);
    expect(session.position).toBe(ids.length);
    await model.close();
  });

  test('memory that there is not', async () => {
    const context = await openTestContext(adapter!);
    const most = context.maximumBindingBytes;
    expect(() => context.createBuffer('cache', 'the cache', most + 4)).toThrow(
      `the cache would take ${most + 4} bytes in one buffer, ${most} are possible; use a shorter context`,
    );
    // More than any adapter has: 64 of the largest buffers, until one is refused.
    const buffers: GPUBuffer[] = [];
    const fill = async () => {
      for (let count = 0; count < 64; count++)
        await context.checked('the cache', () =>
          buffers.push(context.createBuffer('cache', 'the cache', most)),
        );
    };
    if (adapter !== null && (await dawnHost.listAdapters())[adapter]!.isSoftware)
      await expect(fill()).rejects.toMatchObject({
        code: 'out-of-memory',
        message: expect.stringMatching(
          /has no memory for the cache: .*; use a shorter context or --device cpu$/,
        ),
      });
    context.close();
  });

  test('a kernel that does not compile', async () => {
    const context = await openTestContext(adapter!);
    const broken = {
      key: 'broken',
      wgsl: () => 'fn main() { no }',
      buffers: [],
      parameters: [],
      floatParameters: [],
    };
    await expect(context.checked('kernels', () => context.prepare([broken]))).rejects.toMatchObject({
      code: 'internal',
      message: expect.stringMatching(/the kernel broken does not compile: line 1: /),
    });
    context.close();
  });

  test('a model whose session cannot be made leaves nothing on the device', async () => {
    const context = await openTestContext(adapter!);
    context.device.createComputePipelineAsync = () => Promise.reject(new Error('the driver fails'));
    for (let attempt = 0; attempt < 2; attempt++) {
      await expect(
        createPackedTextModel(packed, { threads: 1, device: sharedDevice(context) }),
      ).rejects.toMatchObject({ code: 'internal', message: expect.stringContaining('the driver fails') });
      expect(context.memoryBytes).toEqual({ weights: 0, cache: 0, scratch: 0 });
    }
    context.close();
  });

  test('a cache that finds no memory to grow: the session goes on with what it has', async () => {
    const context = await openTestContext(adapter!);
    const long = path.join(folder, 'long');
    cpSync(path.join(tinyModels, 'llama-plain'), long, { recursive: true });
    const config = path.join(long, 'config.json');
    writeFileSync(
      config,
      JSON.stringify({ ...JSON.parse(readFileSync(config, 'utf8')), max_position_embeddings: 1024 }),
    );
    const out = await packTinyModel(long, path.join(folder, 'long-packed'));
    const model = await createPackedTextModel(out, { threads: 1, device: sharedDevice(context) });
    const session = await model.createSession();
    const id = Int32Array.of(5);
    const beyondTheFirst = new Int32Array(300).fill(5);
    const expected: Float32Array[] = [];
    for (let token = 0; token < 3; token++) expected.push((await session.feed(id)).slice());
    const { memoryBytes, device } = context;
    const [before, { cacheBytes }] = [{ ...memoryBytes }, session];
    const createBuffer = device.createBuffer.bind(device);
    const refuse = (label: string, from = 1) => {
      let count = 0;
      device.createBuffer = (descriptor) => {
        if (descriptor.label === label && ++count >= from) throw new RangeError(`no memory for ${label}`);
        return createBuffer(descriptor);
      };
    };
    // Keys of the first block are made, its values are not; then all of the cache, but not what binds it.
    for (const [label, from] of [
      ['the cache', 2],
      ['parameters', 1],
    ] as const) {
      refuse(label, from);
      await expect(session.feed(beyondTheFirst)).rejects.toThrow(`no memory for ${label}`);
      expect(memoryBytes).toEqual(before);
      expect(session).toMatchObject({ position: 3, cacheBytes });
      await session.reset();
      for (const logits of expected) expect(await session.feed(id)).toEqual(logits);
    }
    // Nor does a session that is refused on the way leave anything.
    for (const label of ['logits', 'top candidates', 'times', 'read back', 'the cache', 'parameters']) {
      if (label === 'times' && !context.hasTimestamps) continue;
      refuse(label);
      await expect(model.createSession()).rejects.toThrow(`no memory for ${label}`);
      expect(memoryBytes).toEqual(before);
    }
    device.createBuffer = createBuffer;
    // A later attempt, once there is memory again.
    expect(await session.feed(beyondTheFirst)).toHaveLength(expected[0]!.length);
    expect(session.cacheBytes).toBeGreaterThan(cacheBytes);

    const other = await model.createSession();
    const growing = other.feed(beyondTheFirst);
    await Promise.resolve();
    other.close();
    await expect(growing).rejects.toThrow('the session is closed');
    await model.close();
    expect(memoryBytes).toEqual({ weights: 0, cache: 0, scratch: 0 });
    context.close();
  });

  test('a package that contradicts itself, by the same checks as on the CPU', async () => {
    const out = await packTinyModel('llama-plain', path.join(folder, 'contradiction'), {
      edit(block) {
        for (const linear of block.linears)
          linear.columnScale = new Float32Array(linear.inFeatures).fill(
            linear.name.endsWith('k_proj') ? 2 : 1,
          );
      },
    });
    const { device } = await gpuDevice(adapter);
    await expect(createPackedTextModel(out, { threads: 1, device })).rejects.toMatchObject({
      code: 'invalid-package',
      message: expect.stringContaining('have different column scales'),
    });
  });

  test.each(['token', 'block'] as const)('numbers that run away, steps by %s', async (activationScales) => {
    const out = await packTinyModel('llama-plain', path.join(folder, `overflow-${activationScales}`), {
      activationScales,
      edit(block) {
        for (const linear of block.linears) if (linear.name.endsWith('o_proj')) linear.bias = null;
        block.floatTensors.set(`model.layers.${block.index}.post_attention_layernorm.weight`, {
          shape: [32],
          values: new Float32Array(32).fill(3e38),
        });
      },
    });
    const { device } = await gpuDevice(adapter);
    for (const activationBits of [8, 16] as const) {
      const model = await createPackedTextModel(out, { threads: 1, device, activationBits });
      const session = await model.createSession();
      await expect(session.feed(ids)).rejects.toMatchObject({
        code: 'invalid-package',
        message: expect.stringContaining('not finite; the package is damaged'),
      });
      await model.close();
    }
  });

  test('loading and closing again and again leaves nothing', async () => {
    const context = await openTestContext(adapter!);
    const source = await openPackage(packed);
    let settledBytes = 0;
    for (let cycle = 0; cycle < 200; cycle++) {
      if (cycle === 50) settledBytes = process.memoryUsage.rss();
      const model = await createPackedTextModel(source, { threads: 1, device: sharedDevice(context) });
      const session = await model.createSession({ contextLength: 16 });
      if (cycle % 50 === 0) await session.feed(ids);
      // What the adapter needs besides weights and cache (docs/gpu.md).
      const { weights, cache, scratch } = context.memoryBytes;
      expect(weights).toBeLessThan(source.modelBytes + 16 * 2 ** 20);
      expect(weights + cache + scratch).toBeLessThan(source.modelBytes + session.cacheBytes + 128 * 2 ** 20);
      expect(model.memoryBytes.scratch).toBe(scratch);
      await model.close();
      expect(context.memoryBytes).toEqual({ weights: 0, cache: 0, scratch: 0 });
    }
    expect(process.memoryUsage.rss() - settledBytes).toBeLessThan(64 * 2 ** 20);
    source.close();
    context.close();
  });
});

describe('the command line', () => {
  const nothing = { VK_ICD_FILENAMES: path.join(folder, 'no-driver.json') };
  const home = { DBELL_HOME: path.join(folder, 'home') };
  const prompt = ['--prompt', 'Once', '--greedy', '--tokens', '4', '--json'];

  test('no GPU: the reason, never a silent run on the CPU', async () => {
    const result = await runCli(['generate', packed, ...prompt, '--device', 'gpu'], { ...home, ...nothing });
    expect(result.exitCode).toBe(1);
    expect(onlyJson(result)).toMatchObject({ error: { code: 'gpu-unavailable' } });
    expect(result.stderr).toContain('no GPU found: ');
  });

  test('no GPU: the list of devices says why, and where to read on', async () => {
    const { stdout } = await runCli(['devices'], { ...home, ...nothing });
    expect(stdout).toMatch(/no GPU found: .*\ndocs\/gpu\.md: /);
  });

  test('auto runs on the CPU then, and says so', async () => {
    const result = await runCli(['generate', packed, ...prompt, '--device', 'auto'], { ...home, ...nothing });
    expect(result.exitCode).toBe(0);
    expect(onlyJson(result)).toMatchObject({ device: 'cpu' });
    expect(result.stderr).toContain('running on the CPU: no GPU found: ');
  });

  test.skipIf(adapter === null)(
    'an adapter by its number: the same ids as the CPU, and its name',
    async () => {
      const environment = { ...home, ...softwareAdapterEnvironment };
      const listed = onlyJson(await runCli(['devices', '--json'], environment));
      const adapters = listed.adapters as { name: string; isSoftware: boolean }[];
      const number = Math.max(
        0,
        adapters.findIndex(({ isSoftware }) => isSoftware),
      );
      const onDevice = await runCli(
        ['generate', packed, ...prompt, '--device', `gpu:${number}`],
        environment,
      );
      const onCpu = await runCli(['generate', packed, ...prompt], environment);
      const [got, expected] = [onlyJson(onDevice), onlyJson(onCpu)];
      expect(got.tokenIds).toEqual(expected.tokenIds);
      expect(expected.device).toBe('cpu');
      expect(got.device).toContain(adapters[number]!.name);
      const withCache = (type: string) =>
        runCli(['generate', packed, ...prompt, '--device', `gpu:${number}`, '--kv-cache', type], environment);
      expect(onlyJson(await withCache('f16'))).toMatchObject({ keyValueCache: 'f16', device: got.device });
      const refused = await withCache('int8');
      expect(refused.exitCode).not.toBe(0);
      expect(refused.stderr).toMatch(/has no cache of int8; f32 and f16 are possible there, int8 on the CPU/);
      if (!adapters[number]!.isSoftware) return;
      expect(got.device).toContain('software adapter');
      expect(onDevice.stderr).toContain('times say nothing about a GPU');
    },
  );

  test.skipIf(adapter === null)(
    'a benchmark tells what the device does besides the time on the wall',
    async () => {
      const environment = { ...home, ...softwareAdapterEnvironment };
      const lengths = [
        '--prompt-tokens',
        '4',
        '--depths',
        '0',
        '--generate-tokens',
        '4',
        '--repetitions',
        '1',
      ];
      const run = await runCli(
        ['benchmark', packed, ...lengths, '--device', `gpu:${adapter}`, '--json'],
        environment,
      );
      const result = onlyJson(run) as unknown as BenchmarkResult;
      expect(result.deviceTimes!.uploadMs).toBeGreaterThan(0);
      const { bytesPerSecond, method } = result.memoryBandwidth!;
      expect(bytesPerSecond).toBeGreaterThan(1e6);
      expect(method).toContain('copied to another');
      const readPerToken = Object.values(result.bytesReadPerToken[0]!).reduce((sum, bytes) => sum + bytes, 0);
      expect(result.memoryBandwidthShare[0]).toBeCloseTo(
        (result.decodeTokensPerSecond[0]! * readPerToken) / bytesPerSecond,
        6,
      );
      expect(result.memoryBytes).toMatchObject({ weights: expect.any(Number), scratch: expect.any(Number) });
      const { prefillKernelMs, decodeKernelMs } = result.deviceTimes!;
      // SwiftShader has a clock for kernels; they cannot take longer than the wall says.
      expect(decodeKernelMs[0]).toBeGreaterThan(0);
      expect(decodeKernelMs[0]).toBeLessThan(result.tokenLatencyMs.p99);
      expect(prefillKernelMs[4]).toBeGreaterThan(0);
      const onCpu = onlyJson(await runCli(['benchmark', packed, ...lengths, '--json'], environment));
      expect(onCpu.deviceTimes).toBeNull();
    },
  );

  test('a model in full precision, and a device that there is not, are refused', async () => {
    const { exitCode, stderr } = await runCli(
      ['generate', 'tests/fixtures/model/tiny/llama-plain', ...prompt, '--device', 'gpu:0'],
      home,
    );
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain('is a model in full precision, which runs on the CPU');
    const wrong = await runCli(['benchmark', packed, '--device', 'tpu'], home);
    expect(wrong.exitCode).toBe(2);
  });
});
