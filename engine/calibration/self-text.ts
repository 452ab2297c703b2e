import { setImmediate } from 'node:timers/promises';
import { selfTextName } from '../contract/common.ts';
import { DBellError } from '../contract/errors.ts';
import { checkContext } from '../model/context-length.ts';
import { createSampler } from '../model/sampling.ts';
import { mix32, SeededRandom } from '../model/seeded-random.ts';
import type { TextModel } from '../model/text-model.ts';
import { selfTextLimits, textLimits } from './limits.ts';
import { fingerprintOf, type TokenWindows } from './windows.ts';

/** How a model writes its own calibration text. */
export interface SelfTextSampling {
  seed: number;
  temperature: number;
  topP: number;
}

/** What a document begins with; nothing of it comes from any text outside the model's own files. */
export interface SelfTextStart {
  /** Ids that a plain document begins with; empty: one token drawn from the whole vocabulary. */
  ids: readonly number[];
  /** The chat template's text before a person's message and between it and the answer, as ids; null for a model without one. */
  chat: { beforeMessage: readonly number[]; beforeAnswer: readonly number[] } | null;
}

export interface SelfTextOptions extends SelfTextSampling {
  context: number;
  windowCount: number;
  start: SelfTextStart;
  endOfTextIds: readonly number[];
  /** Only the first so many tokens of each window, for a look at it; they are those of the whole window. */
  tokensOfEach?: number;
  /** Windows that an interrupted call wrote, `[windows, context]`. */
  before?: Int32Array;
  /** Awaited before every token; may pause, and throw to stop. */
  border?: () => Promise<void>;
  onWindow?: (ids: Int32Array, windowsDone: number) => void;
  onToken?: (tokensDone: number, tokensTotal: number) => void;
}

/**
 * Calibration text that the model writes itself, window by window: each starts as a document of the model's own does (every second one as a conversation, where the
 * model has a chat template), goes on by sampling, and begins anew behind an end-of-text token until the window is full. A window depends on the seed and its own
 * number alone, so that a look at the first ones shows what a whole run gets, and an interrupted call goes on where it was.
 *
 * @returns ids `[windowCount, tokensOfEach ?? context]`
 * @throws DBellError `invalid-input` where a window does not fit the model, and what the model or `border` throws
 */
export async function writeSelfText(model: TextModel, options: SelfTextOptions): Promise<Int32Array> {
  const { context, windowCount, before, border } = options;
  checkContext(context, model.contextLength);
  const length = Math.min(context, options.tokensOfEach ?? context);
  const ids = new Int32Array(windowCount * length);
  const windowsBefore = before === undefined ? 0 : Math.min(windowCount, Math.floor(before.length / length));
  if (before !== undefined) ids.set(before.subarray(0, windowsBefore * length));
  const session = await model.createSession({ contextLength: context });
  try {
    for (let window = windowsBefore; window < windowCount; window++) {
      const target = ids.subarray(window * length, (window + 1) * length);
      await writeWindow(session, target, window, options, model.vocabularySize, async (done) => {
        options.onToken?.(window * length + done, ids.length);
        await (border?.() ?? setImmediate());
      });
      options.onWindow?.(ids, window + 1);
    }
  } finally {
    session.close();
  }
  return ids;
}

type Session = Awaited<ReturnType<TextModel['createSession']>>;

async function writeWindow(
  session: Session,
  target: Int32Array,
  window: number,
  { seed, temperature, topP, start, endOfTextIds }: SelfTextOptions,
  vocabularySize: number,
  border: (done: number) => Promise<void>,
): Promise<void> {
  // A generator of its own for each window: neighbouring numbers must not give neighbouring texts.
  const windowSeed = mix32(seed ^ mix32(window + 1));
  const sample = createSampler({ kind: 'sampled', temperature, topP, seed: windowSeed });
  const random = new SeededRandom(windowSeed);
  const ends = new Set(endOfTextIds);
  let filled = 0;
  let logits: Float32Array | null = null;
  /** Appends what is not chosen by the model; false where the window is full. */
  const append = async (given: readonly number[]): Promise<boolean> => {
    const taken = given.slice(0, target.length - filled);
    if (taken.length === 0) return filled < target.length;
    target.set(taken, filled);
    filled += taken.length;
    if (filled < target.length) logits = await session.feed(Int32Array.from(taken));
    return filled < target.length;
  };
  /** Lets the model write until it ends; false where the window is full. */
  const write = async (): Promise<boolean> => {
    for (let written = 0; ; written++) {
      await border(filled);
      if (logits === null) throw new DBellError('internal', 'self-written text has nothing to go on from');
      // A document that ends at once would leave a window of nothing but beginnings.
      if (written < selfTextLimits.leastTokens) {
        logits = Float32Array.from(logits);
        for (const id of ends) logits[id] = Number.NEGATIVE_INFINITY;
      }
      const id = sample(logits);
      if (ends.has(id)) return true;
      if (!(await append([id]))) return false;
    }
  };
  while (filled < target.length) {
    session.reset();
    const { chat } = start;
    if (chat !== null && window % 2 === 1) {
      if (!(await append(chat.beforeMessage)) || !(await write())) return;
      if (!(await append(chat.beforeAnswer)) || !(await write())) return;
    } else {
      const ids = start.ids.length > 0 ? start.ids : [Math.floor(random.nextDouble() * vocabularySize)];
      if (!(await append(ids)) || !(await write())) return;
    }
  }
}

/** As many tokens as the model will write, all of them zero, for the checks that come before. Throws DBellError `invalid-input` where they are too many. */
export function unwrittenWindows(windowCount: number, context: number): TokenWindows {
  if (windowCount * context > textLimits.maxSelectedTokens)
    throw new DBellError(
      'invalid-input',
      `${windowCount} windows of ${context} tokens are ${windowCount * context} tokens; the limit is ${textLimits.maxSelectedTokens}`,
    );
  return selfTextWindows(new Int32Array(windowCount * context), {
    ...{ context, windowCount, start: { ids: [], chat: null } },
    ...{ seed: 0, temperature: 1, topP: 1 },
  });
}

/** The ids as windows to calibrate on, with where they come from. */
export function selfTextWindows(
  ids: Int32Array,
  { context, windowCount, seed, temperature, topP, start }: Omit<SelfTextOptions, 'endOfTextIds'>,
): TokenWindows {
  const fingerprint = fingerprintOf(ids, windowCount, context);
  return {
    ids,
    windowCount,
    context,
    source: {
      name: selfTextName,
      // There are no bytes of a text: the ids are all there is.
      textSha256: fingerprint,
      documentCount: windowCount,
      cutDocumentCount: 0,
      totalTokens: ids.length,
      separatorId: null,
      self: { seed, temperature, topP, hasConversations: start.chat !== null },
    },
    selection: { kind: 'first' },
    fingerprint,
  };
}
