import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import type { Device } from '../../engine/runtime/device.ts';
import { type ContextOptions, GpuContext } from '../../engine/runtime/webgpu/context.ts';
import { dawnHost } from '../../engine/runtime/webgpu/dawn-host.ts';
import { GpuModel } from '../../engine/runtime/webgpu/model.ts';
import { openGpuPackage } from '../../engine/runtime/webgpu/open-gpu-package.ts';

/** Debian's Chromium brings SwiftShader, a Vulkan driver that computes on the processor, and the Vulkan loader. */
const chromiumFolder = '/usr/lib/chromium';
const driver = path.join(chromiumFolder, 'vk_swiftshader_icd.json');
const loader = path.join(chromiumFolder, 'libvulkan.so.1');
/** glibc's RTLD_NODELETE: what was loaded stays, though Node finds no addon in it. */
const keepLoaded = 0x1000;

/** Environment of a child process that is to find SwiftShader. */
export const softwareAdapterEnvironment: Record<string, string> = existsSync(driver)
  ? { VK_ICD_FILENAMES: driver, LD_LIBRARY_PATH: chromiumFolder }
  : {};

/**
 * Number of an adapter for tests: SwiftShader's where it is there, so that the tests do the same everywhere, else any. Null where there is none; then the tests that need it
 * are skipped by name. With DBELL_REQUIRE_ASSETS=1 that is a failure.
 */
export async function testAdapter(): Promise<number | null> {
  if (existsSync(driver)) {
    process.env.VK_ICD_FILENAMES = driver;
    try {
      process.dlopen({ exports: {} }, loader, constants.dlopen.RTLD_NOW | keepLoaded);
    } catch {
      // It is no addon, which Node minds; from now on it is found by its name.
    }
  }
  try {
    const adapters = await dawnHost.listAdapters();
    const software = adapters.findIndex((adapter) => adapter.isSoftware);
    return Math.max(software, 0);
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
    load: async (source, { activationBits }) =>
      GpuModel.load(context, openGpuPackage(source), activationBits, () => {}),
  };
}
