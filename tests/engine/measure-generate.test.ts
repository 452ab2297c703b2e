import { describe, expect, it } from 'vitest';
import type { TokenChoice } from '../../engine/contract/generation.ts';
import { type GenerateOptions, generate } from '../../engine/measure/generate.ts';
import { StopTextFilter } from '../../engine/measure/stop-texts.ts';
import { createTokenizer } from '../../engine/model/tokenizer-huggingface.ts';
import { ScriptedTextModel } from './scripted-text-model.ts';
import { definitionOf } from './tokenizer-fixtures.ts';

const tokenizer = createTokenizer(definitionOf('gpt2'));
const sentencePiece = createTokenizer(definitionOf('llama'));
const end = tokenizer.tokenToId('<|im_end|>') as number;
const endOfText = tokenizer.tokenToId('<|endoftext|>') as number;

/** Generates exactly the ids of a script. */
async function run(script: number[], options: Partial<GenerateOptions> = {}, own = tokenizer) {
  const pieces: string[] = [];
  const reported: number[] = [];
  const model = new ScriptedTextModel(script, own.vocabularySize);
  const result = await generate(model, own, own.encode('go'), {
    maximumTokens: script.length,
    sampling: { kind: 'greedy' },
    endOfTextIds: [end],
    onText: (text, ids) => {
      pieces.push(text);
      reported.push(...ids);
    },
    ...options,
  });
  expect(pieces.join(''), 'streamed text is the text').toBe(result.text);
  expect(reported, 'streamed ids are the ids').toEqual(result.tokenIds);
  expect(model.isSessionOpen).toBe(false);
  return { ...result, pieces, fed: model.fed };
}

