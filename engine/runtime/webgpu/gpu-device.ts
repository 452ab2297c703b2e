import { DBellError } from '../../contract/errors.ts';
import type { Device } from '../device.ts';
import { adapterLabel, chooseAdapter, type GpuAdapterDescription, type GpuHost } from './adapters.ts';
import { type ContextOptions, GpuContext, missingLimit } from './context.ts';
import { dawnHost } from './dawn-host.ts';
import { GpuModel } from './model.ts';

/**
 * A graphics adapter as a device for packed models: number `index` of the host's list, or the first that is no software adapter where that is null. Each load opens
 * the adapter anew. Throws DBellError `gpu-unavailable` with the reason.
 */
export async function gpuDevice(
  index: number | null,
  host: GpuHost = dawnHost,
  options: ContextOptions = {},
): Promise<{ device: Device; adapter: GpuAdapterDescription }> {
  const adapters = await host.listAdapters();
  const chosen = chooseAdapter(adapters, index);
  const adapter = adapters[chosen]!;
  const device: Device = {
    name: adapterLabel(adapter),
    async load(source, { activationBits }) {
      const context = await GpuContext.open(await host.openAdapter(chosen), options);
      try {
        return await GpuModel.load(context, source, activationBits, () => context.close());
      } catch (error) {
        context.close();
        throw error;
      }
    },
  };
  return { device, adapter };
}

/** Every adapter of the host, with what its driver says of itself and whether it can run packed models. Throws DBellError `gpu-unavailable` where there is none. */
export async function listAdapters(
  host: GpuHost = dawnHost,
): Promise<(GpuAdapterDescription & { driver: string; problem: string | null })[]> {
  const adapters = await host.listAdapters();
  return Promise.all(
    adapters.map(async (adapter, index) => {
      try {
        const opened = await host.openAdapter(index);
        const { driver } = opened;
        const problem = missingLimit(opened);
        opened.release();
        return { ...adapter, driver, problem };
      } catch (error) {
        if (!(error instanceof DBellError)) throw error;
        return { ...adapter, driver: '', problem: error.message };
      }
    }),
  );
}
