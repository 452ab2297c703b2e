import { median } from '../../engine/measure/statistics.ts';
import { nextToken, type PredictingSession } from '../../engine/model/next-token.ts';
import { createSampler } from '../../engine/model/sampling.ts';
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
  const predicting = predictingSession(session, model.tokensPerChunk, vocabularySize);
  const greedy = createSampler({ kind: 'greedy' });
  const ids = (count: number) =>
    Int32Array.from({ length: count }, (_, index) => (index * 7919 + 11) % vocabularySize);
  const prefills: number[] = [];
  const firsts: number[] = [];
  const decodes: number[] = [];
  const kernels: number[] = [];
  for (let repetition = 0; repetition <= repetitions; repetition++) {
    const isCounted = repetition > 0;
    const prefillMs = await timed(() => nextToken(predicting, ids(prefill), greedy));
    session.reset();
    let next = 0;
    const firstMs = await timed(async () => {
      next = await nextToken(predicting, ids(firstToken), greedy);
    });
    const decodeMs = await timed(async () => {
      for (let token = 0; token < decode; token++) {
        next = await nextToken(predicting, Int32Array.of(next), greedy);
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

/** Feeds ids in chunks. */
function predictingSession(
  session: DeviceSession,
  tokensPerChunk: number,
  vocabularySize: number,
): PredictingSession {
  const logits = new Float32Array(vocabularySize);
  const feedAllButLast = async (ids: Int32Array): Promise<Int32Array> => {
    let begin = 0;
    for (; begin + tokensPerChunk < ids.length; begin += tokensPerChunk)
      await session.feed(ids.subarray(begin, begin + tokensPerChunk), null);
    return ids.subarray(begin);
  };
  return {
    async feed(ids) {
      await session.feed(await feedAllButLast(ids), logits);
      return logits;
    },
    ...(session.feedTop && {
      feedTop: async (ids, request) => session.feedTop!(await feedAllButLast(ids), request),
    }),
  };
}

export async function timed(action: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await action();
  return performance.now() - startedAt;
}
