import { toErrorPayload } from '../../contract/error-payload.ts';
import { describeAdapters } from '../../runtime/webgpu/gpu-device.ts';
import type { TaskFunction } from './control.ts';

/** The graphics adapters of this machine. That there is none is a finding here, not a failure. */
export const devicesTask: TaskFunction<'devices'> = async () => {
  try {
    return { adapters: await describeAdapters(), problem: null };
  } catch (error) {
    return { adapters: [], problem: toErrorPayload(error).message };
  }
};
