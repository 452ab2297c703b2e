import { gpuKeyValueCaches } from '../../engine/contract/common.ts';
import type { Device } from '../../engine/runtime/device.ts';
import { type ContextOptions, GpuContext } from '../../engine/runtime/webgpu/context.ts';
import { dawnHost } from '../../engine/runtime/webgpu/dawn-host.ts';
import { GpuModel } from '../../engine/runtime/webgpu/model.ts';
import { openGpuPackage } from '../../engine/runtime/webgpu/open-gpu-package.ts';
import { softwareAdapter } from '../../scripts/acceptance/software-adapter.ts';

/**
 * Number of an adapter for tests: SwiftShader's where it is there, so that the tests do the same everywhere, else any. Null where there is none; then the tests that need it
 * are skipped by name. With DBELL_REQUIRE_ASSETS=1 that is a failure.
 */
export async function testAdapter(): Promise<number | null> {
  try {
    return await softwareAdapter();
  } catch (error) {
    if (process.env.DBELL_REQUIRE_ASSETS === '1') throw error;
    return null;
  }
}

export async function openTestContext(adapter: number, options: ContextOptions = {}): Promise<GpuContext> {
  return GpuContext.open(await dawnHost.openAdapter(adapter), options);
}

/** Models that share one context, so that each kernel is compiled once for all of them; whoever opened the context closes it. */
export function sharedDevice(context: GpuContext): Device {
  return {
    name: context.label,
    keyValueCaches: gpuKeyValueCaches,
    load: async (source, options) => GpuModel.load(context, openGpuPackage(source), options, () => {}),
  };
}
