import { DBellError } from '../contract/errors.ts';
import type { GenerationResult, Sampling, TokenChoice } from '../contract/generation.ts';
import { nextToken } from '../model/next-token.ts';
import { createSampler } from '../model/sampling.ts';
import type { TextModel } from '../model/text-model.ts';
import { type LikelyToken, likelyTokens } from '../model/token-probabilities.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { StopTextFilter } from './stop-texts.ts';

export interface GenerateOptions {
  maximumTokens: number;
  sampling: Sampling;
  /** Ids that end generation: the union of all that the model names. */
  endOfTextIds: readonly number[];
  /** Texts that end generation; they are not part of the result. */
  stopTexts?: readonly string[];
  /** Context to allocate; by default the model's own, or prompt and maximum together where that is less. */
  contextLength?: number;
  /** The text goes on from the prompt's (plain generation), so that its first blank is kept; false for an answer of its own. */
  isContinuation?: boolean;
  /** So many of the most probable tokens are told with each; 0 (the default): none, and nothing is computed for it. */
  alternatives?: number;
  /**
   * Certain text, as it comes; concatenated pieces are the result's text. `ids` are those generated since the last call, `choices` the same with their
   * alternatives where those are asked for.
   */
  onText?: (text: string, ids: number[], choices: TokenChoice[]) => void;
  /** Awaited before every token; may pause. */
  border?: () => Promise<void>;
  /** Asked before every token; true ends generation with what there is. */
  stopRequested?: () => boolean;
}

export interface Generation {
  text: string;
  /** All ids generated, without the end-of-text id. */
  tokenIds: number[];
  promptTokens: number;
  finishReason: GenerationResult['finishReason'];
  /** From the start of the prompt's processing to the first token chosen; null where none was. */
  timeToFirstTokenMs: number | null;
  /** Tokens after the first by the time they took; null below two tokens. */
  decodeTokensPerSecond: number | null;
}

/**
 * Continues a prompt token by token. Throws DBellError `invalid-input` for an empty prompt, or one that leaves no room in the context.
 */
export async function generate(
  model: TextModel,
  tokenizer: Tokenizer,
  promptIds: readonly number[],
  options: GenerateOptions,
): Promise<Generation> {
  const context = promptContext(model, promptIds.length, options.contextLength);
  const contextLength = Math.min(context, promptIds.length + options.maximumTokens);
  const sampler = createSampler(options.sampling);
  const endIds = new Set(options.endOfTextIds);
  const stream = tokenizer.stream({ continuation: options.isContinuation ?? true });
  const stops = new StopTextFilter(options.stopTexts ?? []);
  const tokenIds: number[] = [];
  const pieces: string[] = [];
  let unreported: number[] = [];
  let choices: TokenChoice[] = [];
  const alternatives = options.alternatives ?? 0;
  let explainingMs = 0;
  let explainedBeforeLastMs = 0;
  const show = (text: string) => {
    if (text === '' && unreported.length === 0) return;
    pieces.push(text);
    options.onText?.(text, unreported, choices);
    unreported = [];
    choices = [];
  };

  const session = await model.createSession({ contextLength });
  const startedAt = performance.now();
  let firstTokenAt: number | null = null;
  let lastTokenAt = startedAt;
  let finishReason: Generation['finishReason'] = 'length';
  let isStopText = false;
  try {
    let next = Int32Array.from(promptIds);
    while (tokenIds.length < options.maximumTokens) {
      await options.border?.();
      if (options.stopRequested?.()) {
        finishReason = 'stopped';
        break;
      }
      if (session.position + next.length > session.contextLength) {
        finishReason = 'context';
        break;
      }
      // Probabilities take all logits.
      const logits = alternatives > 0 ? await session.feed(next) : null;
      const id = logits ? sampler(logits) : await nextToken(session, next, sampler);
      lastTokenAt = performance.now();
      explainedBeforeLastMs = explainingMs;
      firstTokenAt ??= lastTokenAt;
      if (endIds.has(id)) {
        finishReason = 'end-of-text';
        break;
      }
      tokenIds.push(id);
      unreported.push(id);
      if (logits) {
        choices.push(explained(tokenizer, logits, id, alternatives));
        explainingMs += performance.now() - lastTokenAt;
      }
      const found = stops.push(stream.push(id));
      show(found.text);
      if (found.isStopped) {
        isStopText = true;
        finishReason = 'stop-text';
        break;
      }
      next = Int32Array.of(id);
    }
  } finally {
    session.close();
  }
  if (!isStopText) {
    // The rest of a character cut off may complete a stop text only in theory, but then it must not show.
    const found = stops.push(stream.flush());
    show(found.isStopped ? found.text : found.text + stops.flush());
  }
  // Telling the alternatives is no part of decoding; what was told of the last token came after its time was taken.
  const decodeMs = firstTokenAt === null ? 0 : lastTokenAt - firstTokenAt - explainedBeforeLastMs;
  return {
    text: pieces.join(''),
    tokenIds,
    promptTokens: promptIds.length,
    finishReason,
    timeToFirstTokenMs: firstTokenAt === null ? null : firstTokenAt - startedAt,
    decodeTokensPerSecond:
      tokenIds.length > 1 && decodeMs > 0 ? ((tokenIds.length - 1) / decodeMs) * 1000 : null,
  };
}

/** A token with those that the model thought most of in its place, each with the text that it would add. */
function explained(tokenizer: Tokenizer, logits: Float32Array, id: number, count: number): TokenChoice {
  const { chosen, alternatives } = likelyTokens(logits, id, count);
  const withText = ({ id: token, probability }: LikelyToken) => ({
    id: token,
    text: tokenizer.decode([token], { continuation: true, keepSpecial: true }),
    probability,
  });
  return { ...withText(chosen), alternatives: alternatives.map(withText) };
}

/**
 * The context that a prompt of so many tokens is continued in: the one asked for, or the model's. Throws DBellError `invalid-input` for an empty prompt, or
 * one that leaves no room.
 */
export function promptContext(
  model: Pick<TextModel, 'contextLength'>,
  promptTokens: number,
  asked = model.contextLength,
): number {
  if (promptTokens === 0)
    throw new DBellError('invalid-input', 'the prompt is empty: it has no token to continue from');
  if (asked > model.contextLength)
    throw new DBellError(
      'invalid-input',
      `a context of ${asked} tokens was asked for; the model's context length is ${model.contextLength}`,
    );
  if (promptTokens > asked)
    throw new DBellError(
      'invalid-input',
      `the prompt has ${promptTokens} tokens, but the context length is ${asked}; shorten the prompt`,
    );
  return asked;
}
