import { existsSync, readdirSync } from 'node:fs';
import { DBellError } from '../../contract/errors.ts';
import {
  type GpuAdapterDescription,
  type GpuHost,
  isSoftwareAdapter,
  type OpenedAdapter,
} from './adapters.ts';

/** What is used of the `webgpu` package (Dawn for Node). */
interface Dawn {
  create(flags: string[]): GPU;
}

/** A name that no adapter has: asked for it, Dawn answers with those that there are. */
const noSuchAdapter = 'dbell: list adapters';
const listed = /backend: '([^']+)', name: '([^']*)'/g;
/** Times of kernels are else rounded to 0.1 ms, so that web pages cannot tell much from them. */
const exactTimes = 'disable-dawn-features=timestamp_quantization';
/** Dawn's backend that computes nothing. */
const nullBackend = 'null';

/** Dawn in Node, loaded when it is first asked for: an optional dependency. */
export const dawnHost: GpuHost = {
  async listAdapters() {
    return list(await load());
  },
  async openAdapter(index) {
    const dawn = await load();
    const description = (await list(dawn))[index];
    if (!description) throw new DBellError('gpu-unavailable', `there is no adapter number ${index}`);
    return open(dawn, description);
  },
};

async function load(): Promise<Dawn> {
  // Dawn hands buffers of its own to JavaScript, which Electron's memory cage refuses; a window computes there (window/window-provider.ts).
  if (process.versions.electron !== undefined)
    throw new DBellError('gpu-unavailable', 'no GPU found: Dawn for Node does not run in Electron');
  try {
    return (await import('webgpu')) as unknown as Dawn;
  } catch (cause) {
    const code = (cause as { code?: unknown }).code;
    const isMissing = code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND';
    throw new DBellError(
      'gpu-unavailable',
      isMissing
        ? 'no GPU found: the optional package webgpu (Dawn for Node) is not installed for this system; run npm install again, without --omit=optional'
        : `no GPU found: the package webgpu (Dawn for Node) does not load: ${(cause as Error).message}`,
      { cause },
    );
  }
}

/** Dawn lists its adapters only in the error of a name that there is not. */
async function list(dawn: Dawn): Promise<GpuAdapterDescription[]> {
  let answer = '';
  try {
    await dawn.create([`adapter=${noSuchAdapter}`]).requestAdapter();
  } catch (error) {
    answer = (error as Error).message;
  }
  const adapters = [...answer.matchAll(listed)]
    .map(([, backend, name]) => ({ backend: backend!, name: name! }))
    .filter(({ backend }) => backend !== nullBackend)
    .map((adapter) => ({ ...adapter, isSoftware: isSoftwareAdapter(adapter.name) }));
  if (adapters.length === 0) throw new DBellError('gpu-unavailable', `no GPU found: ${reason()}`);
  return adapters;
}

async function open(dawn: Dawn, description: GpuAdapterDescription): Promise<OpenedAdapter> {
  let gpu: GPU | null = dawn.create([
    `backend=${description.backend}`,
    `adapter=${description.name}`,
    exactTimes,
  ]);
  const adapter = await gpu.requestAdapter();
  if (!adapter)
    throw new DBellError(
      'gpu-unavailable',
      `the adapter ${description.name} (${description.backend}) cannot be opened; its driver may be too old for WebGPU`,
    );
  const isSoftware = description.isSoftware || adapter.info.isFallbackAdapter === true;
  return {
    description: { ...description, isSoftware },
    adapter,
    hasPackedDot: gpu.wgslLanguageFeatures.has('packed_4x8_integer_dot_product'),
    driver: adapter.info.description,
    release() {
      gpu = null;
    },
  };
}

/** Folders in which Linux's Vulkan loader looks for drivers. */
const driverFolders = ['/etc/vulkan/icd.d', '/usr/share/vulkan/icd.d', '/usr/local/share/vulkan/icd.d'];

/** Why there may be no adapter, as far as it can be seen from here. */
function reason(): string {
  if (process.platform !== 'linux')
    return 'the system offers no adapter with WebGPU; install or update the graphics driver';
  const named = process.env.VK_DRIVER_FILES ?? process.env.VK_ICD_FILENAMES;
  if (named !== undefined)
    return `the Vulkan loader (libvulkan.so.1) finds no working driver; VK_DRIVER_FILES or VK_ICD_FILENAMES names ${named}`;
  const drivers = driverFolders.filter(existsSync).flatMap((folder) => readdirSync(folder));
  return drivers.length === 0
    ? `no Vulkan driver is installed (${driverFolders.join(', ')} have none); install the one of the graphics card and libvulkan.so.1`
    : `Vulkan drivers are installed (${drivers.join(', ')}) but none works; see that libvulkan.so.1 is installed and that this user may use the card`;
}
