import { median } from '../../engine/measure/statistics.ts';
import { greedyToken } from '../../engine/model/sampling.ts';
import type { DeviceModel, DeviceSession } from '../../engine/runtime/device.ts';

export interface Lengths {
  prefill: number;
  firstToken: number;
  decode: number;
  repetitions: number;
}

export interface ModelFigures {
  prefillTokensPerSecond: number;
  decodeTokensPerSecond: number;
  timeToFirstTokenMs: number;
  /** Of the kernels of a decoded token, by the device's clock; null where it tells none. */
  decodeKernelMs: number | null;
}

/** Prefill, time to the first token and decoding of a loaded model; medians of the repetitions, after one that is not counted. */
export async function measureModel(
  model: DeviceModel,
  vocabularySize: number,
  lengths: Lengths,
): Promise<{ figures: ModelFigures; session: { cacheBytes: number; scratchBytes: number } }> {
  const { prefill, firstToken, decode, repetitions } = lengths;
  const session = await model.createSession(Math.max(prefill, firstToken + decode));
  const logits = new Float32Array(vocabularySize);
  const ids = (count: number) =>
    Int32Array.from({ length: count }, (_, index) => (index * 7919 + 11) % vocabularySize);
  const prefills: number[] = [];
  const firsts: number[] = [];
  const decodes: number[] = [];
  const kernels: number[] = [];
  for (let repetition = 0; repetition <= repetitions; repetition++) {
    const isCounted = repetition > 0;
    const prefillMs = await timed(() => feed(session, ids(prefill), model.tokensPerChunk, logits));
    session.reset();
    const firstMs = await timed(async () => {
      await feed(session, ids(firstToken), model.tokensPerChunk, logits);
      greedyToken(logits);
    });
    const decodeMs = await timed(async () => {
      for (let token = 0; token < decode; token++) {
        await session.feed(Int32Array.of(greedyToken(logits)), logits);
        if (isCounted && session.kernelMs != null) kernels.push(session.kernelMs);
      }
    });
    session.reset();
    if (!isCounted) continue;
    prefills.push((prefill / prefillMs) * 1000);
    firsts.push(firstMs);
    decodes.push((decode / decodeMs) * 1000);
  }
  const { cacheBytes, scratchBytes } = session;
  session.close();
  return {
    figures: {
      prefillTokensPerSecond: median(prefills),
      decodeTokensPerSecond: median(decodes),
      timeToFirstTokenMs: median(firsts),
      decodeKernelMs: kernels.length > 0 ? median(kernels) : null,
    },
    session: { cacheBytes, scratchBytes },
  };
}

async function feed(session: DeviceSession, ids: Int32Array, chunk: number, logits: Float32Array) {
  for (let begin = 0; begin < ids.length; begin += chunk) {
    const end = Math.min(begin + chunk, ids.length);
    await session.feed(ids.subarray(begin, end), end === ids.length ? logits : null);
  }
}

export async function timed(action: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await action();
  return performance.now() - startedAt;
}
