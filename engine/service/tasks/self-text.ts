import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { defaultSeparatorId } from '../../calibration/read-windows.ts';
import {
  type SelfTextOptions,
  type SelfTextSampling,
  type SelfTextStart,
  selfTextWindows,
  writeSelfText,
} from '../../calibration/self-text.ts';
import { fingerprintOf, type TokenWindows } from '../../calibration/windows.ts';
import { toErrorPayload } from '../../contract/error-payload.ts';
import { writeFileAtomically } from '../../files/atomic.ts';
import { createFloatTextModel } from '../../float/text-model.ts';
import { renderChat } from '../../model/chat-template.ts';
import type { ModelSource } from '../../model/source.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { serviceLimits } from '../limits.ts';
import { remainingMsOf, type TaskControl } from './control.ts';

export interface SelfTextRequest extends SelfTextSampling {
  context: number;
  windows: number;
  threads: number;
}

/** The first tokens of the first windows, as a whole run would write them. */
export async function previewSelfText(
  source: ModelSource,
  tokenizer: Tokenizer,
  request: SelfTextRequest & { tokensOfEach: number },
  control: TaskControl,
): Promise<{ ids: Int32Array; start: SelfTextStart; notes: string[] }> {
  const { start, notes } = await startOf(source, tokenizer);
  const ids = await write(source, { ...request, start, tokensOfEach: request.tokensOfEach }, control);
  return { ids, start, notes };
}

/**
 * Calibration windows that the model writes itself. They are kept in the work folder as they come, so that a run that was interrupted calibrates on the very same
 * tokens, whatever machine goes on with it.
 */
export async function selfWindows(
  source: ModelSource,
  tokenizer: Tokenizer,
  request: SelfTextRequest,
  workFolder: string,
  control: TaskControl,
): Promise<TokenWindows> {
  const { start, notes } = await startOf(source, tokenizer);
  for (const message of notes) control.report({ type: 'message', level: 'info', message });
  const { context, windows: windowCount, seed, temperature, topP } = request;
  const settings = { context, windowCount, seed, temperature, topP };
  const file = path.join(workFolder, selfTextFileName);
  const before = readKept(file, settings);
  let keptAt = performance.now();
  const keep = (ids: Int32Array, windowsDone: number) => {
    const isLast = windowsDone === windowCount;
    if (!isLast && performance.now() - keptAt < serviceLimits.selfTextKeepMs) return;
    keptAt = performance.now();
    const done = ids.slice(0, windowsDone * context);
    const text = Buffer.from(done.buffer, done.byteOffset, done.byteLength).toString('base64');
    const fingerprint = fingerprintOf(done, windowsDone, context);
    writeFileAtomically(file, JSON.stringify({ version: 1, settings, windowsDone, fingerprint, ids: text }));
  };
  const ids =
    before?.length === windowCount * context
      ? before
      : await write(source, { ...request, start, before, onWindow: keep }, control);
  return selfTextWindows(ids, { ...settings, start });
}

/** Beside `run.json`; goes with the work folder. */
const selfTextFileName = 'self-text.json';

const keptSchema = z.strictObject({
  version: z.literal(1),
  settings: z.record(z.string(), z.number()),
  windowsDone: z.number().int().min(1),
  fingerprint: z.string(),
  ids: z.string(),
});

/** Whole windows that an attempt before wrote with the same settings; a damaged file counts as none. */
function readKept(file: string, settings: Record<string, number>): Int32Array | undefined {
  if (!existsSync(file)) return undefined;
  try {
    const kept = keptSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
    const bytes = Buffer.from(kept.ids, 'base64');
    const ids = new Int32Array(bytes.byteLength / 4);
    new Uint8Array(ids.buffer).set(bytes);
    const isSame = Object.entries(settings).every(([name, value]) => kept.settings[name] === value);
    const isWhole = fingerprintOf(ids, kept.windowsDone, settings.context ?? 0) === kept.fingerprint;
    return isSame && isWhole ? ids : undefined;
  } catch {
    return undefined;
  }
}

async function write(
  source: ModelSource,
  {
    windows: windowCount,
    threads,
    ...options
  }: SelfTextRequest & Pick<SelfTextOptions, 'start' | 'tokensOfEach' | 'before' | 'onWindow'>,
  control: TaskControl,
): Promise<Int32Array> {
  const model = await createFloatTextModel(source, { threads });
  const startedAt = performance.now();
  const length = Math.min(options.context, options.tokensOfEach ?? options.context);
  const tokensBefore = options.before?.length ?? 0;
  try {
    return await writeSelfText(model, {
      ...options,
      windowCount,
      endOfTextIds: source.architecture.endOfTextIds,
      border: () => control.border(),
      onToken(done, total) {
        const fraction = (done - tokensBefore) / Math.max(1, total - tokensBefore);
        control.progress({
          task: 'quantize',
          stage: 'write text',
          fraction: null,
          step: { index: Math.floor(done / length), count: windowCount, unit: 'window' },
          item: null,
          relativeError: null,
          remainingMs: remainingMsOf(performance.now() - startedAt, fraction),
        });
      },
    });
  } finally {
    await model.close();
  }
}

/** Stands for a person's message while the template's own text around it is taken; never part of what the model reads. */
const messagePlace = 'message';

/** How documents of this model begin: by its begin-of-text token, else the one that separates documents, and by its chat template. */
async function startOf(
  source: ModelSource,
  tokenizer: Tokenizer,
): Promise<{ start: SelfTextStart; notes: string[] }> {
  const { beginOfTextId } = source.architecture;
  const begin = beginOfTextId ?? defaultSeparatorId(tokenizer, null);
  const ids = begin === null ? [] : [begin];
  if (source.chatTemplate === null) return { start: { ids, chat: null }, notes: [] };
  const without = (why: string) => ({
    start: { ids, chat: null },
    notes: [`no conversations are written: ${why}`],
  });
  try {
    const { segments } = await renderChat(
      source.chatTemplate,
      [{ role: 'user', content: messagePlace }],
      tokenizer,
      source.tokenizer.config,
    );
    const place = segments.findIndex(({ text, parseSpecial }) => !parseSpecial && text === messagePlace);
    if (place === -1) return without('the chat template does not leave a message as it is');
    const beforeMessage = tokenizer.encodeSegments(segments.slice(0, place));
    const beforeAnswer = tokenizer.encodeSegments(segments.slice(place + 1));
    if (beforeMessage.length === 0 || beforeAnswer.length === 0)
      return without('the chat template puts nothing around a message');
    return { start: { ids, chat: { beforeMessage, beforeAnswer } }, notes: [] };
  } catch (error) {
    return without(toErrorPayload(error).message);
  }
}
