import { DBellError } from '../../contract/errors.ts';
import type { DeviceModel, DeviceOptions } from '../device.ts';
import type { GpuAdapterDescription, GpuHost, ListedAdapter } from './adapters.ts';
import { type ContextOptions, GpuContext, missingLimit } from './context.ts';
import type { GpuPackage } from './gpu-package.ts';
import { GpuModel } from './model.ts';

/** Lists adapters and runs packages on them: in this process (a `GpuHost`), or in another one (window/window-provider.ts). */
export interface GpuProvider {
  /** In the order of the system; adapter N is `gpu:N`. Throws DBellError `gpu-unavailable` with the reason where there is none. */
  listAdapters(): Promise<GpuAdapterDescription[]>;
  /** The same, each opened once to see what its driver says and whether it can run packed models. */
  describeAdapters(): Promise<ListedAdapter[]>;
  /** Opens adapter number `index` anew and uploads a package. Throws DBellError. */
  load(index: number, source: GpuPackage, options: DeviceOptions): Promise<DeviceModel>;
}

/**
 * Runs packages in this process. Each load opens its adapter anew and closes it with its model; with `keepsContexts` an opened adapter stays, with the kernels that were
 * compiled for it, until it is lost.
 */
export function hostProvider(
  host: GpuHost,
  options: ContextOptions & { keepsContexts?: boolean } = {},
): GpuProvider {
  const kept = new Map<number, Promise<GpuContext>>();
  const open = async (index: number): Promise<GpuContext> => {
    const opened = await kept.get(index)?.catch(() => null);
    if (opened && !opened.isLost) return opened;
    const opening = host.openAdapter(index).then((adapter) => GpuContext.open(adapter, options));
    if (options.keepsContexts) kept.set(index, opening);
    return opening;
  };
  return {
    listAdapters: () => host.listAdapters(),
    async describeAdapters() {
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
    },
    async load(index, source, deviceOptions) {
      const context = await open(index);
      const close = () => {
        if (!options.keepsContexts) context.close();
      };
      try {
        return await GpuModel.load(context, source, deviceOptions, close);
      } catch (error) {
        close();
        throw error;
      }
    },
  };
}
