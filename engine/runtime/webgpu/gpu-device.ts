import { gpuKeyValueCaches } from '../../contract/common.ts';
import type { Device } from '../device.ts';
import { adapterLabel, chooseAdapter, type GpuAdapterDescription, type ListedAdapter } from './adapters.ts';
import { dawnHost } from './dawn-host.ts';
import { openGpuPackage } from './open-gpu-package.ts';
import { type GpuProvider, hostProvider } from './provider.ts';

let processProvider: GpuProvider = hostProvider(dawnHost);

/** For a process that cannot run Dawn: what runs packages for it instead. */
export function useGpuProvider(provider: GpuProvider): void {
  processProvider = provider;
}

/**
 * A graphics adapter as a device for packed models: number `index` of the list, or the first that is no software adapter where that is null. Each load opens
 * the adapter anew. Throws DBellError `gpu-unavailable` with the reason.
 */
export async function gpuDevice(
  index: number | null,
  provider: GpuProvider = processProvider,
): Promise<{ device: Device; adapter: GpuAdapterDescription }> {
  const adapters = await provider.listAdapters();
  const chosen = chooseAdapter(adapters, index);
  const adapter = adapters[chosen]!;
  const device: Device = {
    name: adapterLabel(adapter),
    keyValueCaches: gpuKeyValueCaches,
    load: async (source, options) => provider.load(chosen, openGpuPackage(source), options),
  };
  return { device, adapter };
}

/** Every adapter with what its driver says of itself and whether it can run packed models. Throws DBellError `gpu-unavailable` where there is none. */
export function describeAdapters(provider: GpuProvider = processProvider): Promise<ListedAdapter[]> {
  return provider.describeAdapters();
}
