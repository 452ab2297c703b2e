import type { TokenWindows } from '../../engine/calibration/windows.ts';
import type { TextModel } from '../../engine/model/text-model.ts';

/** Between two models' turns: threads that still look for work go to sleep meanwhile. */
const settleMs = 50;

/**
 * Seconds that each model takes to score each window, [models][windows]: the losses of all its tokens, as a perplexity does it. One window of each in turns, so that what the
 * machine does meanwhile meets all of them alike. The first window is scored once before, untimed.
 */
export async function scoringSeconds(
  models: readonly TextModel[],
  windows: TokenWindows,
): Promise<number[][]> {
  const { context, windowCount } = windows;
  const sessions = await Promise.all(models.map((model) => model.createSession({ contextLength: context })));
  const seconds: number[][] = models.map(() => []);
  for (let round = -1; round < windowCount; round++) {
    const index = Math.max(round, 0);
    const ids = windows.ids.subarray(index * context, (index + 1) * context);
    for (const [model, session] of sessions.entries()) {
      await new Promise((resolve) => setTimeout(resolve, settleMs));
      const startedAt = performance.now();
      await session.tokenLosses(Int32Array.from(ids));
      if (round >= 0) seconds[model]!.push((performance.now() - startedAt) / 1000);
    }
  }
  await Promise.all(sessions.map((session) => session.close()));
  return seconds;
}
