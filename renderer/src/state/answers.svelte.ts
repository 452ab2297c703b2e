import type { DBellError } from '../../../engine/contract/errors.ts';
import { asError } from './engine.svelte.ts';

/** What a person types is taken for finished after this long. */
const settleMs = 250;

/**
 * What the engine says of something that is being chosen. A new question replaces the one before; the last answer stays, marked as old, until the one to the
 * newest question is there: only where `isCurrent` do answer and choice belong together.
 */
export class AnswerState<Question, Answer> {
  value: Answer | null = $state.raw(null);
  /** Of the newest question that was answered; the value is then of an earlier one. */
  error: DBellError | null = $state.raw(null);
  isOld = $state(false);
  readonly #answer: (question: Question) => Promise<Answer>;
  #asked = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #key = 'null';

  constructor(answer: (question: Question) => Promise<Answer>) {
    this.#answer = answer;
  }

  /** Whether the value is the answer to what was asked last. */
  get isCurrent(): boolean {
    return this.value !== null && this.error === null && !this.isOld;
  }

  /** Null: nothing is asked, and nothing known. */
  ask(question: Question | null): void {
    const key = JSON.stringify(question);
    if (key === this.#key) return;
    this.#key = key;
    clearTimeout(this.#timer);
    const number = ++this.#asked;
    if (question === null) {
      this.value = null;
      this.error = null;
      this.isOld = false;
      return;
    }
    this.isOld = true;
    this.#timer = setTimeout(() => void this.#settled(question, number), settleMs);
  }

  async #settled(question: Question, number: number): Promise<void> {
    try {
      const value = await this.#answer(question);
      if (number !== this.#asked) return;
      this.value = value;
      this.error = null;
    } catch (error) {
      if (number !== this.#asked) return;
      this.error = asError(error);
    }
    this.isOld = false;
  }
}
