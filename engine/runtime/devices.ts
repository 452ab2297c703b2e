import { devicePattern } from '../contract/common.ts';
import { DBellError } from '../contract/errors.ts';
import { cpuDevice } from './cpu-device.ts';
import type { Device } from './device.ts';
import { adapterLabel, type GpuAdapterDescription } from './webgpu/adapters.ts';
import type { GpuProvider } from './webgpu/provider.ts';

/** A device that was asked for by name, and what a person should know of it. */
export interface ResolvedDevice {
  device: Device;
  notes: { level: 'info' | 'warning'; message: string }[];
}

export type DeviceChoice = { kind: 'cpu' } | { kind: 'auto' } | { kind: 'gpu'; index: number | null };

/** `cpu`, `auto`, `gpu`, `gpu:N`. Throws DBellError `invalid-input`. */
export function parseDeviceChoice(text: string): DeviceChoice {
  if (!devicePattern.test(text))
    throw new DBellError(
      'invalid-input',
      `the device is ${JSON.stringify(text)}; cpu, gpu, gpu:N (number N of the list) and auto are possible`,
    );
  if (text === 'cpu' || text === 'auto') return { kind: text };
  const index = text.split(':')[1];
  return { kind: 'gpu', index: index === undefined ? null : Number(index) };
}

/**
 * The device of `cpu`, `gpu`, `gpu:N` or `auto`. Nothing of WebGPU is loaded for the CPU. `auto` takes the CPU where there is no GPU, and says so; `gpu` never does: it throws
 * DBellError `gpu-unavailable` with the reason. Throws DBellError `invalid-input` for another text.
 */
export async function resolveDevice(text: string, provider?: GpuProvider): Promise<ResolvedDevice> {
  const choice = parseDeviceChoice(text);
  if (choice.kind === 'cpu') return { device: cpuDevice, notes: [] };
  const { gpuDevice } = await import('./webgpu/gpu-device.ts');
  if (choice.kind === 'gpu') {
    const { device, adapter } = await gpuDevice(choice.index, provider);
    return { device, notes: notesOf(adapter) };
  }
  try {
    const { device, adapter } = await gpuDevice(null, provider);
    return { device, notes: [{ level: 'info', message: `running on ${adapterLabel(adapter)}` }] };
  } catch (error) {
    if (!(error instanceof DBellError) || error.code !== 'gpu-unavailable') throw error;
    return { device: cpuDevice, notes: [{ level: 'info', message: `running on the CPU: ${error.message}` }] };
  }
}

function notesOf(adapter: GpuAdapterDescription): ResolvedDevice['notes'] {
  if (!adapter.isSoftware) return [];
  const message = `${adapterLabel(adapter)} computes on the processor: results are right, times say nothing about a GPU`;
  return [{ level: 'warning', message }];
}
