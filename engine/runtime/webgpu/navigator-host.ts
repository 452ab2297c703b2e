import { DBellError } from '../../contract/errors.ts';
import {
  type GpuAdapterDescription,
  type GpuHost,
  isSoftwareAdapter,
  type OpenedAdapter,
} from './adapters.ts';

/** What Chromium tells its own pages beyond the standard, with `--enable-webgpu-developer-features`. */
type AdapterInfo = GPUAdapterInfo & { backend?: string; driver?: string };

/** WebGPU lists no adapters: it has the faster one, the one that saves power, and one that computes on the processor. */
const requests: readonly GPURequestAdapterOptions[] = [
  { powerPreference: 'high-performance' },
  { powerPreference: 'low-power' },
  { forceFallbackAdapter: true },
];

/** Chromium's WebGPU, in a window (window/page.ts). `gpu` is null where the page has none. */
export function navigatorHost(gpu: GPU | null, platform: string): GpuHost {
  /** Each adapter once, by all that it says of itself. */
  const find = async (): Promise<{ request: GPURequestAdapterOptions; info: AdapterInfo }[]> => {
    if (!gpu) throw new DBellError('gpu-unavailable', `no GPU found: ${noWebGpu}`);
    const found = new Map<string, { request: GPURequestAdapterOptions; info: AdapterInfo }>();
    for (const request of requests) {
      const info = (await gpu.requestAdapter(request))?.info as AdapterInfo | undefined;
      if (!info) continue;
      const key = JSON.stringify([info.vendor, info.architecture, info.device, info.description]);
      if (!found.has(key)) found.set(key, { request, info });
    }
    if (found.size === 0) throw new DBellError('gpu-unavailable', `no GPU found: ${noAdapter(platform)}`);
    return [...found.values()];
  };
  return {
    async listAdapters() {
      return (await find()).map(({ info }) => describe(info, platform));
    },
    async openAdapter(index) {
      const chosen = (await find())[index];
      const adapter = chosen && (await gpu?.requestAdapter(chosen.request));
      if (!gpu || !adapter)
        throw new DBellError('gpu-unavailable', `there is no adapter number ${index}, or not any more`);
      return {
        description: describe(adapter.info, platform),
        adapter,
        hasPackedDot: gpu.wgslLanguageFeatures.has('packed_4x8_integer_dot_product'),
        driver: (adapter.info as AdapterInfo).driver ?? adapter.info.description,
        release() {},
      } satisfies OpenedAdapter;
    },
  };
}

function describe(info: AdapterInfo, platform: string): GpuAdapterDescription {
  const name = info.description || [info.vendor, info.architecture].filter(Boolean).join(' ') || 'unnamed';
  return {
    name,
    backend: info.backend?.toLowerCase() || usualBackend(platform),
    isSoftware: info.isFallbackAdapter === true || isSoftwareAdapter(`${name} ${info.architecture}`),
  };
}

/** What Chromium builds WebGPU on, where it does not tell. */
function usualBackend(platform: string): string {
  if (/win/i.test(platform)) return 'd3d12';
  return /mac/i.test(platform) ? 'metal' : 'vulkan';
}

const noWebGpu = "this window's Chromium has no WebGPU; it may be switched off by a flag or a policy";

function noAdapter(platform: string): string {
  return /linux/i.test(platform)
    ? 'Chromium finds no adapter with WebGPU; install the Vulkan driver of the graphics card and libvulkan.so.1'
    : 'Chromium finds no adapter with WebGPU; install or update the graphics driver';
}