describe('generation ends', () => {
  it('at any of the end-of-text ids, which are neither text nor counted', async () => {
    const ids = tokenizer.encode('the fox');
    for (const id of [end, endOfText]) {
      const result = await run([...ids, id, ...ids], { endOfTextIds: [end, endOfText], maximumTokens: 50 });
      expect(result).toMatchObject({ text: 'the fox', tokenIds: ids, finishReason: 'end-of-text' });
    }
  });

  it('at a stop text over several tokens, and shows the text up to it and no more', async () => {
    const ids = tokenizer.encode('the brown fox jumps');
    const result = await run(ids, { stopTexts: ['own fox'] });
    expect(result).toMatchObject({ text: 'the br', finishReason: 'stop-text' });
  });

  it('at the first of two stop texts of which one begins the other', async () => {
    const ids = tokenizer.encode('the brown fox jumps');
    for (const stopTexts of [
      ['own', 'own fox'],
      ['own fox', 'own'],
    ])
      expect(await run(ids, { stopTexts })).toMatchObject({ text: 'the br', finishReason: 'stop-text' });
  });

  it('at the length, and lets go of what was held back for a stop text', async () => {
    const ids = tokenizer.encode('the brown fo');
    const result = await run(ids, { stopTexts: ['own fox'] });
    expect(result).toMatchObject({ text: 'the brown fo', finishReason: 'length', tokenIds: ids });
  });

  it('at the context, without feeding beyond it', async () => {
    const ids = tokenizer.encode('the fox the fox the fox');
    const prompt = tokenizer.encode('go').length;
    const result = await run(ids, { maximumTokens: 100, contextLength: prompt + 3 });
    expect(result.finishReason).toBe('context');
    expect(result.tokenIds).toEqual(ids.slice(0, 4));
    expect(result.fed.length).toBe(prompt + 3);
  });

  it('when asked to, with what there is', async () => {
    let asked = 0;
    const ids = tokenizer.encode('the fox the fox');
    const result = await run(ids, { stopRequested: () => asked++ === 2 });
    expect(result).toMatchObject({ finishReason: 'stopped', tokenIds: ids.slice(0, 2) });
  });

  it('inside a character, which is shown as incomplete once', async () => {
    const bytes = [...Buffer.from('a😸', 'utf8')].slice(0, 4);
    const script = bytes.map(
      (byte) => sentencePiece.tokenToId(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`) as number,
    );
    const result = await run(script, {}, sentencePiece);
    expect(result.text).toBe('a\ufffd');
    expect(result.tokenIds.length).toBe(4);
  });
});

describe('generation', () => {
  it('continues a text with its blank, and answers without one', async () => {
    const ids = sentencePiece.encode('the fox');
    expect((await run(ids, {}, sentencePiece)).text).toBe(' the fox');
    expect((await run(ids, { isContinuation: false }, sentencePiece)).text).toBe('the fox');
  });

  it('refuses an empty prompt and one beyond the context, with the numbers', async () => {
    const model = new ScriptedTextModel([1], tokenizer.vocabularySize, 4);
    const options: GenerateOptions = { maximumTokens: 1, sampling: { kind: 'greedy' }, endOfTextIds: [] };
    await expect(generate(model, tokenizer, [], options)).rejects.toThrow('the prompt is empty');
    await expect(generate(model, tokenizer, [1, 2, 3, 4, 5], options)).rejects.toThrow(
      'the prompt has 5 tokens, but the context length is 4; shorten the prompt',
    );
    await expect(generate(model, tokenizer, [1], { ...options, contextLength: 8 })).rejects.toThrow(
      "a context of 8 tokens was asked for; the model's context length is 4",
    );
  });

  it('closes its session when stopped by an exception', async () => {
    const model = new ScriptedTextModel([1], tokenizer.vocabularySize);
    const border = async () => {
      throw new Error('stop');
    };
    await expect(
      generate(model, tokenizer, [1], {
        maximumTokens: 1,
        sampling: { kind: 'greedy' },
        endOfTextIds: [],
        border,
      }),
    ).rejects.toThrow('stop');
    expect(model.isSessionOpen).toBe(false);
  });
});

describe('StopTextFilter', () => {
  /** Everything shown for a text that comes in pieces of one length. */
  function shown(text: string, stops: string[], length: number): { text: string; isStopped: boolean } {
    const filter = new StopTextFilter(stops);
    let result = '';
    for (let start = 0; start < text.length; start += length) {
      const found = filter.push(text.slice(start, start + length));
      result += found.text;
      if (found.isStopped) return { text: result, isStopped: true };
    }
    return { text: result + filter.flush(), isStopped: false };
  }

  it('cuts at the first stop text however the text is cut into pieces', () => {
    const texts = ['aabaabab', 'the end is near', 'no stop here', 'STSTSTOP', 'aaaaaaaab', ''];
    const stopSets = [['aab'], ['abab', 'end'], ['STOP', 'TOP'], ['aaab'], ['x'], [], ['']];
    for (const text of texts) {
      for (const stops of stopSets) {
        const places = stops.filter((stop) => stop !== '').map((stop) => text.indexOf(stop));
        const found = places.filter((place) => place !== -1);
        const isStopped = found.length > 0;
        for (let length = 1; length <= 5; length++) {
          const result = shown(text, stops, length);
          expect(result.isStopped).toBe(isStopped);
          if (!isStopped) expect(result.text).toBe(text);
          else {
            // With several stop texts the one completed first ends the text, which a longer one begun earlier may come behind.
            expect(text.startsWith(result.text)).toBe(true);
            if (stops.length === 1) expect(result.text).toBe(text.slice(0, Math.min(...found)));
          }
        }
      }
    }
  });
});

describe('alternatives', () => {
  const ids = tokenizer.encode('the fox 😸');
  const streamed = async (alternatives?: number) => {
    const steps: { text: string; ids: number[]; choices: TokenChoice[] }[] = [];
    const model = new ScriptedTextModel(ids, tokenizer.vocabularySize);
    await generate(model, tokenizer, tokenizer.encode('go'), {
      ...{ maximumTokens: ids.length, sampling: { kind: 'greedy' }, endOfTextIds: [end], alternatives },
      onText: (text, reported, choices) => steps.push({ text, ids: reported, choices }),
    });
    return steps;
  };

  it('are told with each token, most probable first, and add nothing to the text', async () => {
    const steps = await streamed(3);
    expect(steps.map(({ text }) => text).join('')).toBe('the fox 😸');
    expect(steps.flatMap(({ choices }) => choices.map(({ id }) => id))).toEqual(ids);
    // A scripted model gives its token a logit of 1, all others 0.
    const probability = Math.E / (Math.E + tokenizer.vocabularySize - 1);
    for (const { choices } of steps) {
      for (const choice of choices) {
        expect(choice.alternatives).toHaveLength(3);
        expect(choice.alternatives[0]).toMatchObject({ id: choice.id, text: choice.text });
        expect(choice.probability).toBeCloseTo(probability, 12);
        expect(choice.text).toBe(tokenizer.decode([choice.id], { continuation: true, keepSpecial: true }));
      }
    }
  });

  it('are not computed unless they are asked for', async () => {
    expect((await streamed()).every(({ choices }) => choices.length === 0)).toBe(true);
  });
});
