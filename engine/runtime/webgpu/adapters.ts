import { DBellError } from '../../contract/errors.ts';

/** An adapter as it is listed and named in results. */
export interface GpuAdapterDescription {
  /** As the driver names it. */
  name: string;
  /** `vulkan`, `metal`, `d3d12`, …. */
  backend: string;
  /** Computes on the processor (SwiftShader, llvmpipe, WARP): right results, no speed. Never called a GPU. */
  isSoftware: boolean;
}

/** What can list adapters and open one: Dawn in Node, or a browser's `navigator.gpu`. Each host is one small file. */
export interface GpuHost {
  /** In the order of the system. Throws DBellError `gpu-unavailable` with the reason where there is none. */
  listAdapters(): Promise<GpuAdapterDescription[]>;
  /** The adapter number `index` of the list, opened anew. */
  openAdapter(index: number): Promise<OpenedAdapter>;
}

/** An adapter of a list, with what its driver says of itself and why it cannot run packed models; `problem` is null where it can. */
export type ListedAdapter = GpuAdapterDescription & { driver: string; problem: string | null };

export interface OpenedAdapter {
  description: GpuAdapterDescription;
  adapter: GPUAdapter;
  /** WGSL's packed integer dot product. */
  hasPackedDot: boolean;
  /** What the driver says about itself; empty where it says nothing. */
  driver: string;
  /** Lets go of what keeps the process from ending. */
  release(): void;
}

/** Renderers of the processor, by the names that their drivers have. */
const softwareNames =
  /swiftshader|llvmpipe|lavapipe|softpipe|microsoft basic render|\bwarp\b|software rasterizer/i;

export function isSoftwareAdapter(name: string): boolean {
  return softwareNames.test(name);
}

/** What results and the history call the adapter. */
export function adapterLabel({ name, backend, isSoftware }: GpuAdapterDescription): string {
  return isSoftware ? `${name}, software adapter (${backend})` : `${name} (${backend})`;
}

/**
 * Number of the adapter in the list: the one asked for, else the first that is no software adapter. Throws DBellError `gpu-unavailable`, saying what there is.
 */
export function chooseAdapter(adapters: readonly GpuAdapterDescription[], index: number | null): number {
  const list = adapters.map((adapter, number) => `gpu:${number} is ${adapterLabel(adapter)}`).join('; ');
  if (index !== null) {
    if (index < adapters.length) return index;
    throw new DBellError('gpu-unavailable', `there is no adapter number ${index}: ${list}`);
  }
  const first = adapters.findIndex((adapter) => !adapter.isSoftware);
  if (first >= 0) return first;
  throw new DBellError(
    'gpu-unavailable',
    `no GPU found: ${list}; a software adapter is taken only where it is asked for by its number`,
  );
}
