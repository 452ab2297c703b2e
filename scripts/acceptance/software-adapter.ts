import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { dawnHost } from '../../engine/runtime/webgpu/dawn-host.ts';

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

/** Lets this process find SwiftShader, where it is installed; called before Dawn is loaded. */
export function findSoftwareAdapter(): void {
  if (existsSync(driver)) {
    process.env.VK_ICD_FILENAMES = driver;
    try {
      process.dlopen({ exports: {} }, loader, constants.dlopen.RTLD_NOW | keepLoaded);
    } catch {
      // It is no addon, which Node minds; from now on it is found by its name.
    }
  }
}

/** Number of SwiftShader's adapter, or of any where it is not there. Throws DBellError `gpu-unavailable` where there is none. */
export async function softwareAdapter(): Promise<number> {
  findSoftwareAdapter();
  const adapters = await dawnHost.listAdapters();
  return Math.max(
    adapters.findIndex((adapter) => adapter.isSoftware),
    0,
  );
}
