import type { TokenWindows } from '../../engine/calibration/windows.ts';
import { nextToken } from '../../engine/model/next-token.ts';
import { createSampler } from '../../engine/model/sampling.ts';
import type { TextModel } from '../../engine/model/text-model.ts';
import type { ActivationBits, Device } from '../../engine/runtime/device.ts';
import { createPackedTextModel } from '../../engine/runtime/packed-text-model.ts';

/** Perplexity of a package on a device beside the CPU's, over the same windows. `relativeDifference` is device / CPU − 1. */
export async function comparePerplexity(
  packagePath: string,
  windows: TokenWindows,
  activationBits: ActivationBits,
  device: Device,
): Promise<{ cpu: number; device: number; relativeDifference: number; tokens: number }> {
  const means: number[] = [];
  let tokens = 0;
  for (const on of [undefined, device]) {
    const model = await createPackedTextModel(packagePath, { threads: 0, activationBits, device: on });
    let sum = 0;
    tokens = 0;
    const session = await model.createSession({ contextLength: windows.context });
    for (let index = 0; index < windows.windowCount; index++) {
      const ids = windows.ids.subarray(index * windows.context, (index + 1) * windows.context);
      for (const loss of await session.tokenLosses(Int32Array.from(ids))) {
        sum += loss;
        tokens += 1;
      }
    }
    await model.close();
    means.push(sum / tokens);
  }
  const [cpu, onDevice] = means.map(Math.exp) as [number, number];
  return { cpu, device: onDevice, relativeDifference: onDevice / cpu - 1, tokens };
}

/** Ids that a package chooses greedily after a prompt. */
export async function greedyIds(
  packagePath: string,
  prompt: Int32Array,
  count: number,
  activationBits: ActivationBits,
  device?: Device,
): Promise<number[]> {
  const model: TextModel = await createPackedTextModel(packagePath, { threads: 0, activationBits, device });
  const session = await model.createSession({ contextLength: prompt.length + count });
  const sampler = createSampler({ kind: 'greedy' });
  const ids: number[] = [];
  let next = prompt;
  while (ids.length < count) {
    ids.push(await nextToken(session, next, sampler));
    next = Int32Array.of(ids.at(-1)!);
  }
  await model.close();
  return ids;
}
