import type { Sampler } from './sampling.ts';
import type { TextSession } from './text-model.ts';

/** Where tokens are fed. A program that gives no logits away chooses the next token itself, greedily, within `feed`. */
export interface PredictingSession extends Pick<TextSession, 'feedTop'> {
  feed(ids: Int32Array): Promise<Float32Array | number>;
}

/**
 * Appends tokens to a sequence; the function given back chooses the next one, once, before the session's next call. A device with memory of its own is asked for the
 * highest logits alone; the token is the same as from all of them. Throws as `feed` does.
 */
export async function predict(
  session: PredictingSession,
  ids: Int32Array,
  sampler: Sampler,
): Promise<() => Promise<number>> {
  if (session.feedTop && sampler.top) {
    const top = await session.feedTop(ids, sampler.top);
    return () => sampler.fromTop(top);
  }
  const predicted = await session.feed(ids);
  return async () => (typeof predicted === 'number' ? predicted : sampler(predicted));
}

/** Appends tokens to a sequence and chooses the next one. Throws as `feed` does. */
export async function nextToken(
  session: PredictingSession,
  ids: Int32Array,
  sampler: Sampler,
): Promise<number> {
  const choose = await predict(session, ids, sampler);
  return choose();
}
